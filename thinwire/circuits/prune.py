"""Pruning: the fewest nodes with which the frozen model still reaches the target loss.

Source: Gao et al. 2025, section 2.3 and appendix "Pruning":

    1. one gate per node; shut gates put the node's mean in its place            circuits.mask
    2. minimise task loss + k_coef x (open gates) on train pairs                 learn_gates
    3. order nodes by tau, bisect their number on validation pairs               circuits.discretize
    4. fit scale and shift of the answer logits on validation pairs              circuits.calibrate
    5. count edges; read the test pairs, once                                    describe
"""

import platform
from dataclasses import dataclass

import torch
from torch import Tensor

import thinwire
from thinwire.circuits.ablation import Means, Nodes, keep_only
from thinwire.circuits.calibrate import calibrate
from thinwire.circuits.config import PruneConfig
from thinwire.circuits.discretize import Bisection, bisect
from thinwire.circuits.edges import (
    count_biases,
    count_embed_edges,
    count_residual_links,
    count_unembed_edges,
    induced_edges,
)
from thinwire.circuits.graph import Circuit, Score
from thinwire.circuits.mask import NodeGates
from thinwire.circuits.prompts import Prompts, answer_difference, task_loss
from thinwire.circuits.score import difference_of, last_logits, score
from thinwire.model.gpt import GPT
from thinwire.progress import Progress, silent
from thinwire.tasks.task import SPLITS, Split
from thinwire.tasks.tokens import TaskTokens

BETAS = (0.9, 0.95)

Logits = dict[Split, Tensor]


@dataclass(frozen=True)
class Identity:
    """What a circuit belongs to."""

    task: str
    task_version: int
    model_fingerprint: str
    tokenizer_sha256: str


def learn_gates(
    model: GPT,
    train: Prompts,
    means: Means,
    config: PruneConfig,
    title: str = "prune",
    progress: Progress = silent,
    forbidden: Nodes | None = None,
) -> NodeGates:
    """Learn one gate per node on train pairs, those of `forbidden` nodes left out; the model stays as it is."""
    generator = torch.Generator().manual_seed(config.seed)
    gates = NodeGates(means, generator, forbidden)
    adamw = torch.optim.AdamW([gates.tau], lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay)
    warmup = max(1, round(config.warmup_frac * config.steps))
    order = torch.empty(0, dtype=torch.long)
    with progress(title, total=config.steps, unit="step") as advance:
        for step in range(config.steps):
            if len(order) < min(config.batch_pairs, train.n_pairs):
                order = torch.cat([order, torch.randperm(train.n_pairs, generator=generator)])
            rows, order = order[: config.batch_pairs], order[config.batch_pairs :]
            batch = train.pairs(rows.to(train.tokens.device))
            is_open = gates.open()
            loss = task_loss(answer_difference(model, batch, gates.tap(is_open)), batch.sign)
            (gradient,) = torch.autograd.grad(loss + config.k_coef * is_open.sum(), gates.tau)
            gates.tau.grad = gradient / gradient.square().mean().sqrt().clamp(min=1.0)
            rate = min((step + 1) / warmup, (config.steps - step) / max(1, config.steps - warmup))
            adamw.param_groups[0]["lr"] = config.learning_rate * rate
            adamw.step()
            gates.clamp_()
            advance(1, loss=float(loss.detach()), nodes=int(is_open.detach().sum()))
    return gates


@torch.no_grad()
def choose_nodes(
    model: GPT, gates: NodeGates, validation: Prompts, means: Means, target: float
) -> tuple[dict[str, list[int]], Bisection]:
    """The smallest set of nodes, in the order of tau, that reaches `target` on validation pairs."""
    order = torch.sort(gates.tau, descending=True, stable=True).indices
    order = order[~gates.forbidden[order]]

    def loss_at(count: int) -> float:
        tap = keep_only(model, gates.nodes(order[:count]), means)
        return float(task_loss(answer_difference(model, validation, tap), validation.sign))

    found = bisect(loss_at, int((gates.tau >= 0).sum()), len(order), target)
    return gates.nodes(order[: found.n_nodes]), found


@torch.no_grad()
def describe(
    model: GPT,
    nodes: Nodes,
    found: Bisection,
    pairs: dict[Split, TaskTokens],
    means: Means,
    config: PruneConfig,
    identity: Identity,
) -> Circuit:
    """Calibrate on validation, count edges, score every split. This is where the test pairs are read."""
    device = next(model.parameters()).device
    prompts: dict[Split, Prompts] = {split: Prompts.of(pairs[split], device) for split in SPLITS}
    tap = keep_only(model, nodes, means)
    whole: Logits = {split: last_logits(model, p) for split, p in prompts.items()}
    kept: Logits = {split: last_logits(model, p, tap) for split, p in prompts.items()}
    validation = prompts["validation"]
    calibration = calibrate(difference_of(kept["validation"], validation), validation.sign)
    answers = (validation.answer, validation.other)
    seen = torch.cat([p.tokens.flatten() for p in prompts.values()])

    def scores(of: Logits, calibrated: bool = False) -> dict[str, Score]:
        return {s: score(of[s], whole[s], prompts[s], calibration if calibrated else None) for s in SPLITS}

    return Circuit(
        status="solved" if found.solved else "not_solved",
        task=identity.task,
        task_version=identity.task_version,
        model_fingerprint=identity.model_fingerprint,
        tokenizer_sha256=identity.tokenizer_sha256,
        answer_tokens=answers,
        answer_texts=pairs["validation"].answer_texts,
        target_loss=config.target_loss,
        nodes={site: list(channels) for site, channels in nodes.items()},
        edges=induced_edges(model, nodes),
        minimal_edges=None,
        embed_edges=count_embed_edges(model, nodes, seen),
        unembed_edges=count_unembed_edges(model, nodes, answers),
        n_biases=count_biases(model, nodes),
        residual_links=count_residual_links(nodes, model.config.n_layer),
        scores=scores(kept),
        calibrated_scores=scores(kept, calibrated=True),
        model_scores=scores(whole),
        calibration=calibration,
        ablation=config.ablation,
        loss_curve=found.curve,
        seed=config.seed,
        hyperparameters=config.hyperparameters(),
        versions={"thinwire": thinwire.__version__, "torch": torch.__version__, "python": platform.python_version()},
    )


def prune(
    model: GPT,
    pairs: dict[Split, TaskTokens],
    means: Means,
    config: PruneConfig,
    identity: Identity,
    progress: Progress = silent,
    forbidden: Nodes | None = None,
) -> Circuit:
    """Find the circuit of one task. `forbidden` nodes never become part of it.

    `pairs` holds the three splits: gates learn on train, the count and the calibration come from validation,
    test is read once for the report. A target that cannot be met gives a circuit of status `not_solved`.
    """
    device = next(model.parameters()).device
    train, validation = (Prompts.of(pairs[split], device) for split in ("train", "validation"))
    gates = learn_gates(model, train, means, config, f"prune {identity.task}", progress, forbidden)
    nodes, found = choose_nodes(model, gates, validation, means, config.target_loss)
    return describe(model, nodes, found, pairs, means, config, identity)
