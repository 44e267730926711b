"""The adversary: restarts, held to circuits that are known."""

import torch
from judged import budget_of, material_of, subject_of
from micro_model import copy_model

from thinwire.circuits.edges import induced_edges
from thinwire.circuits.prompts import Prompts
from thinwire.verification.adversary import adversary, attack
from thinwire.verification.variants import losses_when_shut

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
    nodes = space.nodes(~outside)
    search = Prompts.of(hand.pairs["validation"]).pairs(torch.arange(16))
    alone = subject_of(hand, nodes=nodes, edges=induced_edges(hand.model, nodes)).alone(search)
    shut = attack(alone, outside, 20, 0.5, torch.Generator().manual_seed(1))
    assert "1.attn.v" in space.nodes(shut) and not (shut & ~outside).any()
    none, idle, worst = losses_when_shut(alone, torch.stack([outside & False, space.mask({"embed": [9]}), shut]))
    assert none < 0.15 and idle < 0.15 and worst > 0.6
