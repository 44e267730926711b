"""Simplicity of nodes: can a node be read as a switch?

Each node's activation is replaced by its best two-valued step function: below a threshold one value, above it another,
fitted by least squares on other pairs inside the circuit. Source: Gao et al. 2025, section 4 (binarised nodes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.patching import record, token_rows
from thinwire.circuits.prompts import task_loss
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Hook, compose
from thinwire.model.nodes import Nodes, list_nodes
from thinwire.model.sites import node_key
from thinwire.progress import Progress, silent
from thinwire.storage.records import Count, Loss, Number, Share
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import percent
from thinwire.verification.subject import Subject
from thinwire.verification.variants import (
    accuracies,
    differences,
    losses,
    sample,
    single,
    stack_nodes,
)

RISE = 0.1
"""A node is binary if the loss rises by at most this share of the target when it alone is replaced."""
SHARE = 0.5
THRESHOLD = f"at least {percent(SHARE)} of the nodes are binary"


@dataclass(frozen=True)
class StepFunction:
    """Activations below `threshold` become `low`, the others `high`."""

    threshold: Number
    low: Number
    high: Number


@dataclass(frozen=True)
class NodeStep:
    name: str
    step: StepFunction
    loss: Loss
    """Loss of the circuit with this node alone replaced, nats."""
    binary: bool


@dataclass(frozen=True, kw_only=True)
class Simplicity(Finding):
    circuit_loss: Loss
    nodes: list[NodeStep]
    n_binary: Count
    n_looked_at: Count
    all_loss: Loss
    """Loss with every node of the circuit replaced at once."""
    all_accuracy: Share


Steps = dict[str, dict[int, StepFunction]]


@torch.no_grad()
def simplicity(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Simplicity:
    """Steps are fitted on other pairs, losses measured on test pairs."""
    claim, model = subject.claim, subject.model
    alone = subject.alone(material.test_pairs(budget.survey_pairs))
    steps = fit_steps(alone.on(material.search_pairs(budget.search_pairs)))
    chosen = sample(list_nodes(claim.nodes), budget.nodes, seed)
    loss = float(task_loss(alone.difference(), alone.prompts.sign))
    variants = [*single(chosen), claim.nodes]
    found = differences(
        model,
        alone.prompts,
        len(variants),
        lambda part: compose(alone.hook, step_each(model, variants[part], steps)),
        alone.edges,
    )
    limit = loss + RISE * claim.target_loss
    *one_by_one, all_loss = losses(found, alone.prompts)
    nodes = [
        NodeStep(node_key(site, c), steps[site][c], stepped, stepped <= limit)
        for (site, c), stepped in zip(chosen, one_by_one, strict=True)
    ]
    n_binary = sum(node.binary for node in nodes)
    return Simplicity(
        passed=n_binary >= SHARE * len(nodes) if nodes else None,
        threshold=THRESHOLD,
        sentence=f"{n_binary} of {len(nodes)} nodes can be replaced by a switch one at a time; with all of them "
        f"switches the circuit's loss goes from {loss:.3f} to {all_loss:.3f}.",
        n_pairs=alone.prompts.n_pairs,
        circuit_loss=loss,
        nodes=sorted(nodes, key=lambda node: -node.loss),
        n_binary=n_binary,
        n_looked_at=len(nodes),
        all_loss=all_loss,
        all_accuracy=accuracies(found[-1:], alone.prompts)[0],
    )


def fit_steps(alone: IsolatedCircuit) -> Steps:
    """Best step of every node over all tokens of the prompts (`final`: their last tokens), inside the circuit."""
    seen, _ = record(alone.model, alone.prompts, alone.hook, alone.edges)
    rows = token_rows(seen, alone.prompts)
    return {
        site: {channel: best_step(rows[site][:, channel]) for channel in channels}
        for site, channels in alone.nodes.items()
    }


def best_step(x: Float[Tensor, " n"]) -> StepFunction:
    """The two-valued step function of `x` with the smallest squared error. All values equal: that value twice."""
    ordered = x.double().sort().values
    n = len(ordered)
    sums = ordered.cumsum(0)
    below = torch.arange(1, n, dtype=torch.float64, device=x.device)
    left, right = sums[:-1], sums[-1] - sums[:-1]
    explained = left.square() / below + right.square() / (n - below)
    explained = torch.where(ordered[1:] > ordered[:-1], explained, -torch.inf)
    if n < 2 or not bool(torch.isfinite(explained).any()):
        value = float(ordered.mean())
        return StepFunction(value, value, value)
    cut = int(explained.argmax())
    threshold = float(ordered[cut] + ordered[cut + 1]) / 2
    return StepFunction(threshold, float(left[cut] / below[cut]), float(right[cut] / (n - below[cut])))


def step_each(model: GPT, variants: Sequence[Nodes], steps: Steps) -> Hook:
    """Each variant's nodes pass through their steps."""
    masks = stack_nodes(model, variants)
    tables = {site: _table(steps[site], mask) for site, mask in masks.items()}

    def hook(site: str, x: Tensor) -> Tensor:
        if site not in masks:
            return x
        mask, (threshold, low, high) = masks[site], tables[site]
        shaped = x.unflatten(0, (len(mask), -1))
        stepped = torch.where(shaped < threshold, low, high)
        return torch.where(mask.reshape(len(mask), *[1] * (shaped.ndim - 2), -1), stepped, shaped).flatten(0, 1)

    return hook


def _table(steps: dict[int, StepFunction], mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(threshold, low, high), one value per channel."""
    rows = torch.zeros(3, mask.shape[1])
    for channel, step in steps.items():
        rows[:, channel] = torch.tensor([step.threshold, step.low, step.high])
    threshold, low, high = rows.to(mask.device)
    return threshold, low, high
