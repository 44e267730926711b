"""Simplicity of nodes: can a node be read as a switch?

Each node's activation is replaced by its best two-valued step function: below a threshold one value, above it another,
fitted by least squares on other pairs inside the circuit. Source: Gao et al. 2025, section 4 (binarised nodes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.ablation import Means, isolate
from thinwire.circuits.prompts import Prompts, logit_difference, task_accuracy, task_loss
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Hook, compose
from thinwire.model.nodes import Nodes
from thinwire.model.sites import FINAL
from thinwire.verification.claim import Claim
from thinwire.verification.finding import Finding, percent
from thinwire.verification.variants import differences, list_nodes, losses, record, sample, stack_nodes

RISE = 0.1
"""A node is binary if the loss rises by at most this share of the target when it alone is replaced."""
SHARE = 0.5
THRESHOLD = f"at least {percent(SHARE)} of the nodes are binary"


@dataclass(frozen=True)
class Step:
    """Activations below `threshold` become `low`, the others `high`."""

    threshold: float
    low: float
    high: float


@dataclass(frozen=True)
class NodeStep:
    name: str
    step: Step
    loss: float
    """Loss of the circuit with this node alone replaced, nats."""
    binary: bool


@dataclass(frozen=True, kw_only=True)
class Simplicity(Finding):
    circuit_loss: float
    nodes: list[NodeStep]
    n_binary: int
    n_looked_at: int
    all_loss: float
    """Loss with every node of the circuit replaced at once."""
    all_accuracy: float
    n_pairs: int


Steps = dict[str, dict[int, Step]]


@torch.no_grad()
def simplicity(
    model: GPT,
    claim: Claim,
    means: Means,
    prompts: Prompts,
    search: Prompts,
    n_nodes: int = 1 << 30,
    seed: int = 0,
) -> Simplicity:
    """Steps are fitted on `search`, losses measured on `prompts`. `n_nodes` bounds how many go one at a time."""
    keep = isolate(model, claim.nodes, means)
    steps = fit_steps(model, claim, search, keep)
    chosen = sample(list_nodes(claim.nodes), n_nodes, seed)
    difference = logit_difference(model, prompts, keep)
    loss = float(task_loss(difference, prompts.sign))
    variants: list[Nodes] = [{site: [channel]} for site, channel in chosen]
    found = differences(
        model, prompts, len(variants), lambda part: compose(keep, step_each(model, variants[part], steps))
    )
    limit = loss + RISE * claim.target_loss
    rows = zip(chosen, losses(found, prompts), strict=True)
    nodes = [NodeStep(f"{site}:{c}", steps[site][c], alone, alone <= limit) for (site, c), alone in rows]
    at_once = logit_difference(model, prompts, compose(keep, step_each(model, [claim.nodes], steps)))
    all_loss = float(task_loss(at_once, prompts.sign))
    n_binary = sum(node.binary for node in nodes)
    return Simplicity(
        passed=n_binary >= SHARE * len(nodes) if nodes else None,
        threshold=THRESHOLD,
        sentence=f"{n_binary} of {len(nodes)} nodes can be replaced by a switch one at a time; with all of them "
        f"switches the circuit's loss goes from {loss:.3f} to {all_loss:.3f}.",
        circuit_loss=loss,
        nodes=sorted(nodes, key=lambda node: -node.loss),
        n_binary=n_binary,
        n_looked_at=len(nodes),
        all_loss=all_loss,
        all_accuracy=task_accuracy(at_once, prompts.sign),
        n_pairs=prompts.n_pairs,
    )


def fit_steps(model: GPT, claim: Claim, prompts: Prompts, keep: Hook) -> Steps:
    """Best step of every node over all tokens of the prompts (`final`: their last tokens), inside the circuit."""
    seen = record(model, prompts, keep)
    tokens = torch.arange(prompts.tokens.shape[1], device=prompts.lengths.device) < prompts.lengths[:, None]
    return {
        site: {
            channel: best_step(seen[site][:, channel] if site == FINAL else seen[site][..., channel][tokens])
            for channel in channels
        }
        for site, channels in claim.nodes.items()
    }


def best_step(x: Float[Tensor, " n"]) -> Step:
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
        return Step(value, value, value)
    cut = int(explained.argmax())
    threshold = float(ordered[cut] + ordered[cut + 1]) / 2
    return Step(threshold, float(left[cut] / below[cut]), float(right[cut] / (n - below[cut])))


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


def _table(steps: dict[int, Step], mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(threshold, low, high), one value per channel."""
    rows = torch.zeros(3, mask.shape[1])
    for channel, step in steps.items():
        rows[:, channel] = torch.tensor([step.threshold, step.low, step.high])
    threshold, low, high = rows.to(mask.device)
    return threshold, low, high
