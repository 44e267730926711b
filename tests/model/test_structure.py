"""What a model is made of: its parameters, how they start, which are projected, which shapes are refused."""

import math
from dataclasses import replace

import pytest
import torch
from model_builders import CONFIG, lively, tokens

from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.sites import EMBED, FINAL, node_sites
from thinwire.model.structure import count_parameters, protected_lines, sparse_parameters


def test_initialisation_has_the_papers_scales() -> None:
    torch.manual_seed(0)
    model = GPT(ModelConfig(vocab_size=400, context=8, n_layer=2, d_model=128, positions="learned", sink=True))
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or name.endswith("sink"):
            assert not parameter.any(), name
        elif name.endswith("gain"):
            assert (parameter == 1).all(), name
        elif name == "bigram":
            assert 0 <= parameter.min() < 1e-4
            assert 0.0199 < parameter.max() <= 0.02
            assert parameter.mean().item() == pytest.approx(0.01, rel=0.02)
        else:
            expected = 0.02 / math.sqrt(4) if name.endswith("out.weight") else 0.02  # 1 / sqrt(2 L), L = 2
            assert parameter.std().item() == pytest.approx(expected, rel=0.1), name
            assert abs(parameter.mean().item()) < 0.002, name


def test_the_same_seed_gives_the_same_model() -> None:
    first, second, third = (lively(seed=s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embed.weight"], third["embed.weight"])


def test_dense_and_sparse_are_one_class_with_the_same_parameters() -> None:
    sparse, dense = lively(CONFIG), lively(replace(CONFIG, activation_frac=1.0))
    assert {n: p.shape for n, p in sparse.named_parameters()} == {n: p.shape for n, p in dense.named_parameters()}
    assert type(sparse) is type(dense)
    assert not torch.allclose(sparse(tokens()), dense(tokens()))


def test_embedding_and_unembedding_are_untied() -> None:
    model = lively()
    assert model.embed.weight.data_ptr() != model.unembed.weight.data_ptr()
    assert not torch.equal(model.embed.weight, model.unembed.weight)


def test_projected_are_matrices_and_biases_and_nothing_else() -> None:
    model = lively(replace(CONFIG, positions="learned", sink=True))
    names = {parameter.name for parameter in sparse_parameters(model)}
    assert {"embed.weight", "unembed.weight", "positions.weight", "blocks.1.mlp.out.bias"} <= names
    rest = {name for name, _ in model.named_parameters()} - names
    assert rest == {
        "bigram", "norm.gain", *(f"blocks.{n}.{b}.norm.gain" for n in (0, 1) for b in ("attn", "mlp")),
        "blocks.0.attn.sink", "blocks.1.attn.sink",
    }  # fmt: skip


def test_protected_lines_are_channels_and_neurons() -> None:
    """Rows of the matrices into q, k, v and neurons; columns of those out of values and neurons."""
    lines = {name: protected_lines(name) for name, _ in lively().named_parameters() if name.startswith("blocks.0")}
    assert {name.split(".")[-2] for name, way in lines.items() if way == "rows"} == {"q", "k", "v", "neuron"}
    assert [name for name, way in lines.items() if way == "columns"] == [
        "blocks.0.attn.out.weight",
        "blocks.0.mlp.out.weight",
    ]
    assert protected_lines("embed.weight") is None
    assert protected_lines("blocks.0.attn.q.bias") is None


def test_parameters_are_counted() -> None:
    """V D = 276 twice, 2 x 4 D^2 = 1152, 2 x 2 x D N = 1152, biases 2 x (4 D + N + D) = 168, bigram 529, gains 60."""
    model = lively()
    model.embed.weight[0] = 0
    counts = count_parameters(model)
    sparse = 2 * 276 + 1152 + 1152 + 168
    assert counts == {
        "parameters": sparse + 529 + 60,
        "nonzero": sparse + 529 + 60 - 12,
        "sparse_parameters": sparse,
        "sparse_nonzero": sparse - 12,
    }


def test_node_sites_of_a_layer() -> None:
    assert node_sites(1) == (
        EMBED, "0.attn.in", "0.attn.q", "0.attn.k", "0.attn.v", "0.attn.out",
        "0.mlp.in", "0.mlp.neuron", "0.mlp.out", FINAL,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 30, "d_head": 16}, "d_model 30 is not a multiple of d_head 16; use 16"),
        ({"activation_frac": 0.0}, "activation_frac 0.0 is not in"),
        ({"activation_frac": 1.5}, "1 switches AbsTopK off"),
        ({"n_layer": 0}, "n_layer 0 is not in"),
    ],
)
def test_impossible_shapes_are_refused(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(ModelConfig(), **change)
