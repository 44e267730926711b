"""A circuit runs in one way: as stated, under the norms that it was found with, wherever it is looked at."""

from dataclasses import replace

import pytest
import torch
from micro_model import bracket_counter, copy_model

from thinwire.circuits.ablation import isolate, remove_edges
from thinwire.circuits.isolated import IsolatedCircuit, isolate_circuit, without
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.circuits.scales import record_scales
from thinwire.circuits.score import difference_of
from thinwire.errors import UserError
from thinwire.model.hooks import compose
from thinwire.verification.claim import Claim
from thinwire.verification.subject import Subject
from thinwire.verification.variants import replace_in_circuit


def circuit_alone(norm_scales: str = "own", n_stated: int | None = None) -> IsolatedCircuit:
    hand = copy_model()
    minimal = None if n_stated is None else hand.circuit.edges[:n_stated]
    circuit = replace(hand.circuit, norm_scales=norm_scales, minimal_edges=minimal)
    return isolate_circuit(hand.model, circuit, hand.means, hand.prompts, "induced" if minimal is None else "minimal")


def test_it_is_hook_and_edges_by_hand() -> None:
    hand, alone = copy_model(), circuit_alone(n_stated=6)
    masks = remove_edges(hand.model, hand.circuit.edges[6:], hand.means)
    by_hand = logit_difference(hand.model, hand.prompts, isolate(hand.model, hand.nodes, hand.means), masks)
    assert torch.equal(alone.difference(), by_hand)
    assert torch.allclose(difference_of(alone.logits(), hand.prompts), by_hand, atol=1e-5)
    assert not torch.allclose(by_hand, circuit_alone().difference(), atol=1e-2)


def test_whole_norm_scales_are_the_whole_models_on_the_same_prompt() -> None:
    hand, alone = copy_model(), circuit_alone("whole")
    scales = record_scales(hand.model, hand.prompts)

    def freeze(site: str, x: torch.Tensor) -> torch.Tensor:
        if site == "final.scale":
            return scales.by_site[site][torch.arange(len(x)), hand.prompts.lengths - 1]
        return scales.by_site.get(site, x)

    by_hand = logit_difference(hand.model, hand.prompts, compose(isolate(hand.model, hand.nodes, hand.means), freeze))
    assert torch.equal(alone.difference(), by_hand)
    assert not torch.allclose(by_hand, circuit_alone().difference(), atol=1e-3)


@pytest.mark.parametrize("norm_scales", ["own", "whole"])
def test_copies_of_the_prompts_and_all_positions_have_the_same_scales(norm_scales: str) -> None:
    """Many variants in one batch, and the logits at every token, as pages look at them."""
    hand, alone = copy_model(), circuit_alone(norm_scales, 6)
    idle = [{"embed": [20]}, {}, {"final": [9]}]  # outside the circuit: at their means already
    for row in replace_in_circuit(alone, idle, alone.means):
        assert torch.allclose(row, alone.difference(), atol=1e-5)
    logits = hand.model(hand.prompts.tokens, alone.hook, alone.edges)
    last = logits[torch.arange(len(logits)), hand.prompts.lengths - 1]
    assert torch.allclose(difference_of(last, hand.prompts), alone.difference(), atol=1e-4)


def test_on_other_prompts_scales_are_recorded_anew() -> None:
    hand, alone = copy_model(), circuit_alone("whole")
    other = Prompts.of(hand.pairs["validation"])
    direct = isolate_circuit(hand.model, replace(hand.circuit, norm_scales="whole"), hand.means, other)
    alone.difference()
    assert torch.equal(alone.on(other).difference(), direct.difference())


def test_without_takes_nodes_and_edges_out() -> None:
    hand, alone = copy_model(), circuit_alone()
    assert without(hand.nodes, [("0.attn.v", 0), ("embed", 2)]) == {**hand.nodes, "0.attn.v": [], "embed": [0, 1, 3]}
    assert abs(float(alone.without([("0.attn.v", 0)]).difference().mean())) < 0.1
    assert abs(float(alone.without(edges=hand.circuit.edges[:3]).difference().mean())) < 0.5


def test_minimal_edges_have_to_be_there() -> None:
    hand = bracket_counter()
    with pytest.raises(UserError, match="no edges of the circuit of bracket were swept"):
        isolate_circuit(hand.model, hand.circuit, hand.means, hand.prompts, "minimal")


def test_a_claim_and_its_circuit_run_alike() -> None:
    """Verification judges what `eval` scores, down to the last bit."""
    hand = copy_model()
    circuit = replace(hand.circuit, norm_scales="whole", minimal_edges=hand.circuit.edges[:7])
    judged = Subject(hand.model, Claim.of(circuit), hand.means).alone(hand.prompts)
    scored = isolate_circuit(hand.model, circuit, hand.means, hand.prompts, "minimal")
    assert torch.equal(judged.difference(), scored.difference())
