"""The families of known circuits are what docs/ground_truth.md says of them, by brute force."""

import random
from collections.abc import Collection, Iterator
from functools import cache
from itertools import combinations

import numpy as np
import pytest
import torch

from thinwire.circuits.ablation import ablate, isolate, remove_edges
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Edge
from thinwire.circuits.patching import other_side, record
from thinwire.circuits.prompts import Prompts, logit_difference, task_accuracy, task_loss
from thinwire.errors import UserError
from thinwire.ground_truth.families import FAMILIES, known_model
from thinwire.ground_truth.known import KnownModel
from thinwire.ground_truth.parts import Node, Parts
from thinwire.ground_truth.sizes import SIZE_NAMES, SizeName
from thinwire.model.hooks import Hook, identity
from thinwire.pruning.engine import Engine, engine
from thinwire.pruning.sweep import one_minimal
from thinwire.tasks.task import SPLITS
from thinwire.verification.nulls import variances
from thinwire.verification.variants import replace_in_model

TARGET = 0.15
COUNTS = {  # family -> (nodes, wires) of the truth, and of each minimal sufficient set
    "copy": ((11, 4), [(11, 4)]),
    "previous_token": ((17, 6), [(17, 6)]),
    "induction": ((25, 10), [(25, 10)]),
    "bracket_depth": ((8, 4), [(8, 4)]),
    "two_hop": ((19, 8), [(19, 8)]),
    "neuron_gate": ((14, 10), [(14, 10)]),
    "redundant_head": ((14, 8), [(11, 4), (11, 4)]),
    "split_heads": ((17, 12), [(14, 8), (14, 8), (14, 8)]),
    "cancelling_pair": ((11, 4), [(11, 4), (5, 2)]),
    "correlated_decoy": ((11, 4), [(11, 4)]),
    "dead_mechanism": ((11, 4), [(11, 4)]),
    "superposed_features": ((7, 3), [(7, 3)]),
    "shared_attention": ((11, 4), [(11, 4)]),
    "idle_weights": ((19, 8), [(19, 8)]),
}
FEW = [name for name, (_, sets) in COUNTS.items() if sets[0][0] <= 8]
"""Families of which all 2^n subsets are looked at without hurry."""
LIKE_COPY = [name for name, (_, sets) in COUNTS.items() if sets[0][0] == 11]

every_family = pytest.mark.parametrize("family", FAMILIES)


def members(sizes: Collection[SizeName], seeds: Collection[int]) -> Iterator[KnownModel]:
    for size in sizes:
        for seed in seeds:
            yield from (known_model(family, size, seed) for family in FAMILIES)


@cache
def prompts_of(known: KnownModel) -> Prompts:
    """Some of the test prompts."""
    return Prompts.of(known.pairs["test"]).pairs(torch.arange(24))


@torch.no_grad()
def difference(known: KnownModel, hook: Hook = identity, removed: Collection[Edge] = ()) -> torch.Tensor:
    masks = remove_edges(known.model, removed, known.means)
    return logit_difference(known.model, prompts_of(known), hook, masks)


def loss_of(known: KnownModel, parts: Parts) -> float:
    """Task loss with the nodes of `parts` kept, and of the weights between them its wires alone."""
    nodes = known.nodes(parts)
    others = [edge for edge in induced_edges(known.model, nodes) if edge[:4] not in parts.wires]
    hook = isolate(known.model, nodes, known.means)
    return float(task_loss(difference(known, hook, others), prompts_of(known).sign))


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    yield
    known_model.cache_clear()
    prompts_of.cache_clear()


def test_there_are_at_least_twelve_families() -> None:
    assert len(FAMILIES) >= 12
    assert FAMILIES.keys() == COUNTS.keys()


def test_a_name_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="no family is called copies; there are: copy, previous_token"):
        known_model("copies")


def test_sizes_go_from_tens_to_thousands_of_nodes() -> None:
    sizes = {size: [known_model(f, size).n_nodes for f in ("copy", "induction")] for size in SIZE_NAMES}
    assert sizes == {"small": [80, 288], "medium": [528, 960], "large": [1664, 3072]}


@every_family
def test_the_truth_has_the_stated_size(family: str) -> None:
    known = known_model(family)
    truth, sufficient = COUNTS[family]
    assert (len(known.truth.nodes), len(known.truth.wires)) == truth
    assert [(len(s.nodes), len(s.wires)) for s in known.sufficient] == sufficient


@every_family
def test_a_wire_of_the_truth_is_a_weight_of_the_model(family: str) -> None:
    """And the other way round: no other weight lies between two true nodes, but for the six idle ones."""
    known = known_model(family)
    induced = {edge[:4] for edge in induced_edges(known.model, known.nodes(known.truth))}
    assert induced >= known.truth.wires
    assert len(induced - known.truth.wires) == (6 if family == "idle_weights" else 0)
    assert {edge[:4] for edge in known.truth.edges(known.model)} == known.truth.wires
    assert all(edge.weight for edge in known.truth.edges(known.model))


@pytest.mark.parametrize("size", ["small", *(pytest.param(size, marks=pytest.mark.slow) for size in SIZE_NAMES[1:])])
def test_the_model_does_the_task_and_so_does_the_truth_alone(size: SizeName) -> None:
    for known in members([size], seeds=(0,) if size == "small" else (0, 1)):
        whole = difference(known)
        assert task_accuracy(whole, prompts_of(known).sign) >= 0.99, known.name
        assert float(task_loss(whole, prompts_of(known).sign)) < TARGET / 3, known.name
        assert loss_of(known, known.truth) < TARGET / 3, known.name
        for parts in known.sufficient:
            assert loss_of(known, parts) < 0.6 * TARGET, known.name


@pytest.mark.parametrize("size", ["small", pytest.param("medium", marks=pytest.mark.slow)])
def test_every_node_and_wire_of_a_sufficient_set_is_necessary(size: SizeName) -> None:
    """Less any one of them the loss is 2 x target or more; in split_heads 1.5 x, with one head of two left."""
    for known in members([size], seeds=(0,)):
        limit = (1.5 if known.family == "split_heads" else 2.0) * TARGET
        for parts in known.sufficient:
            for node in parts.nodes:
                assert loss_of(known, parts.without_node(node)) > limit, (known.name, node)
            for wire in parts.wires:
                assert loss_of(known, parts.without_wire(wire)) > limit, (known.name, wire)


@pytest.mark.parametrize("family", FEW + [pytest.param(name, marks=pytest.mark.slow) for name in LIKE_COPY])
def test_no_smaller_part_of_a_sufficient_set_will_do(family: str) -> None:
    """All 2^n subsets: the whole is the only one at the target."""
    known = known_model(family)
    gated = engine(known.model, Prompts.of(known.pairs["validation"]), known.means)
    for parts in known.sufficient:
        nodes = sorted(parts.nodes)
        subsets = (subset for n in range(len(nodes)) for subset in combinations(nodes, n))
        assert all(gated.loss(gates_of(known, subset), limit=TARGET) > TARGET for subset in subsets)


def gates_of(known: KnownModel, nodes: Collection[Node]) -> torch.Tensor:
    return known.model.space.mask(known.nodes(Parts.of(nodes=nodes))).float()


def swept(known: KnownModel, gated: Engine, seed: int) -> frozenset[Node]:
    """From the whole model, nodes taken out in random order while the target holds."""
    order = [known.model.space.node(place) for place in range(known.n_nodes)]
    random.Random(seed).shuffle(order)
    found = one_minimal(order, lambda kept: gated.loss(gates_of(known, kept), limit=TARGET), TARGET, lambda _: None)
    return frozenset(found)


@pytest.mark.parametrize(
    "family", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_every_way_down_from_the_whole_model_ends_in_a_sufficient_set(family: str) -> None:
    known = known_model(family)
    gated = engine(known.model, Prompts.of(known.pairs["validation"]), known.means)
    ends = {swept(known, gated, seed) for seed in range(4)}
    assert ends <= {parts.nodes for parts in known.sufficient}


@every_family
def test_without_the_truth_the_model_guesses(family: str) -> None:
    known = known_model(family)
    left = difference(known, ablate(known.model, known.nodes(known.truth), known.means))
    sign, whole = prompts_of(known).sign, difference(known)
    assert abs(float((left * sign).mean())) < 0.05 * float((whole * sign).mean())
    assert float(task_loss(left, sign)) > 0.6


@every_family
def test_all_that_lies_outside_carries_nothing_of_the_answer(family: str) -> None:
    """Patched from the pair's other side, every outside node alone and all at once: the answer hardly moves."""
    known = known_model(family)
    prompts, whole = prompts_of(known), difference(known)
    way = 2 * float((whole * prompts.sign).mean())
    other = other_side(record(known.model, prompts)[0], prompts.n_pairs)
    space = known.model.space
    outside = [node for node in map(space.node, range(space.n_nodes)) if node not in known.truth.nodes]
    singles = [node for node in outside if not (family == "cancelling_pair" and node[0] == "0.attn.v")]
    variants = [{site: [channel]} for site, channel in singles] + [known.nodes(Parts.of(nodes=outside))]
    patched = replace_in_model(known.model, prompts, variants, other)
    moved = ((whole - patched) * prompts.sign).mean(1).abs() / way
    assert float(moved[:-1].max()) < 0.05, singles[int(moved[:-1].argmax())]
    assert float(moved[-1]) < 0.1


def test_the_two_of_the_cancelling_pair_move_the_answer_one_at_a_time() -> None:
    """Each by a quarter to half of the way, against each other: no single intervention may judge them."""
    known = known_model("cancelling_pair")
    prompts, whole = prompts_of(known), difference(known)
    pair = sorted(n for n in known.lookalikes["the pair without the head"].nodes if n[0].endswith(".v"))
    other = other_side(record(known.model, prompts)[0], prompts.n_pairs)
    one, two, both = replace_in_model(known.model, prompts, [
        {"0.attn.v": [pair[0][1]]}, {"0.attn.v": [pair[1][1]]}, {"0.attn.v": sorted(c for _, c in pair)}
    ], other)  # fmt: skip
    way = 2 * float((whole * prompts.sign).mean())
    one, two, both = (float(((whole - d) * prompts.sign).mean()) / way for d in (one, two, both))
    assert 0.2 < abs(one) < 0.7 and 0.2 < abs(two) < 0.7 and one * two < 0 and abs(both) < 0.01


@pytest.mark.parametrize("size", SIZE_NAMES)
def test_decoys_fire(size: SizeName) -> None:
    """At least half of the nodes outside the truth vary over the task's prompts."""
    for family in ("copy", "superposed_features"):
        known = known_model(family, size)
        variance = variances(known.model, known.means, prompts_of(known))
        live = sum(int((v > 1e-6).sum()) for v in variance.values()) - len(known.truth.nodes)
        assert live > 0.5 * (known.n_nodes - len(known.truth.nodes)), (known.name, live)


def test_the_dead_mechanism_is_dead_and_has_the_largest_weights() -> None:
    known = known_model("dead_mechanism")
    variance = variances(known.model, known.means, prompts_of(known))
    dead = known.lookalikes["the dead head"] | known.lookalikes["the dead neurons"]
    inner = {node for node in dead.nodes - known.truth.nodes if not node[0].endswith(".in")}
    assert all(float(variance[site][channel]) < 1e-9 for site, channel in inner if not site.endswith("mlp.out"))
    largest = sorted((abs(edge.weight) for edge in dead.edges(known.model)), reverse=True)[:7]
    assert min(largest) > 4 * max(abs(edge.weight) for edge in known.truth.edges(known.model))


@every_family
def test_splits_share_no_pair_and_sides_are_equally_long(family: str) -> None:
    known = known_model(family)
    seen: set[bytes] = set()
    for split in SPLITS:
        tokens = known.pairs[split]
        assert tokens.aligned.all()
        rows = {
            np.concatenate(row).tobytes()
            for row in zip(tokens.clean, tokens.corrupt, tokens.clean_length[:, None], strict=True)
        }
        assert len(rows) == len(tokens) and not rows & seen
        seen |= rows


@every_family
def test_shifted_prompts_and_other_tasks_are_done_too(family: str) -> None:
    """But for the diluted context, where an average over more tokens has to fail."""
    known = known_model(family)
    for name, tokens in {**known.shifted, **known.others}.items():
        prompts = Prompts.of(tokens)
        with torch.no_grad():
            accuracy = task_accuracy(logit_difference(known.model, prompts), prompts.sign)
        assert accuracy < 0.6 if name == "diluted context" else accuracy > 0.95, name


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    first, again, other = (FAMILIES["copy"]("small", seed) for seed in (3, 3, 4))
    assert first.fingerprint == again.fingerprint and first.truth == again.truth
    assert np.array_equal(first.pairs["train"].clean, again.pairs["train"].clean)
    assert other.fingerprint != first.fingerprint and other.truth.nodes != first.truth.nodes
