"""Controls: the same pruning where there is nothing to find.

Source: Drori 2026: pruned circuits reach low losses on nonsense tasks and in models with random weights. How small such
circuits are is the scale for the real one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from thinwire.circuits.prompts import Prompts, logit_difference, task_accuracy
from thinwire.model.gpt import GPT
from thinwire.progress import Progress, silent
from thinwire.storage.records import Count, Loss, Share
from thinwire.tasks.tokens import TaskTokens
from thinwire.verification.budget import Budget
from thinwire.verification.claim import Claim
from thinwire.verification.finding import Finding
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import percent
from thinwire.verification.pruner import Pruner, SplitPairs
from thinwire.verification.subject import Subject

FACTOR = 2.0
THRESHOLD = f"no control is solved by a circuit with less than {FACTOR:g} times the real one's number of nodes"


@dataclass(frozen=True)
class ControlCircuit:
    """What the pruning found in one control."""

    solved: bool
    loss: Loss
    """On the control's own test pairs, nats."""
    n_nodes: Count
    n_edges: Count
    model_accuracy: Share
    """Of the control's whole model on its test prompts. A circuit of a task that the whole model does not do is never
    supported, let alone faithful."""


@dataclass(frozen=True, kw_only=True)
class Controls(Finding):
    circuit_nodes: Count
    circuit_edges: Count
    controls: dict[str, ControlCircuit]
    """`permuted`, `unrelated`, `random`, `shuffled`."""


def controls(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Controls:
    """Prune the four controls. Which pairs are swapped, the answers and the weights are drawn with `seed`.

    Raises `NotRun` when there is no pruning or the budget has none.
    """
    model, claim = subject.model, subject.claim
    pruner, pairs = material.pruning(budget.controls)
    worlds = {
        "permuted": lambda: (model, permuted(pairs, seed)),
        "unrelated": lambda: (model, unrelated(pairs, model.config.vocab_size, seed)),
        "random": lambda: (redrawn(model, seed, random_like), pairs),
        "shuffled": lambda: (redrawn(model, seed, shuffled_like), pairs),
    }
    found = {}
    with progress(f"controls {claim.task}", total=len(worlds), unit="control") as advance:
        for name, world in worlds.items():
            found[name] = _control(*world(), pruner, seed)
            advance(1)
    small = [name for name, c in found.items() if c.solved and c.n_nodes < FACTOR * claim.n_nodes]
    return Controls(
        passed=not small,
        threshold=THRESHOLD,
        sentence=_sentence(claim, found),
        n_pairs=len(pairs["test"]),
        circuit_nodes=claim.n_nodes,
        circuit_edges=len(claim.edges),
        controls=found,
    )


def _control(model: GPT, pairs: SplitPairs, pruner: Pruner, seed: int) -> ControlCircuit:
    pruned, prompts = pruner(model, pairs, seed, {}), Prompts.of(pairs["test"], model.device)
    with torch.no_grad():
        accuracy = task_accuracy(logit_difference(model, prompts), prompts.sign)
    return ControlCircuit(pruned.solved, pruned.loss, pruned.n_nodes, pruned.n_edges, accuracy)


def permuted(pairs: SplitPairs, seed: int) -> SplitPairs:
    """The sides of a random half of the pairs swapped: which answer is right follows no rule."""
    random = np.random.default_rng(seed)

    def swap(tokens: TaskTokens) -> TaskTokens:
        wrong = np.zeros(len(tokens), dtype=bool)
        wrong[random.permutation(len(tokens))[: len(tokens) // 2]] = True
        rows, lengths = (tokens.clean, tokens.corrupt), (tokens.clean_length, tokens.corrupt_length)
        return replace(
            tokens,
            clean=np.where(wrong[:, None], rows[1], rows[0]),
            corrupt=np.where(wrong[:, None], rows[0], rows[1]),
            clean_length=np.where(wrong, lengths[1], lengths[0]),
            corrupt_length=np.where(wrong, lengths[0], lengths[1]),
        )

    return {split: swap(tokens) for split, tokens in pairs.items()}


def unrelated(pairs: SplitPairs, vocab_size: int, seed: int) -> SplitPairs:
    """Two other tokens as answers, drawn at random among those that occur in no prompt, as far as there are two."""
    used = {
        int(token) for tokens in pairs.values() for side in (tokens.clean, tokens.corrupt) for token in np.unique(side)
    }
    answers = {token for tokens in pairs.values() for token in (tokens.answer, tokens.other)}
    free = sorted(set(range(vocab_size)) - used - answers)
    free = free if len(free) > 1 else sorted(set(range(vocab_size)) - answers)
    first, second = (free[i] for i in np.random.default_rng(seed).permutation(len(free))[:2])
    texts = (f"token {first}", f"token {second}")
    return {split: replace(t, answer=first, other=second, answer_texts=texts) for split, t in pairs.items()}


Redraw = Callable[[Tensor, torch.Generator], Tensor]


def redrawn(model: GPT, seed: int, redraw: Redraw) -> GPT:
    """A model of the same shape in which every tensor but the norm gains is redrawn."""
    generator = torch.Generator().manual_seed(seed)
    new = GPT(model.config).to(model.device).requires_grad_(False).eval()
    weights = {
        name: value if name.endswith("gain") else redraw(value.cpu(), generator).to(value)
        for name, value in model.state_dict().items()
    }
    new.load_state_dict(weights)
    return new


def random_like(value: Tensor, generator: torch.Generator) -> Tensor:
    """As many nonzeros, at random places, normal with the root-mean-square of the old ones."""
    nonzero = value[value != 0]
    new = torch.zeros(value.numel())
    places = torch.randperm(value.numel(), generator=generator)[: len(nonzero)]
    scale = float(nonzero.square().mean().sqrt()) if len(nonzero) else 0.0
    new[places] = scale * torch.randn(len(nonzero), generator=generator)
    return new.reshape(value.shape)


def shuffled_like(value: Tensor, generator: torch.Generator) -> Tensor:
    """The same entries in random order."""
    return value.flatten()[torch.randperm(value.numel(), generator=generator)].reshape(value.shape)


def _sentence(claim: Claim, found: dict[str, ControlCircuit]) -> str:
    parts = [
        f"{name}: {f'{c.n_nodes} nodes' if c.solved else 'not solved'} (loss {c.loss:.3f})" for name, c in found.items()
    ]
    right = max(c.model_accuracy for c in found.values())
    return (
        f"The circuit has {claim.n_nodes} nodes. The same pruning where nothing is to be found: {', '.join(parts)}. "
        f"The whole models there are right on at most {percent(right)} of the prompts."
    )
