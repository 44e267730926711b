"""Decoding by nonzeros computes what `model(tokens)` computes: every variant, every circuit, in any company."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hand_circuit import circuit_of
from model_builders import CONFIG, lively, random_model
from released_models import records, write_model
from torch import Tensor

from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Circuit
from thinwire.circuits.isolated import isolate_circuit
from thinwire.circuits.prompts import Prompts
from thinwire.errors import CorruptFile, UserError
from thinwire.inference.alone import circuit_alone
from thinwire.inference.decoder import Decoder
from thinwire.inference.weights import check_weights, weights_of
from thinwire.interop.gpt2 import read_gpt2
from thinwire.interop.openai import read_openai
from thinwire.interop.sparse_pretrain import read_sparse_pretrain
from thinwire.kernels import decoding
from thinwire.model.checkpoint import load_model
from thinwire.model.gpt import GPT
from thinwire.model.structure import weight_shapes

READERS = {"openai": read_openai, "sparse_pretrain": read_sparse_pretrain, "gpt2": read_gpt2}
RELEASED = [
    f"{program}/{name}"
    for program in READERS
    for name in sorted(records(program))
    if name != "slow_attention_ignores_its_sink"  # is refused
]
OWN = {
    "own/plain": CONFIG,
    "own/sink": replace(CONFIG, sink=True),
    "own/learned": replace(CONFIG, positions="learned"),
    "own/no-bigram": replace(CONFIG, bigram=False),
    "own/no-abs-topk": replace(CONFIG, activation_frac=1.0),
    "own/one-head": replace(CONFIG, d_head=12),
    "own/wide-head": replace(CONFIG, d_model=34, d_head=17),
}
RELATIVE = 1e-5


@pytest.fixture(scope="module", params=[*OWN, *RELEASED])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GPT:
    """Every kind of model: all numbers far from their initial values, none or half of the weights zero."""
    if request.param in OWN:
        return lively(OWN[request.param]).eval()
    program, _, name = request.param.partition("/")
    found = READERS[program](write_model(tmp_path_factory.mktemp("other"), program, name))
    return load_model(found.config, found.tensors, name).requires_grad_(False).eval()


def some_tokens(model: GPT, n: int = 3) -> Tensor:
    """(n, 6)."""
    return torch.randint(model.config.vocab_size, (n, 6), generator=torch.Generator().manual_seed(1))


def close(found: np.ndarray, expected: Tensor) -> None:
    assert np.abs(found - expected.numpy()).max() <= RELATIVE * float(expected.abs().max())


# --- the whole model ------------------------------------------------------------------------------------------------


def test_token_by_token_it_is_the_model(model: GPT) -> None:
    tokens, decoder = some_tokens(model, 1), Decoder(model.config, weights_of(model))
    cache, expected = decoder.start([6]), model(tokens)[0]
    for position, token in enumerate(tokens[0].tolist()):
        close(decoder.read(cache, {0: [token]})[0], expected[position])
    assert cache.lengths.tolist() == [6]


def test_a_sequence_has_the_same_bits_alone_and_in_any_company(model: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sequences of other lengths, read in other portions, by other numbers of threads."""
    rows, decoder = some_tokens(model).tolist(), Decoder(model.config, weights_of(model))
    cache = decoder.start([6, 5, 6])
    monkeypatch.setattr(decoding, "_blocks_for", lambda n_rows: 3)
    decoder.read(cache, {2: rows[2][:1], 0: rows[0][:3]})
    found = decoder.read(cache, {0: rows[0][3:], 1: rows[1][:2], 2: rows[2][1:5]})
    monkeypatch.undo()
    for i, (row, length) in enumerate([(0, 6), (1, 2), (2, 5)]):
        assert np.array_equal(found[i], decoder.read(decoder.start([6]), {0: rows[row][:length]})[0])
        close(found[i], model(torch.tensor([rows[row][:length]]))[0, -1])


def test_weights_by_nonzeros_and_dense_ones_give_the_same() -> None:
    model = random_model(density=0.1)
    sparse = Decoder(model.config, weights_of(model))
    dense = Decoder(model.config, model.state_dict())
    tokens = some_tokens(model, 1)[0].tolist()
    found, expected = (one.read(one.start([6]), {0: tokens}) for one in (sparse, dense))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_read_is_refused_and_leaves_the_cache_as_it_was() -> None:
    model = lively()
    decoder = Decoder(model.config, weights_of(model))
    cache = decoder.start([3, 2])
    decoder.read(cache, {0: [1, 2]})
    for new, message in (
        ({}, "no token to read"),
        ({0: []}, "no token to read"),
        ({0: [1], 1: [23]}, r"not all in 0\.\.22"),
        ({0: [-1]}, r"not all in 0\.\.22"),
        ({0: [1, 2]}, "no room for more tokens"),
    ):
        with pytest.raises(ValueError, match=message):
            decoder.read(cache, new)
    assert cache.lengths.tolist() == [2, 0]
    with pytest.raises(ValueError, match="room for 10 tokens is more than the context 9"):
        decoder.start([10])
    close(decoder.read(cache, {0: [3]})[0], model(torch.tensor([[1, 2, 3]]))[0, -1])


# --- weights --------------------------------------------------------------------------------------------------------


def test_shapes_are_those_that_a_model_has(model: GPT) -> None:
    assert weight_shapes(model.config) == {name: tuple(t.shape) for name, t in model.state_dict().items()}
    check_weights(model.config, weights_of(model), "here")


def test_weights_that_do_not_fit_are_refused() -> None:
    model = lively()
    weights = dict(weights_of(model))
    for changed, message in (
        (
            {"norm.gain": torch.ones(3)},
            r"here does not fit its config.yaml: norm.gain is \(3,\), the model has \(12,\)",
        ),
        ({"stranger": torch.ones(3)}, r"stranger is \(3,\), the model has none"),
        ({"norm.gain": torch.full((12,), torch.nan)}, "here: norm.gain holds numbers that are not finite"),
        ({"bigram": weights["bigram"].double()}, "bigram holds torch.float64"),  # pyright: ignore
    ):
        with pytest.raises(CorruptFile, match=message):
            check_weights(model.config, weights | changed, "here")
    del weights["unembed.weight"]
    with pytest.raises(CorruptFile, match="unembed.weight is missing, the model has"):
        check_weights(model.config, weights, "here")


# --- a circuit alone ------------------------------------------------------------------------------------------------


def random_circuit(model: GPT, norm_scales: str, share: float = 0.6) -> tuple[Circuit, dict[str, Tensor]]:
    """A circuit of random nodes, half of its edges minimal, with random stand-ins."""
    generator = torch.Generator().manual_seed(3)
    chosen = {site: torch.rand(width, generator=generator) < share for site, width in model.space.widths.items()}
    nodes = {site: found.nonzero().flatten().tolist() for site, found in chosen.items() if found.any()}
    means = {site: torch.randn(width, generator=generator) for site, width in model.space.widths.items()}
    edges = induced_edges(model, nodes)
    score = circuit_of().scores
    changes = {"nodes": nodes, "edges": edges, "minimal_edges": edges[::2], "minimal_scores": score}
    return circuit_of(**changes, norm_scales=norm_scales), means


@pytest.mark.parametrize("edges", ["induced", "minimal"])
@pytest.mark.parametrize("norm_scales", ["own", "whole"])
def test_a_circuit_alone_is_the_circuit_run_the_plain_way(model: GPT, norm_scales: str, edges: str) -> None:
    circuit, means = random_circuit(model, norm_scales)
    tokens = some_tokens(model, 2)
    prompts = Prompts(tokens, torch.tensor([6, 6]), torch.ones(2), 0, 1)
    plain = isolate_circuit(model, circuit, means, prompts, edges)  # pyright: ignore[reportArgumentType]
    expected = model(tokens, plain.hook, plain.edges)
    alone = circuit_alone(model.space, circuit, means, edges)  # pyright: ignore[reportArgumentType]
    decoder = Decoder(model.config, weights_of(model), alone)
    cache = decoder.start([6, 6])
    for position in range(2, 7):
        first = 0 if position == 2 else position - 1
        new = {row: ids[first:position] for row, ids in enumerate(tokens.tolist())}
        close(decoder.read(cache, new), expected[:, position - 1])
    whole = Decoder(model.config, weights_of(model))
    assert np.abs(whole.read(whole.start([6]), {0: tokens[0].tolist()}) - expected[0, -1].numpy()).max() > 1e-2


def test_minimal_edges_have_to_be_there() -> None:
    model = lively()
    circuit, means = random_circuit(model, "own")
    with pytest.raises(UserError, match="no edges of the circuit of a_task were swept"):
        circuit_alone(model.space, replace(circuit, minimal_edges=None), means, "minimal")
