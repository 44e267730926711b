"""Search for a task's pruning settings: the fewest edges that meet the target on validation pairs.

Optuna's TPE sampler proposes, a journal file remembers. Several processes, on one machine or on many that share the
file, can work on one study; a worker that is killed loses its own trial and no other. Test pairs are never read.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thinwire.errors import MissingExtra
from thinwire.pruning.config import PruneConfig

SPACE: dict[str, tuple[float, float]] = {"k_coef": (1e-5, 1e-2), "learning_rate": (3e-3, 1e-1)}
"""Bounds of the settings that are searched on a logarithmic scale."""
STEPS = (20, 320)
UNSOLVED = 1e9
"""Added to the loss of a circuit that misses the target, so that every solved one is better."""


@dataclass(frozen=True)
class Size:
    """What a trial is judged by."""

    solved: bool
    n_edges: int
    loss: float
    """Validation loss, nats."""

    @property
    def value(self) -> float:
        return float(self.n_edges) if self.solved else UNSOLVED + self.loss


def search(
    journal: Path, name: str, n_trials: int, base: PruneConfig, measure: Callable[[PruneConfig], Size]
) -> PruneConfig:
    """The best settings of the study `name` once it holds `n_trials` finished trials.

    Trials that other processes finish count too. The settings of `base` are the first trial of a new study; seed and
    everything outside `SPACE` and `steps` stay as they are there. Raises `UserError` when Optuna is not installed.
    """
    optuna = _optuna()
    journal.parent.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    study = optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name=name, load_if_exists=True)
    # A process that joins later, or goes on with a study, draws other proposals than the ones there.
    seed = base.seed + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=8)
    if not study.trials:
        study.enqueue_trial({"steps": base.steps, **{key: getattr(base, key) for key in SPACE}})

    def objective(trial: Any) -> float:
        size = measure(_proposed(trial, base))
        for key, value in vars(size).items():
            trial.set_user_attr(key, value)
        return size.value

    finished = (optuna.trial.TrialState.COMPLETE,)
    while len(study.get_trials(deepcopy=False, states=finished)) < n_trials:
        study.optimize(objective, n_trials=1)
    return replace(base, **study.best_params)


def _proposed(trial: Any, base: PruneConfig) -> PruneConfig:
    values = {key: trial.suggest_float(key, low, high, log=True) for key, (low, high) in SPACE.items()}
    return replace(base, steps=trial.suggest_int("steps", *STEPS, log=True), **values)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise MissingExtra("the search needs Optuna", "search", "optuna") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
