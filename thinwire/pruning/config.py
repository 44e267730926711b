"""PruneConfig: data only, no torch."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from thinwire.storage.files import sha256, to_json


@dataclass(frozen=True)
class PruneConfig:
    """How a circuit is searched for (Gao et al. 2025, section 2.3 and appendix "Pruning")."""

    target_loss: float = 0.15
    """Task loss that the circuit has to reach on validation pairs, nats."""
    k_coef: float = 1e-3
    """Price of one open gate, nats."""
    steps: int = 60
    """Optimizer steps on the gates."""
    learning_rate: float = 1e-2
    """Peak rate of AdamW; warms up, then decays linearly to 0."""
    warmup_frac: float = 0.05
    """Share of steps over which the rate warms up."""
    weight_decay: float = 1e-3
    """Decoupled decay of the gate parameters."""
    batch_pairs: int = 64
    """Pairs of prompts per step."""
    ablation: Literal["mean", "task_mean", "zero"] = "mean"
    """What a removed node's activation becomes: its mean over held-out text, or over the task's train prompts, or 0."""
    norm_scales: Literal["own", "whole"] = "own"
    """RMSNorm scales inside the circuit: its own, or held at the whole model's."""
    sweep: Literal["none", "nodes", "edges"] = "edges"
    """What is taken out one by one after the bisection: nothing, nodes, or nodes and then edges."""
    means_tokens: int = 1 << 17
    """Held-out tokens behind the means."""
    seed: int = 0
    """Seed of the gates' initialisation and of the order of the pairs."""

    def __post_init__(self) -> None:
        for name in ("target_loss", "steps", "learning_rate", "batch_pairs", "means_tokens"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} {getattr(self, name)} is not positive")
        if self.k_coef < 0:
            raise ValueError(f"k_coef {self.k_coef} is negative")

    def settings_hash(self) -> str:
        """Short hash of everything but the seed; names a folder of circuits that differ in the seed alone."""
        return sha256(to_json(self.hyperparameters()).encode())[:12]

    def hyperparameters(self) -> dict[str, Any]:
        """All settings but the seed."""
        values = asdict(self)
        del values["seed"]
        return values
