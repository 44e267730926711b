"""Sufficiency: with everything outside the circuit at its mean, does the model still do the task?

Source: Gao et al. 2025, section 3.1. Two answer tokens alone hide degenerate circuits, so the whole
vocabulary's KL stands beside the task loss.
"""

from dataclasses import dataclass

import torch

from thinwire.circuits.ablation import Means, keep_only
from thinwire.circuits.graph import Circuit
from thinwire.circuits.prompts import Prompts
from thinwire.circuits.score import difference_of, last_logits, score
from thinwire.model.gpt import GPT


@dataclass(frozen=True)
class Sufficiency:
    loss: float
    """Task loss with only the circuit kept, nats, on test pairs, uncalibrated."""
    accuracy: float
    kl: float
    """KL(full model || circuit) over the whole vocabulary, nats."""
    model_loss: float
    model_accuracy: float
    recovered: float
    """Share of the model's logit difference between the sides of a pair that the circuit reproduces."""
    target_loss: float
    passed: bool
    """Whether `loss` is at most `target_loss`."""


@torch.no_grad()
def sufficiency(model: GPT, circuit: Circuit, means: Means, prompts: Prompts) -> Sufficiency:
    """Keep only the circuit's nodes and score what is left."""
    whole = last_logits(model, prompts)
    kept = last_logits(model, prompts, keep_only(model, circuit.nodes, means))
    of_circuit, of_model = score(kept, whole, prompts), score(whole, whole, prompts)
    effect = float((difference_of(whole, prompts) * prompts.sign).mean())
    recovered = float((difference_of(kept, prompts) * prompts.sign).mean()) / effect if effect else 0.0
    return Sufficiency(
        loss=of_circuit.loss,
        accuracy=of_circuit.accuracy,
        kl=of_circuit.kl,
        model_loss=of_model.loss,
        model_accuracy=of_model.accuracy,
        recovered=recovered,
        target_loss=circuit.target_loss,
        passed=of_circuit.loss <= circuit.target_loss,
    )
