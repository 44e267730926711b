"""Pruning: the fewest nodes with which the frozen model still reaches the target loss.

Source: Gao et al. 2025, section 2.3 and appendix "Pruning"; step 4 goes beyond it:

    1. one gate per node; shut gates put the node's mean in its place            circuits.mask
    2. minimise task loss + k_coef x (open gates) on train pairs                 learn_gates
    3. order nodes by tau, bisect their number on validation pairs               circuits.discretize
    4. take out single nodes, then single edges that are not needed there        circuits.sweep
    5. fit scale and shift of the answer logits on validation pairs              circuits.calibrate
    6. count edges; read the test pairs, once                                    circuits.describe
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from thinwire.circuits.ablation import Means
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Circuit, Edge
from thinwire.model.gpt import GPT
from thinwire.model.nodes import Nodes, NodeSpace
from thinwire.progress import Progress, silent
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import FoundCircuit, Identity, Problem, describe
from thinwire.pruning.discretize import Bisection, bisect, spread_counts
from thinwire.pruning.gates import NodeGates
from thinwire.pruning.importance import attribution, weight_magnitude
from thinwire.pruning.objective import Objective
from thinwire.pruning.reach import on_a_path
from thinwire.pruning.sweep import sweep_best, sweep_edges, sweep_strands
from thinwire.tasks.task import Split
from thinwire.tasks.tokens import TaskTokens

BETAS = (0.9, 0.95)
LEFT_FOR_EDGES = 0.15
"""Share of the limits that the sweep of nodes leaves over: a sweep of nodes up to the limit leaves no edge that can go,
whether it does anything or not."""
OTHER_SEED = 1_000_003
"""Added to the seed for the second gates of `starts`."""


class PairOrder:
    """Pairs for one step after the other: every pair once before any comes again."""

    def __init__(self, n_pairs: int, batch_pairs: int, generator: torch.Generator) -> None:
        self.n_pairs, self.batch_pairs, self.generator = n_pairs, batch_pairs, generator
        self.order = torch.empty(0, dtype=torch.long)

    def next(self) -> Tensor:
        if len(self.order) < min(self.batch_pairs, self.n_pairs):
            self.order = torch.cat([self.order, torch.randperm(self.n_pairs, generator=self.generator)])
        rows, self.order = self.order[: self.batch_pairs], self.order[self.batch_pairs :]
        return rows


def learn_gates(
    train: Objective,
    space: NodeSpace,
    configs: Sequence[PruneConfig],
    title: str = "prune",
    progress: Progress = silent,
    forbidden: Nodes | None = None,
) -> list[NodeGates]:
    """One gate per node and config, learned on train pairs together; those of `forbidden` nodes stay shut.

    The configs may differ in seed and price alone. Each learns as if it were by itself: its own start, pairs and
    gradient, and an optimizer that works entry by entry.
    """
    config = configs[0]
    if any(replace(other, seed=config.seed, k_coef=config.k_coef) != config for other in configs):
        raise ValueError("only settings that differ in seed and k_coef alone can share one pass")
    generators = [torch.Generator().manual_seed(c.seed) for c in configs]
    gates = [NodeGates(space, generator, forbidden, train.device) for generator in generators]
    orders = [PairOrder(train.n_pairs, config.batch_pairs, generator) for generator in generators]
    adamw = torch.optim.AdamW(
        [g.tau for g in gates], lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay
    )
    warmup = max(1, round(config.warmup_frac * config.steps))
    with progress(title, total=config.steps, unit="step") as advance:
        for step in range(config.steps):
            is_open = torch.stack([g.open() for g in gates])
            losses, rise = train.gradients(is_open.detach(), [order.next() for order in orders], generators)
            prices = torch.tensor([c.k_coef for c in configs], device=rise.device)
            for g, gradient in zip(gates, _through_step(is_open, rise + prices[:, None], gates), strict=True):
                g.tau.grad = gradient / gradient.square().mean().sqrt().clamp(min=1.0)
            rate = min((step + 1) / warmup, (config.steps - step) / max(1, config.steps - warmup))
            adamw.param_groups[0]["lr"] = config.learning_rate * rate
            adamw.step()
            for g in gates:
                g.clamp_()
            advance(1, loss=float(losses.mean()), nodes=int(is_open.detach().sum(1).mean()))
    return gates


def _through_step(
    is_open: Float[Tensor, "S nodes"], gradient: Float[Tensor, "S nodes"], gates: Sequence[NodeGates]
) -> tuple[Tensor, ...]:
    """The gates' gradient as their parameters'."""
    return torch.autograd.grad(is_open, [g.tau for g in gates], gradient)


@torch.no_grad()
def choose_nodes(
    gates: NodeGates, validation: Objective, target: float | None = None
) -> tuple[Float[Tensor, " nodes"], Bisection]:
    """The smallest set of nodes, in the order of tau, that meets what is asked on validation pairs, as open gates."""
    return first_that_meets(gates.tau.detach(), gates.forbidden, int((gates.tau >= 0).sum()), validation, target)


@torch.no_grad()
def first_that_meets(
    scores: Float[Tensor, " nodes"],
    forbidden: Bool[Tensor, " nodes"],
    n_first: int,
    validation: Objective,
    target: float | None = None,
) -> tuple[Float[Tensor, " nodes"], Bisection]:
    """The fewest nodes, by falling score, that meet what is asked, as open gates; the search starts at `n_first`.

    `target` bounds what may be lacking, on the scale of `Objective.lack`: the objective's own, if None.

    The curve is that of the task loss, whatever is asked besides.
    """
    order = torch.sort(scores, descending=True, stable=True).indices
    order = order[~forbidden[order]]
    n_open, lacks = n_first, {}

    def first(count: int) -> Tensor:
        chosen = torch.zeros_like(scores)
        chosen[order[:count]] = 1
        return chosen

    def lack_at(count: int) -> float:
        if count not in lacks:
            lacks[count] = validation.lack(first(count))
        return lacks[count]

    found = bisect(lack_at, n_open, len(order), validation.target if target is None else target)
    looked_at = sorted({*lacks, *spread_counts(n_open, len(order))})
    alone = validation.asks_for_the_task_alone
    curve = [(n, lacks[n] if alone and n in lacks else validation.engine.loss(first(n))) for n in looked_at]
    return first(found.n_nodes), replace(found, curve=curve)


def finish(problem: Problem, gates: NodeGates, config: PruneConfig, progress: Progress = silent) -> FoundCircuit:
    """From learned gates to a circuit: bisect, sweep. Reads validation pairs only."""
    validation, model = problem.objective("validation", config), problem.model
    target = _target_of_nodes(validation, config)
    chosen, bisection = choose_nodes(gates, validation, target)
    if not bisection.solved and target < validation.target:
        target = validation.target
        chosen, bisection = choose_nodes(gates, validation)
    nodes = model.space.nodes(chosen)
    found = FoundCircuit(nodes, bisection.solved, bisection.curve)
    if bisection.solved and config.sweep != "none":
        unswept = (sum(map(len, nodes.values())), len(induced_edges(model, nodes)))
        starts = [chosen, *_other_starts(problem, gates, config, validation, target)]
        chosen = sweep_best(validation, starts, target, progress)
        if not validation.asks_for_the_task_alone:
            chosen = sweep_strands(validation, chosen, target, progress)
        nodes = model.space.nodes(chosen)
        found = replace(found, nodes=nodes, unswept=unswept)
    if bisection.solved and config.sweep == "edges":
        edges = induced_edges(model, nodes)
        found = replace(found, minimal_edges=sweep_edges(validation, chosen, edges, progress))
    return _without_dead_ends(problem, validation, found)


def _target_of_nodes(validation: Objective, config: PruneConfig) -> float:
    """What may be lacking when nodes are chosen. Where several demands bind, some is left for the sweep of edges."""
    spares = config.sweep == "edges" and not validation.asks_for_the_task_alone
    return validation.target * (1 - LEFT_FOR_EDGES if spares else 1)


def _other_starts(
    problem: Problem, gates: NodeGates, config: PruneConfig, validation: Objective, target: float
) -> list[Tensor]:
    """Open gates from which the sweep may start besides, of as many ways as `config.starts` allows; those that meet."""
    space, found = problem.model.space, []
    if config.starts > 1:
        forbidden = space.nodes(gates.forbidden)
        other = replace(config, seed=config.seed + OTHER_SEED)
        (again,) = learn_gates(problem.objective("train", config), space, [other], forbidden=forbidden)
        found.append(choose_nodes(again, validation, target))
    scores = (lambda: attribution(problem).nodes, lambda: weight_magnitude(problem.model))
    for score in scores[: max(0, config.starts - 2)]:
        values = score().detach().to(gates.tau)
        found.append(first_that_meets(values, gates.forbidden, len(values), validation, target))
    return [chosen for chosen, bisection in found if bisection.solved]


def _without_dead_ends(problem: Problem, validation: Objective, found: FoundCircuit) -> FoundCircuit:
    """Nodes on no path from a token to an answer go, where what is asked stays met; with what is met in the end."""
    model = problem.model
    edges = induced_edges(model, found.nodes)
    stated = edges if found.minimal_edges is None else found.minimal_edges

    def removed_from(nodes: Nodes) -> list[Edge]:
        return sorted(set(induced_edges(model, nodes)) - set(stated))

    if found.solved and found.unswept is not None:
        nodes = on_a_path(model.space, found.nodes, stated)
        gates = model.space.mask(nodes, model.device).float()
        if nodes != found.nodes and validation.lack(gates, removed_from(nodes)) <= validation.target:
            inside = [edge for edge in stated if _is_inside(edge, nodes)]
            found = replace(found, nodes=nodes, minimal_edges=None if found.minimal_edges is None else inside)
    gates = model.space.mask(found.nodes, model.device).float()
    return replace(found, demands=validation.measure(gates, removed_from(found.nodes)))


def _is_inside(edge: Edge, nodes: Nodes) -> bool:
    return edge.source in nodes.get(edge.source_site, ()) and edge.target in nodes.get(edge.target_site, ())


def find(problem: Problem, config: PruneConfig) -> tuple[FoundCircuit, list[Edge]]:
    """A circuit and its induced edges, up to the sweep of nodes and without reading a test pair: a search's trial."""
    config = replace(config, sweep="nodes" if config.sweep == "edges" else config.sweep)
    (gates,) = learn_gates(problem.objective("train", config), problem.model.space, [config])
    found = finish(problem, gates, config)
    return found, induced_edges(problem.model, found.nodes)


def prune_together(
    problem: Problem, configs: Sequence[PruneConfig], progress: Progress = silent, forbidden: Nodes | None = None
) -> list[Circuit]:
    """Circuits of one task for settings that differ in seed and price alone; `forbidden` nodes are in none of them.

    Gates learn on train, the count, the sweep and the calibration come from validation, test is read once for the
    report. A target that cannot be met gives a circuit of status `not_solved`.
    """
    title = f"prune {problem.identity.task}"
    learned = learn_gates(
        problem.objective("train", configs[0]), problem.model.space, configs, title, progress, forbidden
    )
    return [
        describe(problem, finish(problem, gates, config, progress), config)
        for gates, config in zip(learned, configs, strict=True)
    ]


def prune(
    model: GPT,
    pairs: dict[Split, TaskTokens],
    means: Means,
    config: PruneConfig,
    identity: Identity,
    progress: Progress = silent,
    forbidden: Nodes | None = None,
) -> Circuit:
    """Find the circuit of one task; see `prune_together`."""
    problem = Problem(model, pairs, means, identity, config.norm_scales)
    return prune_together(problem, [config], progress, forbidden)[0]
