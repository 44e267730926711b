"""Circuits that are known to be wrong are caught, each for the right reason."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from judged import budget_of, material_of
from micro_model import COPY_ANSWERS, MARK_A, MARK_B, HandModel, bracket_counter, circuit_of, copy_model

from thinwire.circuits.ablation import node_means
from thinwire.circuits.agreement import check_belongs
from thinwire.circuits.graph import Circuit
from thinwire.errors import CorruptFile, UserError
from thinwire.model.checkpoint import fingerprint
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.prune import Identity, prune
from thinwire.verification.claim import Claim, read_claim
from thinwire.verification.controls import permuted, random_like, redrawn, shuffled_like, unrelated
from thinwire.verification.examine import examine
from thinwire.verification.finding import Finding
from thinwire.verification.subject import Subject
from thinwire.verification.sufficiency import sufficiency
from thinwire.verification.verdict import judge

SMALL = budget_of(
    random_sets=20,
    null_pairs=8,
    pairs=8,
    survey_pairs=8,
    search_pairs=8,
    nodes=19,
    edges=4,
    restarts=0,
    text_windows=2,
    draws=2,
)


def examined(hand: HandModel, claim: Claim) -> dict[str, Finding]:
    return examine(Subject(hand.model, claim, hand.means), material_of(hand), SMALL)


def swapped(hand: HandModel, site: str, channel: int) -> Claim:
    """The true circuit with one node of a site exchanged for another."""
    return Claim.of(circuit_of(hand, {**hand.nodes, site: [channel]}))


def cheat() -> HandModel:
    """A copy model that holds a shortcut which never works, and a circuit that is the shortcut.

    Channel 7 of the embedding tells the markers apart, and value channel 16 of layer 1 carries it to the answers. But
    value channel 17 carries the same with the opposite sign: in the whole model the two cancel. Mean ablation silences
    the second one, and only then does the first one answer.
    """
    built = copy_model()
    model = deepcopy(built.model)
    weight = model.get_parameter
    for token, value in ((MARK_A, 2.0), (MARK_B, -2.0), (3, 2.0), (4, -2.0)):
        model.embed.weight[token, 7] = value
    for head_input in ("q", "k", "v"):
        weight(f"blocks.1.attn.{head_input}.weight")[16:] = 0.0  # q and k 0: attends evenly
    weight("blocks.1.attn.v.weight")[[16, 17], 7] = 1.0
    weight("blocks.1.attn.out.weight")[31] = 0.0
    weight("blocks.1.attn.out.weight")[31, [16, 17]] = torch.tensor([12.0, -12.0])
    weight("blocks.1.mlp.out.weight")[31] = 0.0
    weight("blocks.0.attn.out.weight")[31] = weight("blocks.0.mlp.out.weight")[31] = 0.0
    model.embed.weight[:, 31] = 0.0
    weight("unembed.weight")[list(COPY_ANSWERS), 31] = torch.tensor([0.7, -0.7])
    nodes = {"embed": [7], "1.attn.in": [7], "1.attn.v": [16], "1.attn.out": [31], "final": [31]}
    return replace(built, model=model, means=node_means(model, built.windows), nodes=nodes)


@pytest.mark.parametrize(
    ("build", "site", "channel"),
    [
        (copy_model, "0.attn.v", 3),
        (copy_model, "1.attn.q", 17),
        (copy_model, "final", 9),
        (bracket_counter, "0.mlp.neuron", 44),
        (bracket_counter, "embed", 12),
    ],
)
def test_one_needed_node_swapped_for_another(build, site: str, channel: int) -> None:
    """Not sufficient, and so not supported whatever else is found (test_verdict)."""
    hand = build()
    subject = Subject(hand.model, swapped(hand, site, channel), hand.means)
    assert sufficiency(subject, material_of(hand), SMALL).passed is False


def found_in(hand: HandModel) -> Circuit:
    """What the pruning finds there, solved or not."""
    config = PruneConfig(steps=60, k_coef=3e-3)
    return prune(hand.model, hand.pairs, hand.means, config, Identity(hand.task, 1, fingerprint(hand.model), "t"))


@pytest.mark.slow
@pytest.mark.parametrize("nonsense", [permuted, lambda pairs, seed: unrelated(pairs, 25, seed)])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_the_pruning_finds_on_a_nonsense_task(nonsense, seed: int) -> None:
    hand = replace(copy_model(), pairs=nonsense(copy_model().pairs, seed))
    verdict = judge(examined(hand, Claim.of(found_in(hand))))
    assert verdict.level == "not supported" and verdict.reasons


@pytest.mark.slow
@pytest.mark.parametrize("redraw", [random_like, shuffled_like])
def test_what_the_pruning_finds_in_a_random_model(redraw) -> None:
    hand = copy_model()
    model = redrawn(hand.model, 0, redraw)
    random = replace(hand, model=model, means=node_means(model, hand.windows))
    verdict = judge(examined(random, Claim.of(found_in(random))))
    assert verdict.level == "not supported" and verdict.reasons


@pytest.mark.parametrize("build", [copy_model, bracket_counter])
def test_a_circuit_of_a_nonsense_task(build) -> None:
    """Answers permuted over prompts: the whole model does not do this task, so no circuit of it can be how it does."""
    hand = build()
    nonsense = replace(hand, pairs=permuted(hand.pairs, seed=0))
    verdict = judge(examined(nonsense, Claim.of(circuit_of(nonsense, hand.nodes))))
    assert verdict.level == "not supported"
    assert "does not do the task" in verdict.reasons[0]


def test_a_circuit_of_a_random_model() -> None:
    """Even one that holds every node but one: the random model does not do the task."""
    hand = bracket_counter()
    model = redrawn(hand.model, 0, random_like)
    random = replace(hand, model=model, means=node_means(model, hand.windows))
    nodes = {site: list(range(len(mean))) for site, mean in random.means.items()}
    nodes["embed"] = nodes["embed"][1:]
    verdict = judge(examined(random, Claim.of(circuit_of(random, nodes))))
    assert verdict.level == "not supported" and "does not do the task" in verdict.reasons[0]


def test_the_circuit_of_one_model_is_refused_in_another() -> None:
    hand = bracket_counter()
    claim = Claim.of(hand.circuit)
    check_belongs(claim, hand.model)
    with pytest.raises(UserError, match=r"the circuit of bracket belongs to model \w{12}, this model is \w{12}"):
        check_belongs(claim, redrawn(hand.model, 0, random_like))


def test_a_circuit_that_cheats_through_ablation_means() -> None:
    """Its loss is low and it is right on every prompt; in the whole model its nodes move nothing and are not needed."""
    hand = cheat()
    findings = examined(hand, Claim.of(hand.circuit))
    assert findings["sufficiency"].passed, findings["sufficiency"].sentence
    assert findings["interchange"].passed is False
    assert findings["necessity"].passed is False
    verdict = judge(findings)
    assert (verdict.level, verdict.paper) == ("sufficient only", "sufficient, not shown to be necessary")
    assert {reason.split()[0] for reason in verdict.reasons} >= {"Necessity", "Interchange"}


def test_a_circuit_that_leaves_a_needed_node_out_and_one_too_many_in() -> None:
    hand = copy_model()
    less = {site: channels for site, channels in hand.nodes.items() if site != "1.attn.k"}
    assert judge(examined(hand, Claim.of(circuit_of(hand, less)))).level == "not supported"
    more = {**hand.nodes, "0.mlp.neuron": [40, 41], "embed": [0, 1, 2, 3, 20]}
    findings = examined(hand, Claim.of(circuit_of(hand, more)))
    assert findings["sufficiency"].passed and findings["necessity"].passed
    verdict = judge(findings)
    assert (verdict.level, verdict.paper) == ("sufficient only", "sufficient and necessary")
    assert verdict.reasons[0].startswith("Minimality failed. Taken out of the circuit one at a time, ")


def test_the_whole_model_claimed_as_a_circuit_is_not_faithful() -> None:
    """Nothing is left to hold its removal against, and nearly all of it is idle."""
    hand = bracket_counter()
    everything = {site: list(range(len(mean))) for site, mean in hand.means.items()}
    verdict = judge(examined(hand, Claim.of(circuit_of(hand, everything))))
    assert verdict.level == "sufficient only"
    assert [reason.split()[0] for reason in verdict.reasons if "could not" in reason] == ["Necessity"]
    assert any(reason.startswith("Minimality failed.") for reason in verdict.reasons)


# --- files that are wrong -------------------------------------------------------------------------------------------


def minimal(hand: HandModel) -> dict:
    return {"model_fingerprint": fingerprint(hand.model), "task": hand.task, "nodes": hand.nodes}


def test_the_minimal_file_is_the_whole_claim() -> None:
    hand = bracket_counter()
    assert read_claim(minimal(hand), hand.model) == replace(Claim.of(hand.circuit), status="not stated")


def test_files_that_do_not_fit_are_refused_with_what_is_wrong() -> None:
    hand = bracket_counter()
    good = minimal(hand)
    with pytest.raises(CorruptFile, match="missing keys: model_fingerprint, nodes"):
        read_claim({"task": "bracket"}, hand.model)
    with pytest.raises(CorruptFile, match="this model has no node site '7.attn.q'"):
        read_claim({**good, "nodes": {"7.attn.q": [1]}}, hand.model)
    with pytest.raises(CorruptFile, match="embed has no channel 32; its channels are 0 to 31"):
        read_claim({**good, "nodes": {"embed": [32]}}, hand.model)
    with pytest.raises(CorruptFile, match="no weight matrix leads from embed to final"):
        read_claim({**good, "edges": [["embed", 0, "final", 0]]}, hand.model)


def test_an_edge_has_to_be_one_of_the_model_and_lie_between_the_circuits_nodes() -> None:
    hand = bracket_counter()
    edges = [list(edge[:4]) for edge in hand.circuit.edges]
    assert read_claim({**minimal(hand), "edges": edges}, hand.model).edges == hand.circuit.edges
    for wrong, words in (
        (["0.attn.in", 0, "0.attn.q", 0], "leads from or to a node that is not kept"),
        (["0.mlp.in", 1, "0.mlp.neuron", 1], "leads from or to a node that is not kept"),
        (edges[1], "is listed twice"),
    ):
        with pytest.raises(CorruptFile, match=words):
            read_claim({**minimal(hand), "edges": [*edges, wrong]}, hand.model)
    wide = {**hand.nodes, "0.attn.q": [3]}
    assert float(hand.model.get_parameter("blocks.0.attn.q.weight")[3, 0]) == 0
    with pytest.raises(CorruptFile, match=r"has weight 0 in this model"):
        read_claim({**minimal(hand), "nodes": wide, "edges": [["0.attn.in", 0, "0.attn.q", 3]]}, hand.model)


def test_edges_take_their_weights_from_the_model() -> None:
    hand = bracket_counter()
    claim = read_claim({**minimal(hand), "edges": [["0.attn.v", 0, "0.attn.out", 1]]}, hand.model)
    assert claim.edges[0].weight == 12.0
    assert json.loads(json.dumps(claim.nodes)) == hand.nodes
