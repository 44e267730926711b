"""Interchange interventions: does a node do in the whole model what it does in the circuit?

The two sides of a pair need opposite answers. A node's activations are replaced by those that it has on the other
side, position by position, once in the pruned circuit and once in the whole model, each with its own activations. The
effect is how far the logit difference moves to the other side's, as a share of the whole way (1: all of it).
Source: interchange interventions, Geiger et al. 2021; Drori 2026 for their use against pruned circuits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.ablation import Means, isolate
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.errors import UserError
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Hook, identity
from thinwire.model.nodes import Nodes
from thinwire.verification.claim import Claim
from thinwire.verification.finding import Finding, percent
from thinwire.verification.necessity import edge_name
from thinwire.verification.variants import differences_replacing, list_nodes, record, sample

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
class Effect:
    """One node's, or one edge's two ends', effect as a share of the whole way."""

    name: str
    circuit: float
    model: float
    prompt_correlation: float | None
    """Correlation over prompts of the shift of the difference; None where one of the two does not vary."""


@dataclass(frozen=True, kw_only=True)
class Interchange(Finding):
    nodes: list[Effect]
    """Largest effect first."""
    pairs: list[Effect]
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
    n_pairs: int


def require_aligned(prompts: Prompts, task: str) -> None:
    """Raises `UserError` naming task and pairs when two sides differ in length."""
    clean, corrupt = prompts.lengths.unflatten(0, (2, -1))
    if wrong := (clean != corrupt).nonzero().flatten().tolist():
        first = ", ".join(f"pair {row + 1} ({int(clean[row])} and {int(corrupt[row])} tokens)" for row in wrong[:3])
        raise UserError(
            f"interchange interventions need pairs whose sides have equally many tokens; of task {task} {len(wrong)} "
            f"of {prompts.n_pairs} have not: {first}; make both prompts of each pair equally long, or leave "
            f"this test out"
        )


@torch.no_grad()
def interchange(
    model: GPT,
    claim: Claim,
    means: Means,
    prompts: Prompts,
    n_nodes: int = 1 << 30,
    n_edges: int = 1 << 30,
    seed: int = 0,
) -> Interchange:
    """Patch nodes and edges one at a time, in the circuit and in the model.

    `n_nodes` and `n_edges` bound how many are patched (drawn at random beyond it). Raises `UserError` when the two
    sides of a pair have different lengths.
    """
    require_aligned(prompts, claim.task)
    keep = isolate(model, claim.nodes, means)
    nodes = sample(list_nodes(claim.nodes), n_nodes, seed)
    edges = sample(claim.edges, n_edges, seed)
    variants: list[Nodes] = [{site: [channel]} for site, channel in nodes]
    variants += [_ends(edge.source_site, edge.source, edge.target_site, edge.target) for edge in edges]
    circuit = _effects(model, prompts, variants, keep)
    whole = _effects(model, prompts, [*variants, claim.nodes])
    names = [f"{site}:{channel}" for site, channel in nodes] + [edge_name(edge) for edge in edges]
    effects = [
        Effect(name, float(c.mean()), float(m.mean()), correlation(c, m))
        for name, c, m in zip(names, circuit, whole[:-1], strict=True)
    ]
    return _judge(effects[: len(nodes)], effects[len(nodes) :], float(whole[-1].mean()), prompts.n_pairs)


def _ends(source_site: str, source: int, target_site: str, target: int) -> dict[str, list[int]]:
    return {source_site: [source], target_site: [target]}


def _effects(model: GPT, prompts: Prompts, variants: Sequence[Nodes], base: Hook = identity) -> Float[Tensor, "V P"]:
    """Shift of every prompt's difference towards the other side's, over the mean distance between the sides."""
    n = prompts.n_pairs
    seen = record(model, prompts, base)
    other_side = {site: x.roll(n, 0) for site, x in seen.items()}
    before = logit_difference(model, prompts, base)
    way = float((before[:n] - before[n:]).mean())
    after = differences_replacing(model, prompts, variants, other_side, base)
    return (before - after) * prompts.sign / way if way else torch.zeros_like(after)


def _judge(nodes: list[Effect], pairs: list[Effect], carried: float, n_pairs: int) -> Interchange:
    matter = [e for e in nodes if max(abs(e.circuit), abs(e.model)) >= MATTERS]
    signs = sum(e.circuit * e.model > 0 for e in matter) / len(matter) if matter else None
    linear, error = _correlation_of(matter), normalised_error(matter)
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
        pairs_error=normalised_error([e for e in pairs if max(abs(e.circuit), abs(e.model)) >= MATTERS]),
        carried=carried,
        n_pairs=n_pairs,
    )


def normalised_error(effects: Sequence[Effect]) -> float | None:
    """Sum of |circuit - model| over sum of |model|; None without effects in the model, where nothing can agree."""
    total = sum(abs(e.model) for e in effects)
    return sum(abs(e.circuit - e.model) for e in effects) / total if total else None


def correlation(a: Float[Tensor, " n"], b: Float[Tensor, " n"], spread: float = 1e-6) -> float | None:
    """Pearson's correlation; None where one side's standard deviation is below `spread`."""
    if len(a) < 3 or float(a.std()) < spread or float(b.std()) < spread:
        return None
    value = float(torch.corrcoef(torch.stack([a, b]).double())[0, 1])
    return value if math.isfinite(value) else None


def _correlation_of(effects: Sequence[Effect]) -> float | None:
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
