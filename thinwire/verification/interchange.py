"""Interchange interventions: does a node do in the whole model what it does in the circuit?

The two sides of a pair need opposite answers. A node's activations are replaced by those that it has on the other
side, position by position, once in the pruned circuit and once in the whole model, each with its own activations. The
effect is how far the logit difference moves to the other side's, as a share of the whole way (1: all of it).
Source: interchange interventions, Geiger et al. 2021; Drori 2026 for their use against pruned circuits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.graph import Edge
from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.model.gpt import GPT
from thinwire.model.nodes import Nodes
from thinwire.model.sites import node_key
from thinwire.progress import Progress, silent
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding, NotRun
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import correlation, edge_name, normalised_error, percent
from thinwire.verification.subject import Subject
from thinwire.verification.variants import list_nodes, record, replace_in_circuit, replace_in_model, sample, single

SAME_SIGN = 0.9
CORRELATION = 0.8
ERROR = 0.5
CARRIED = 0.5
MATTERS = 0.05
"""Nodes with a smaller effect, both in the circuit and in the model, are left out of the agreement."""
SPREAD = 0.05
"""Correlation decides only where the effects' standard deviation reaches this, in the circuit and in the model."""
THRESHOLD = (
    f"over nodes with an effect of at least {percent(MATTERS)}: same sign {percent(SAME_SIGN)}, correlation "
    f"{CORRELATION} (where effects differ), error at most {ERROR}; all nodes together carry {percent(CARRIED)} in the "
    f"whole model"
)


@dataclass(frozen=True)
class PatchEffect:
    """One node's, or one edge's two ends', effect as a share of the whole way."""

    name: str
    circuit: float
    model: float
    prompt_correlation: float | None
    """Correlation over prompts of the shift of the difference; None where one of the two does not vary."""


@dataclass(frozen=True, kw_only=True)
class Interchange(Finding):
    nodes: list[PatchEffect]
    """Largest effect first."""
    pairs: list[PatchEffect]
    """Both ends of an edge patched together."""
    n_matter: int
    same_sign: float | None
    """Share of the nodes that matter; None when none does."""
    correlation: float | None
    error: float | None
    """Sum of |circuit - model| over sum of |model|, over the nodes that matter."""
    pairs_error: float | None
    carried: float
    """Effect of all the circuit's nodes patched at once into the whole model."""


def require_aligned(prompts: Prompts, task: str) -> None:
    """Raises `NotRun` naming task and pairs when two sides differ in length."""
    clean, corrupt = prompts.lengths.unflatten(0, (2, -1))
    if wrong := (clean != corrupt).nonzero().flatten().tolist():
        first = ", ".join(f"pair {row + 1} ({int(clean[row])} and {int(corrupt[row])} tokens)" for row in wrong[:3])
        raise NotRun(
            f"interchange interventions need pairs whose sides have equally many tokens; of task {task} {len(wrong)} "
            f"of {prompts.n_pairs} have not: {first}; make both prompts of each pair equally long"
        )


@torch.no_grad()
def interchange(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Interchange:
    """Patch nodes and edges one at a time, in the circuit and in the model.

    Raises `NotRun` when the two sides of a pair have different lengths.
    """
    claim, prompts = subject.claim, material.test_pairs(budget.pairs)
    require_aligned(prompts, claim.task)
    nodes = sample(list_nodes(claim.nodes), budget.nodes, seed)
    edges = sample(claim.edges, budget.edges, seed)
    variants: list[Nodes] = [*single(nodes), *map(_ends, edges)]
    circuit = _in_circuit(subject.alone(prompts), variants)
    whole = _in_model(subject.model, prompts, [*variants, claim.nodes])
    names = [node_key(site, channel) for site, channel in nodes] + [edge_name(edge) for edge in edges]
    effects = [
        PatchEffect(name, float(c.mean()), float(m.mean()), correlation(c, m))
        for name, c, m in zip(names, circuit, whole[:-1], strict=True)
    ]
    return _judge(effects[: len(nodes)], effects[len(nodes) :], float(whole[-1].mean()), prompts.n_pairs)


def _ends(edge: Edge) -> dict[str, list[int]]:
    return {edge.source_site: [edge.source], edge.target_site: [edge.target]}


def _in_circuit(alone: IsolatedCircuit, variants: Sequence[Nodes]) -> Float[Tensor, "V P"]:
    """`_shift` of every variant inside the circuit, with its own activations."""
    seen = record(alone.model, alone.prompts, alone.hook, alone.edges)
    after = replace_in_circuit(alone, variants, _other_side(seen, alone.prompts))
    return _shift(alone.difference(), after, alone.prompts)


def _in_model(model: GPT, prompts: Prompts, variants: Sequence[Nodes]) -> Float[Tensor, "V P"]:
    """`_shift` of every variant in the whole model, with its own activations."""
    after = replace_in_model(model, prompts, variants, _other_side(record(model, prompts), prompts))
    return _shift(logit_difference(model, prompts), after, prompts)


def _other_side(seen: Mapping[str, Tensor], prompts: Prompts) -> dict[str, Tensor]:
    return {site: x.roll(prompts.n_pairs, 0) for site, x in seen.items()}


def _shift(before: Float[Tensor, " P"], after: Float[Tensor, "V P"], prompts: Prompts) -> Float[Tensor, "V P"]:
    """How far every prompt's difference moves towards the other side's, over the mean distance between the sides."""
    n = prompts.n_pairs
    way = float((before[:n] - before[n:]).mean())
    return (before - after) * prompts.sign / way if way else torch.zeros_like(after)


def _judge(nodes: list[PatchEffect], pairs: list[PatchEffect], carried: float, n_pairs: int) -> Interchange:
    matter = [e for e in nodes if max(abs(e.circuit), abs(e.model)) >= MATTERS]
    signs = sum(e.circuit * e.model > 0 for e in matter) / len(matter) if matter else None
    linear, error = _correlation_of(matter), _error(matter)
    agree = bool(matter) and (signs or 0.0) >= SAME_SIGN and error is not None and error <= ERROR
    return Interchange(
        passed=agree and (linear is None or linear >= CORRELATION) and carried >= CARRIED,
        threshold=THRESHOLD,
        sentence=_sentence(len(nodes), len(matter), signs, linear, error, carried),
        nodes=sorted(nodes, key=lambda e: -max(abs(e.circuit), abs(e.model))),
        pairs=sorted(pairs, key=lambda e: -max(abs(e.circuit), abs(e.model))),
        n_matter=len(matter),
        same_sign=signs,
        correlation=linear,
        error=error,
        pairs_error=_error([e for e in pairs if max(abs(e.circuit), abs(e.model)) >= MATTERS]),
        carried=carried,
        n_pairs=n_pairs,
    )


def _error(effects: Sequence[PatchEffect]) -> float | None:
    return normalised_error([e.circuit for e in effects], [e.model for e in effects])


def _correlation_of(effects: Sequence[PatchEffect]) -> float | None:
    return correlation(torch.tensor([e.circuit for e in effects]), torch.tensor([e.model for e in effects]), SPREAD)


def _sentence(
    n_nodes: int, n_matter: int, signs: float | None, linear: float | None, error: float | None, carried: float
) -> str:
    together = f"all nodes patched together carry {percent(carried)} of the way in the whole model"
    if signs is None:
        return f"None of {n_nodes} patched nodes moves the answer, in the circuit or in the model; {together}."
    words = [f"same sign for {percent(signs)}"]
    if linear is not None:
        words.append(f"correlation {linear:.2f}")
    words.append("no effect in the model to compare with" if error is None else f"error {error:.2f}")
    return (
        f"Of {n_nodes} nodes patched from the other side {n_matter} matter; circuit and model agree on these: "
        f"{', '.join(words)}; {together}."
    )
