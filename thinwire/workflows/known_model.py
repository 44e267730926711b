"""One known model: what a method makes of it against the truth, and what `verify` says of a claim about it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch

from thinwire.circuits.ablation import isolate, remove_edges
from thinwire.circuits.graph import Edge
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.ground_truth.known import KnownModel
from thinwire.ground_truth.parts import Parts
from thinwire.ground_truth.results import AgainstTruth, ClaimVerdict, MethodResult
from thinwire.ground_truth.scores import FRACTIONS, Areas, areas, auroc, overlap
from thinwire.model.hooks import Hook, identity
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import Identity, Problem
from thinwire.verification.budget import BUDGETS, BudgetName
from thinwire.verification.claim import Claim
from thinwire.verification.examine import examine
from thinwire.verification.material import TaskMaterial
from thinwire.verification.subject import Subject
from thinwire.verification.verdict import judge
from thinwire.workflows.contenders import METHODS, Choice, all_edges


def pruning_problem(known: KnownModel) -> Problem:
    """The model and its task, as pruning takes them."""
    identity = Identity(known.family, 1, known.fingerprint, "0" * 64)
    return Problem(known.model, dict(known.pairs), known.means, identity)


# --- methods --------------------------------------------------------------------------------------------------------


def hold_method(known: KnownModel, problem: Problem, method: str, target_loss: float) -> MethodResult:
    """One of `contenders.METHODS` against the truth; areas are measured on test pairs."""
    start = time.perf_counter()
    choice = METHODS[method](problem, PruneConfig(target_loss=target_loss, seed=known.seed))
    seconds = time.perf_counter() - start
    found = Parts.of(
        [edge[:4] for edge in choice.edges], [(s, c) for s, channels in choice.nodes.items() for c in channels]
    )
    edges, truth = all_edges(problem), known.truth
    true_edges = torch.tensor([edge[:4] in truth.wires for edge in edges])
    nodes, wires = overlap(found.nodes, truth.nodes), overlap(found.wires, truth.wires)
    by_node = auroc(choice.node_scores, known.model.space.mask(known.nodes(truth)))
    by_edge = auroc(choice.edge_scores, true_edges)
    return MethodResult(
        method=method,
        solved=choice.solved,
        exact=nodes.exact and wires.exact,
        sufficient=any(found == parts for parts in known.sufficient),
        ranking=choice.ranking,
        seconds=seconds,
        nodes=AgainstTruth(**asdict(nodes), auroc=by_node, **asdict(_node_areas(known, choice))),
        edges=AgainstTruth(**asdict(wires), auroc=by_edge, **asdict(_edge_areas(known, choice, edges))),
    )


def _node_areas(known: KnownModel, choice: Choice) -> Areas:
    order, space = torch.sort(choice.node_scores, descending=True, stable=True).indices, known.model.space

    def kept(n: int) -> float:
        mask = torch.zeros(space.n_nodes)
        mask[order[:n]] = 1
        return _mean_difference(known, isolate(known.model, space.nodes(mask), known.means))

    return _areas(kept, len(order))


def _edge_areas(known: KnownModel, choice: Choice, edges: Sequence[Edge]) -> Areas:
    """All nodes stay; edges beyond the first ones carry their source's mean."""
    order = torch.sort(choice.edge_scores, descending=True, stable=True).indices.tolist()
    return _areas(lambda n: _mean_difference(known, removed=[edges[i] for i in order[n:]]), len(order))


def _areas(kept: Callable[[int], float], n: int) -> Areas:
    return areas([kept(int(share * n)) for share in FRACTIONS], kept(0), kept(n))


@torch.no_grad()
def _mean_difference(known: KnownModel, hook: Hook = identity, removed: Sequence[Edge] = ()) -> float:
    """m of `ground_truth.scores`, on test pairs."""
    prompts = Prompts.of(known.pairs["test"])
    difference = logit_difference(known.model, prompts, hook, remove_edges(known.model, removed, known.means))
    return float((difference * prompts.sign).mean())


# --- verification ---------------------------------------------------------------------------------------------------


def judge_claim(
    known: KnownModel, name: str, parts: Parts, target_loss: float, budget: BudgetName = "fast"
) -> ClaimVerdict:
    """What `verify` says of a circuit of these nodes and wires."""
    edges = parts.edges(known.model)
    claim = Claim(known.family, known.fingerprint, known.nodes(parts), edges, "minimal", target_loss)
    material = TaskMaterial(
        test=Prompts.of(known.pairs["test"]),
        search=Prompts.of(known.pairs["validation"]),
        others={name: Prompts.of(tokens) for name, tokens in known.others.items()},
        shifted={name: Prompts.of(tokens) for name, tokens in known.shifted.items()},
        windows=known.windows,
    )
    findings = examine(Subject(known.model, claim, known.means), material, BUDGETS[budget], known.seed)
    verdict = judge(findings)
    failed = [name for name, finding in findings.items() if finding.passed is False]
    return ClaimVerdict(name, claim.n_nodes, len(edges), verdict.level, failed, verdict.reasons)
