"""What files say of a model is held to the model: nodes, weights, vocabulary, context."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from micro_model import HandModel, bracket_counter
from torch import Tensor

from thinwire.circuits.agreement import (
    check_belongs,
    check_circuit,
    check_means,
    check_pairs,
    check_tokenizer,
    stated_edges,
)
from thinwire.circuits.anatomy import anatomy
from thinwire.circuits.artefact import check_answers, split_pairs
from thinwire.circuits.graph import Circuit, Edge
from thinwire.circuits.stated import StatedCircuit, read_stated
from thinwire.errors import CorruptFile, UserError
from thinwire.model.checkpoint import load_model
from thinwire.tasks.tokens import to_arrays
from thinwire.verification.claim import Claim, claim_of

EDGE = ["0.attn.v", 0, "0.attn.out", 1]


@pytest.fixture
def hand() -> HandModel:
    return bracket_counter()


def changed(circuit: Circuit, **changes: Any) -> Circuit:
    """Read back from JSON in which `changes` replace keys."""
    return Circuit.from_dict(json.loads(json.dumps(circuit.to_dict() | changes)))


def test_a_true_circuit_agrees(hand: HandModel) -> None:
    check_belongs(hand.circuit, hand.model)
    check_circuit(hand.circuit, hand.model, "x")
    check_means(hand.means, hand.model.space, "x")
    check_pairs(hand.pairs, hand.model, "x")
    check_answers(hand.circuit, hand.pairs, "x")


def test_an_anatomy_is_held_to_the_models_heads(hand: HandModel) -> None:
    true = anatomy(hand.circuit.nodes, hand.model.config.d_head)
    check_circuit(replace(hand.circuit, anatomy=true), hand.model, "x")
    with pytest.raises(CorruptFile, match="x: the anatomy is not that of the nodes"):
        check_circuit(replace(hand.circuit, anatomy=replace(true, heads=true.heads + 1)), hand.model, "x")


def test_another_tokenizer_is_refused() -> None:
    check_tokenizer("t", "ab" * 32, "ab" * 32)
    with pytest.raises(UserError, match="was found with tokenizer abababababab, this run.s is cdcdcdcdcdcd"):
        check_tokenizer("t", "ab" * 32, "cd" * 32)


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        ("nodes", lambda v: v | {"0.attn.inn": [1]}, "no node site '0.attn.inn'; did you mean 0.attn.in"),
        ("nodes", lambda v: v | {"embed": [0, 32]}, "embed has no channel 32"),
        ("edges", lambda v: [[*v[0][:4], v[0][4] * 2], *v[1:]], "no edge .* of weight"),
        ("edges", lambda v: v[1:], "edges are not all of the model's weights"),
        ("answer_tokens", lambda v: [15, 17], "answer_tokens are not in the model's vocabulary"),
    ],
)
def test_a_circuit_that_the_model_does_not_have(hand: HandModel, key: str, change: Callable, words: str) -> None:
    values = json.loads(json.dumps(hand.circuit.to_dict()))
    value = change(values[key])
    counts = {"nodes": {"n_nodes": sum(map(len, value.values()))}} if key == "nodes" else {}
    counts |= {"edges": {"n_edges": len(value)}}
    circuit = changed(hand.circuit, **{key: value}, **counts.get(key, {}))
    with pytest.raises(CorruptFile, match=f"^here: .*{words}"):
        check_circuit(circuit, hand.model, "here")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": {"embed": [1, 0]}, "n_nodes": 2, "edges": [], "n_edges": 0}, "not ascending"),
        ({"nodes": {"embed": [0, 0]}, "n_nodes": 2, "edges": [], "n_edges": 0}, "not ascending"),
        ({"nodes": {"embed": [True]}}, "nodes.*expected int, got bool"),
        ({"nodes": {"embed": [3.0]}}, "nodes.*expected int, got float"),
        ({"nodes": {"embed": ["3"]}}, "nodes.*expected int, got str"),
        ({"nodes": {"embed": [-1]}}, "nodes.*expected int >= 0"),
        ({"nodes": None}, "nodes: expected object, got null"),
        ({"nodes": {}, "n_nodes": 0}, "an edge leads from or to a node that is not kept"),
        ({"edges": "x"}, "edges: expected array, got str"),
        ({"edges": [["embed", 0]]}, "edges"),
        ({"minimal_edges": [["embed", 0, "final", 0, 1.0]], "minimal_scores": "same"}, "not a part of edges"),
        ({"minimal_edges": []}, "come together"),
        ({"scores": None}, "scores: expected object, got null"),
        ({"scores": {}}, "scores are not those of train, validation, test"),
        ({"calibration": None}, "calibration: expected object"),
        ({"loss_curve": [1]}, "loss_curve"),
        ({"loss_curve": []}, "loss_curve"),
        ({"answer_tokens": None}, "answer_tokens: expected array"),
        ({"answer_tokens": [3, 3]}, "the two answers are the same"),
        ({"answer_tokens": [3, -3]}, "answer_tokens"),
        ({"answer_texts": ["a", "a"]}, "the two answers are the same"),
        ({"status": []}, "status: expected str"),
        ({"status": "faithful"}, "status: unknown value"),
        ({"norm_scales": "x"}, "norm_scales: unknown value"),
        ({"ablation": "x"}, "ablation: unknown value"),
        ({"target_loss": -1}, "target_loss: expected float >= 0"),
        ({"seed": 10**100}, "seed: expected int <="),
        ({"task": "../../x"}, "task: expected str matching"),
        ({"task": "a/b"}, "task: expected str matching"),
        ({"model_fingerprint": None}, "model_fingerprint: expected str"),
        ({"n_nodes": True}, "states counts"),
    ],
)
def test_a_circuit_that_contradicts_itself_is_refused(hand: HandModel, changes: dict, words: str) -> None:
    if "minimal_scores" in changes:
        changes = changes | {"minimal_scores": hand.circuit.to_dict()["scores"]}
    with pytest.raises(CorruptFile, match=f"^circuit.json.*{words}") as caught:
        changed(hand.circuit, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("site", "change", "words"),
    [
        ("embed", lambda t: None, "does not have this model's sites and widths"),
        ("embed", lambda t: t[1:], "does not have this model's sites and widths"),
        ("embed", lambda t: t[None], "does not have this model's sites and widths"),
        ("embed", lambda t: t.double(), "embed holds torch.float64"),
        ("embed", lambda t: t.bool(), "embed holds torch.bool"),
        ("embed", lambda t: t / 0, "embed holds numbers that are not finite"),
        ("typo", lambda t: torch.zeros(3), "does not have this model's sites and widths"),
    ],
)
def test_means_are_finite_numbers_for_every_channel(
    hand: HandModel, site: str, change: Callable[[Any], Tensor | None], words: str
) -> None:
    means = dict(hand.means)
    value = change(means.get(site))
    means = {s: m for s, m in means.items() if s != site} | ({} if value is None else {site: value})
    with pytest.raises(CorruptFile, match=f"^here.*{words}"):
        check_means(means, hand.model.space, "here")


def test_weights_are_finite_float32(hand: HandModel) -> None:
    good = hand.model.state_dict()
    load_model(hand.model.config, good, "here")
    for change in (torch.Tensor.double, torch.Tensor.half, lambda t: t / 0):
        with pytest.raises(CorruptFile, match=r"^here: final_norm\.gain|^here: .* holds"):
            load_model(hand.model.config, {name: change(tensor) for name, tensor in good.items()}, "here")


def test_pairs_are_the_models_to_read(hand: HandModel) -> None:
    def with_test(**changes: Any) -> dict:
        return hand.pairs | {"test": replace(hand.pairs["test"], **changes)}

    test = hand.pairs["test"]
    too_wide = np.zeros((len(test), hand.model.config.context + 1), dtype=np.int64)
    for changes, words in (
        ({"clean": too_wide, "corrupt": too_wide}, "test.clean is wider than the model's context of 40"),
        ({"corrupt": test.corrupt + 17}, "test.corrupt holds tokens that are not in 0..16"),
        ({"other": 17}, "test.answers are not in 0..16"),
    ):
        with pytest.raises(CorruptFile, match=f"^here: {words}"):
            check_pairs(with_test(**changes), hand.model, "here")
    with pytest.raises(CorruptFile, match="the answers of the test pairs are not those of circuit.json"):
        check_answers(hand.circuit, with_test(answer=3), "here")
    with pytest.raises(CorruptFile, match="the answers of the test pairs are not those of circuit.json"):
        check_answers(hand.circuit, with_test(answer_texts=("x", "y")), "here")
    for changes in ({"answer": 3}, {"answer_texts": ("x", "y")}):  # in files from elsewhere, which state no answers
        stored = {
            f"{split}.{name}": torch.tensor(array)
            for split, tokens in with_test(**changes).items()
            for name, array in to_arrays(tokens).items()
        }
        with pytest.raises(CorruptFile, match="^here: its splits have different answers; write it again"):
            split_pairs(stored, "here")


# What somebody else states.


def stated(hand: HandModel, **changes: Any) -> StatedCircuit:
    values = {"model_fingerprint": hand.circuit.model_fingerprint, "task": hand.task, "nodes": hand.nodes}
    found = read_stated(values | changes, "here")
    assert isinstance(found, StatedCircuit)
    return found


def test_a_whole_artefact_and_three_keys_make_the_same_claim(hand: HandModel) -> None:
    whole = read_stated(json.loads(json.dumps(hand.circuit.to_dict())), "here")
    assert whole == hand.circuit
    assert claim_of(stated(hand, status="solved"), hand.model) == Claim.of(hand.circuit) == claim_of(whole, hand.model)


def test_listed_edges_are_taken_with_the_models_weights(hand: HandModel) -> None:
    claim = claim_of(stated(hand, edges=[EDGE]), hand.model)
    assert (claim.edges, claim.edge_kind) == ([Edge("0.attn.v", 0, "0.attn.out", 1, 12.0)], "listed")
    claim = claim_of(stated(hand, edges=[EDGE], minimal_edges=[[*EDGE, 12]]), hand.model)
    assert claim.edge_kind == "minimal"


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([[*EDGE, -999.0]], "is stated with weight -999 and has 12 in this model"),
        ([EDGE, EDGE], "is listed twice"),
        ([["0.attn.v", 0, "0.attn.out", 2]], "leads from or to a node that is not kept"),
        ([["0.attn.in", 0, "0.attn.q", 0]], "leads from or to a node that is not kept"),
        ([["embed", 0, "final", 2]], "no weight matrix leads from embed to final"),
        ([["0.attn.v", 99, "0.attn.out", 1]], "0.attn.v has no channel 99"),
    ],
)
def test_edges_that_the_model_does_not_have_are_refused(hand: HandModel, edges: list, words: str) -> None:
    with pytest.raises(CorruptFile, match=f"^here: .*{words}"):
        claim_of(stated(hand, edges=edges), hand.model, "here")


def test_an_edge_of_weight_zero_is_none(hand: HandModel) -> None:
    model = deepcopy(hand.model)
    with torch.no_grad():
        model.get_parameter("blocks.0.attn.out.weight")[1, 0] = 0.0
    (edge,) = stated(hand, edges=[EDGE]).edges or []
    with pytest.raises(CorruptFile, match="0.attn.v:0 -> 0.attn.out:1 has weight 0 in this model"):
        stated_edges([edge], hand.nodes, model, "here")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target_los": 0.1}, "unknown keys: target_los"),
        ({"target_loss": "abc"}, "target_loss: expected float, got str"),
        ({"target_loss": -1}, "target_loss: expected float > 0"),
        ({"task": []}, "task: expected str, got array"),
        ({"edges": 5}, "edges: expected array"),
        ({"edges": [["embed"]]}, "edges"),
        ({"edges": [["0.attn.v", "0", "0.attn.out", 1]]}, "edges"),
        ({"edges": [["0.attn.v", True, "0.attn.out", 1]]}, "edges"),
        ({"nodes": {"embed": 3}}, "nodes.*expected array, got int"),
        ({"nodes": {"embed": [1.5]}}, "nodes.*expected int, got float"),
        ({"nodes": {"embed": [0, 0]}}, "a channel of embed is listed twice"),
        ({"model_fingerprint": None}, "model_fingerprint: expected str"),
        ({"schema_version": 1}, "missing keys"),
    ],
)
def test_what_cannot_be_a_claim_names_the_key(hand: HandModel, changes: dict, words: str) -> None:
    with pytest.raises(CorruptFile, match=f"^here: .*{words}"):
        stated(hand, **changes)
