"""The adversary: restarts, held to circuits that are known."""

import torch
from judged import budget_of, material_of, subject_of
from micro_model import copy_model

from thinwire.circuits.ablation import ablate
from thinwire.circuits.prompts import Prompts, logit_difference, task_loss
from thinwire.verification.adversary import adversary, attack

BUDGET = budget_of(pairs=16, search_pairs=16, restarts=3, adversary_steps=20)


def test_nothing_outside_a_true_circuit_can_hurt_it() -> None:
    hand = copy_model()
    found = adversary(subject_of(hand), material_of(hand), BUDGET)
    assert found.passed and found.worst < 0.15
    assert len(found.losses) == 3 and found.worst == max(found.losses) and found.lowest == min(found.losses)


def test_without_a_needed_node_every_search_finds_it() -> None:
    hand = copy_model()
    nodes = {site: channels for site, channels in hand.nodes.items() if site != "1.attn.v"}
    edges = [edge for edge in hand.circuit.edges if "1.attn.v" not in (edge.source_site, edge.target_site)]
    found = adversary(subject_of(hand, nodes=nodes, edges=edges), material_of(hand), BUDGET)
    assert found.passed is False and found.lowest > 0.6


def test_of_two_nodes_outside_the_needed_one_is_shut() -> None:
    hand = copy_model()
    space = hand.model.space
    outside = space.mask({"1.attn.v": [0], "embed": [9]})
    search = Prompts.of(hand.pairs["validation"]).pairs(torch.arange(16))
    alone = subject_of(hand, nodes=space.nodes(~outside), edges=[]).alone(search)
    shut = space.nodes(attack(alone, outside, 20, 0.5, torch.Generator().manual_seed(1)))
    assert shut["1.attn.v"] == [0] and shut.get("embed", [9]) == [9]
    broken = ablate(hand.model, {"1.attn.v": [0]}, hand.means)
    assert float(task_loss(logit_difference(hand.model, search, broken), search.sign)) > 0.6
