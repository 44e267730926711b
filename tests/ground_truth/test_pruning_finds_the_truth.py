"""`--require faithful` finds the circuit that each known model was built around, and nothing else."""

import pytest

from thinwire.circuits.edges import induced_edges
from thinwire.ground_truth.families import FAMILIES, known_model
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.prune import finish, learn_gates
from thinwire.workflows.known_model import pruning_problem


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_what_verify_asks_for_leads_to_the_truth(family: str) -> None:
    known = known_model(family, "small", 0)
    problem, config = pruning_problem(known), PruneConfig(require="faithful")
    (gates,) = learn_gates(problem.objective("train", config), known.model.space, [config])
    found = finish(problem, gates, config)
    edges = found.minimal_edges if found.minimal_edges is not None else induced_edges(known.model, found.nodes)
    assert found.solved
    assert {(site, c) for site, channels in found.nodes.items() for c in channels} == set(known.truth.nodes)
    assert {edge[:4] for edge in edges} == set(known.truth.wires)
