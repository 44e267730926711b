"""The unrolled program gives the circuit's logits, by the evaluator and as a file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from decompiled import alone_of, evaluated, logits_of, program_of, run_alone, texts_of
from micro_model import bracket_counter, copy_model

from thinwire.circuits.ablation import node_means
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.prompts import Prompts
from thinwire.decompile.evaluate import Batch, activated
from thinwire.decompile.expressions import Survivor, walk
from thinwire.decompile.fold import folded
from thinwire.decompile.source import source
from thinwire.errors import UserError
from thinwire.model.config import ModelConfig, Variant
from thinwire.model.gpt import ACTIVATIONS, GPT

HANDS = [copy_model, bracket_counter]


@pytest.mark.parametrize("make", HANDS)
def test_the_program_of_a_hand_built_circuit_gives_its_logits(make) -> None:
    alone = alone_of(make())
    found = evaluated(program_of(alone), Batch.of(alone.prompts))
    assert np.abs(found - logits_of(alone)).max() < 1e-5


@pytest.mark.parametrize("make", HANDS)
def test_as_a_file_it_gives_them_without_torch(make, tmp_path: Path) -> None:
    alone = alone_of(make())
    program, some = program_of(alone), alone.prompts.pairs(torch.arange(8))
    (tmp_path / "exact.py").write_text(source(program, ["exact."]))
    found = run_alone(tmp_path / "exact.py", texts_of(some, program.tokens))
    answer, other = logits_of(alone.on(some)).T
    assert np.abs(found - (answer - other)).max() < 1e-5


def _random_circuit(share: float, config: ModelConfig, seed: int = 0) -> IsolatedCircuit:
    """A random circuit, without an eighth of its edges, of a random model in which everything acts on everything."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = GPT(config).requires_grad_(False).eval()
    for parameter in model.parameters():
        parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    windows = torch.randint(0, config.vocab_size, (32, config.context + 1), generator=generator)
    nodes = model.space.nodes(torch.rand(model.space.n_nodes, generator=generator) < share)
    tokens = torch.randint(0, config.vocab_size, (12, config.context), generator=generator)
    lengths = torch.randint(2, config.context + 1, (12,), generator=generator)
    prompts = Prompts(tokens, lengths, torch.ones(12), 1, 2)
    removed = tuple(induced_edges(model, nodes)[::8])
    return IsolatedCircuit(model, nodes, node_means(model, windows), prompts, removed)


SMALL = ModelConfig(vocab_size=20, context=9, n_layer=2, d_model=16, d_head=4, activation_frac=0.4)
CONFIGS = {
    "paper": SMALL,
    "positions": replace(SMALL, positions="learned"),
    "no bigram": replace(SMALL, bigram=False),
    "no AbsTopK": replace(SMALL, activation_frac=1.0),
    "relu": replace(SMALL, variant=Variant(activation="relu")),
    "gelu_tanh": replace(SMALL, variant=Variant(activation="gelu_tanh")),
    "some sites": replace(SMALL, variant=Variant(topk_sites=("attn.in", "mlp.neuron"))),
}


@pytest.mark.parametrize("share", [0.15, 0.6])
@pytest.mark.parametrize("name", CONFIGS)
def test_so_does_that_of_a_random_circuit_with_edges_removed(name: str, share: float, tmp_path: Path) -> None:
    alone = _random_circuit(share, CONFIGS[name])
    program, batch, wanted = program_of(alone), Batch.of(alone.prompts), logits_of(alone)
    assert np.abs(evaluated(program, batch) - wanted).max() < 1e-5 * max(1.0, np.abs(wanted).max())
    assert np.abs(evaluated(folded(program), batch) - evaluated(program, batch)).max() < 1e-9
    if name == "positions":
        (tmp_path / "exact.py").write_text(source(program, ["exact."]))
        found = run_alone(tmp_path / "exact.py", texts_of(alone.prompts, program.tokens))
        assert np.abs(found - (wanted[:, 0] - wanted[:, 1])).max() < 1e-5 * max(1.0, np.abs(wanted).max())


def test_at_the_last_token_values_are_those_of_all_tokens() -> None:
    alone = _random_circuit(0.6, SMALL)
    program, batch = program_of(alone), Batch.of(alone.prompts)
    rows = np.arange(len(batch.lengths))
    for x in program.outputs:
        assert np.allclose(batch.at_tokens(x)[rows, batch.lengths - 1], batch.last(x), atol=1e-12)


def test_abs_top_k_acts_in_a_program() -> None:
    """Without it the same circuit has other logits, so that the tests above see it."""
    alone = _random_circuit(0.6, SMALL)
    program, batch = program_of(alone), Batch.of(alone.prompts)
    free = program.mapped(lambda x: x.unrivalled if isinstance(x, Survivor) else x)
    assert any(isinstance(x, Survivor) for x in walk(*program.outputs))
    assert np.abs(evaluated(free, batch) - evaluated(program, batch)).max() > 0.1


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "relu"])
def test_neurons_have_the_models_functions(name) -> None:
    x = np.linspace(-4, 4, 41)
    assert np.allclose(activated(name, x), ACTIVATIONS[name](torch.from_numpy(x)).numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("config", "scales", "why"),
    [
        (replace(SMALL, sink=True), "own", "an attention sink"),
        (replace(SMALL, variant=Variant(norm="layer")), "own", "LayerNorm"),
        (replace(SMALL, variant=Variant(residual="relu")), "own", "residual stream"),
        (replace(SMALL, positions="learned", variant=Variant(d_positions=4)), "own", "positions beside"),
        (SMALL, "whole", "scales of the whole model"),
    ],
)
def test_what_no_program_can_be_made_of_is_refused(config: ModelConfig, scales, why: str) -> None:
    alone = replace(_random_circuit(0.3, config), norm_scales=scales)
    with pytest.raises(UserError, match=why):
        program_of(alone)
