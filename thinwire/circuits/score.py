"""Score of a model or circuit on one split of prompts."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.graph import Calibration, Score
from thinwire.circuits.prompts import Prompts, task_accuracy, task_loss
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Edges, Hook, identity


@torch.no_grad()
def last_logits(
    model: GPT, prompts: Prompts, hook: Hook = identity, edges: Edges | None = None
) -> Float[Tensor, "P V"]:
    """Logits over the whole vocabulary at the last token of every prompt."""
    return model.last_logits(prompts.tokens, prompts.lengths, hook, edges)


def difference_of(logits: Float[Tensor, "P V"], prompts: Prompts) -> Float[Tensor, " P"]:
    """logit(answer) - logit(other)."""
    return logits[:, prompts.answer] - logits[:, prompts.other]


def score(
    logits: Float[Tensor, "P V"],
    reference: Float[Tensor, "P V"],
    prompts: Prompts,
    calibration: Calibration | None = None,
) -> Score:
    """Score of `logits`; KL is taken against `reference`, the whole model's logits.

    A calibration changes loss and accuracy, which know two tokens only; the KL stays the uncalibrated one.
    """
    difference = difference_of(logits, prompts)
    if calibration is not None:
        difference = calibration.scale * difference + calibration.shift
    log_p, log_q = reference.log_softmax(-1), logits.log_softmax(-1)
    kl = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return two_way_score(difference, prompts, max(0.0, float(kl)))


def two_way_score(difference: Float[Tensor, " P"], prompts: Prompts, kl: float = 0.0) -> Score:
    """Score of a difference of the two answer logits; `kl` is 0 for the whole model itself."""
    return Score(
        loss=float(task_loss(difference, prompts.sign)),
        accuracy=task_accuracy(difference, prompts.sign),
        kl=kl,
        loss_error=standard_error(difference, prompts),
        n_pairs=prompts.n_pairs,
    )


def standard_error(difference: Float[Tensor, " P"], prompts: Prompts) -> float:
    """Of the mean task loss, with pairs as the units; 0 for a single pair."""
    by_pair = F.softplus(-prompts.sign * difference).unflatten(0, (2, -1)).mean(0)
    return float(by_pair.std()) / math.sqrt(len(by_pair)) if len(by_pair) > 1 else 0.0
