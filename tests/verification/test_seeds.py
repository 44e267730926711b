"""Seeds and backups: overlap, core and exhaustion, with a stand-in for the pruner; forbidding, with the real gates."""

import torch
from judged import budget_of, material_of, subject_of
from micro_model import bracket_counter, copy_model

from thinwire.circuits.overlap import jaccard
from thinwire.pruning.gates import NodeGates
from thinwire.verification.pruner import Pruned, Pruner
from thinwire.verification.seeds import Seeds, frequent_interior, seeds, shared


def run(pruner: Pruner, n_seeds: int, n_rounds: int, seed: int = 0) -> Seeds:
    hand = bracket_counter()
    material = material_of(hand, pairs=hand.pairs, pruner=pruner)
    return seeds(subject_of(hand), material, budget_of(seeds=n_seeds, rounds=n_rounds), seed)


def test_overlap_and_core_by_hand() -> None:
    a, b = {"embed": [1, 2], "final": [3]}, {"embed": [2, 5], "final": [3]}
    assert jaccard(a, b) == 2 / 4
    assert jaccard({}, {}) == 1.0
    assert shared([a, b]) == {"embed": [2], "final": [3]}


def test_the_same_circuit_for_every_seed_and_no_backup() -> None:
    hand = bracket_counter()
    calls = []

    def pruner(model, pairs, seed, forbidden) -> Pruned:
        calls.append((seed, forbidden))
        solved = not forbidden
        return Pruned(hand.nodes if solved else {}, solved, 0.01 if solved else 0.7, 4)

    found = run(pruner, n_seeds=2, n_rounds=3, seed=7)
    assert found.passed
    assert found.node_overlap == found.same_answer == 1.0
    assert found.correlation is not None and found.correlation > 0.999
    assert found.core == hand.nodes and found.core_loss < 0.15
    assert found.n_circuits == 1 and len(found.exhausted) == 1  # ends with the first round that is not solved
    assert [seed for seed, _ in calls] == [8, 9, 7]
    assert calls[-1][1] == {site: nodes for site, nodes in hand.nodes.items() if site not in ("embed", "final")}


def test_what_half_of_the_circuits_share_is_frequent_and_ends_are_not_interior() -> None:
    circuits = [{"embed": [1], "0.attn.v": [3, 4]}, {"embed": [1], "0.attn.v": [4, 5]}, {"0.attn.v": [4], "final": [2]}]
    assert frequent_interior(circuits) == {"0.attn.v": [4]}
    assert frequent_interior(circuits[:2]) == {"0.attn.v": [3, 4, 5]}
    assert frequent_interior(circuits[:1]) == {"0.attn.v": [3, 4]}


def test_exhaustion_forbids_the_interior_of_everything_found_before() -> None:
    hand = bracket_counter()
    rounds = [{"embed": [10], "0.attn.v": [7]}, {"0.attn.v": [8], "final": [12]}]
    forbade = []

    def pruner(model, pairs, seed, forbidden) -> Pruned:
        forbade.append({site: list(channels) for site, channels in forbidden.items()})
        return Pruned(rounds[len(forbade) - 1], True, 0.1, 1)

    found = run(pruner, n_seeds=0, n_rounds=2)
    interior = {site: nodes for site, nodes in hand.nodes.items() if site not in ("embed", "final")}
    assert forbade[0] == interior
    assert forbade[1] == {**interior, "0.attn.v": [0, 7]}
    assert found.n_circuits == 3 and found.passed is False and found.n_forbidden == [6, 7]
    assert "3 circuits one after the other, at least" in found.sentence


def test_unsolved_seeds_do_not_enter_the_overlap() -> None:
    hand = bracket_counter()
    found = run(lambda model, pairs, seed, forbidden: Pruned({"embed": [9]}, False, 0.7, 0), n_seeds=2, n_rounds=0)
    assert found.node_overlap is None and found.core == hand.nodes
    assert found.passed is None


def test_forbidden_gates_never_open() -> None:
    hand = copy_model()
    gates = NodeGates(hand.model.space, torch.Generator().manual_seed(0), hand.nodes)
    assert int(gates.forbidden.sum()) == 19
    with torch.no_grad():
        gates.tau += 5.0
    gates.clamp_()
    is_open = gates.open().detach().bool()
    assert not (is_open & gates.forbidden).any() and int(is_open.sum()) == 768 - 19
