"""PruneConfig: data only, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from thinwire.circuits.graph import Ablation
from thinwire.errors import UserError
from thinwire.pruning.requirement import REQUIREMENTS, Requirement
from thinwire.ranges import SEED, check
from thinwire.storage.files import sha256, to_json

LATER = ("require", "terms", "starts", "scope")
"""Settings that came after circuits had been stored."""


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
    ablation: Ablation = "mean"
    """What a removed node's activation becomes: its mean over held-out text, or over the task's train prompts, or 0."""
    norm_scales: Literal["own", "whole"] = "own"
    """RMSNorm scales inside the circuit: its own, or held at the whole model's."""
    sweep: Literal["none", "nodes", "edges"] = "edges"
    """What is taken out one by one after the bisection: nothing, nodes, or nodes and then edges."""
    means_tokens: int = 1 << 17
    """Held-out tokens behind the means."""
    require: Requirement = "sufficient"
    """What is asked of the circuit: sufficient, it alone does the task; robust, and does so whatever the rest of the
    model says; faithful, and its nodes do in it what they do in the model (docs/pruning.md)."""
    terms: tuple[str, ...] = ()
    """Terms to ask for in place of the requirement's, each a name or name=weight."""
    starts: int = 1
    """Starts of the sweep of nodes, which share one budget, the smallest wins: 1, the learned gates; 2, and gates with
    another seed; 3, and integrated gradients; 4, and weight magnitude."""
    scope: tuple[str, ...] = ()
    """Kinds of shifted prompts (`thinwire tasks show TASK`) that the circuit shall cover: they join the train and
    validation pairs, and `verify` judges it on shifted test pairs too."""
    seed: int = 0
    """Seed of the gates' initialisation and of the order of the pairs."""

    def __post_init__(self) -> None:
        check(
            self,
            target_loss="(0, 100]; the default is 0.15",
            k_coef="[0, 1e6]",
            steps="[1, 1e6]",
            learning_rate="(0, 10]; the default is 0.01",
            warmup_frac="[0, 1]",
            weight_decay="[0, 100]",
            batch_pairs="[1, 1e6]",
            means_tokens="[1, 1e12]",
            starts="[1, 4]",
            seed=SEED,
        )

    def settings_hash(self) -> str:
        """Short hash of everything but the seed; names a folder of circuits that differ in the seed alone."""
        return sha256(to_json(self.hyperparameters()).encode())[:12]

    def hyperparameters(self) -> dict[str, Any]:
        """All settings but the seed. Those of `LATER` count where they differ from their defaults: circuits that were
        found before there were any keep their name."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "seed"}
        told = {name: v for name, v in values.items() if name not in LATER or v != getattr(PruneConfig, name)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in told.items()}

    @classmethod
    def of(cls, hyperparameters: Mapping[str, Any], seed: int = 0) -> "PruneConfig":
        """Inverse of `hyperparameters`. Raises `UserError` for settings that this version does not know."""
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in hyperparameters.items()}
        if unknown := values.keys() - {f.name for f in fields(cls)}:
            raise UserError(f"unknown settings of the pruning: {', '.join(sorted(unknown))}")
        return cls(**values, seed=seed)

    @property
    def asked(self) -> tuple[str, ...]:
        """The terms that the circuit has to meet, each a name or name=weight."""
        return self.terms or REQUIREMENTS[self.require]

    @property
    def requirement(self) -> str:
        """Name of what is asked for."""
        return "+".join(self.terms) or self.require
