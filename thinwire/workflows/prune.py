"""Find the circuits of a run's model and store them in its directory."""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from thinwire.circuits.ablation import Means, node_means
from thinwire.circuits.artefact import StoredCircuit, load_circuit
from thinwire.circuits.graph import Circuit
from thinwire.circuits.stand_ins import stand_ins
from thinwire.errors import CorruptFile, UserError
from thinwire.model.gpt import GPT
from thinwire.progress import Progress, silent
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import Problem
from thinwire.pruning.prune import Identity, find
from thinwire.pruning.prune import prune_together as prune_model
from thinwire.pruning.requirement import ladder
from thinwire.pruning.search import Size, search
from thinwire.ranges import check_range
from thinwire.runs.jobs import local_pool, run_jobs
from thinwire.runs.run import open_run, opened
from thinwire.runs.store import store_circuit
from thinwire.runs.trained import Trained
from thinwire.storage.files import MANIFEST, new_directory
from thinwire.storage.tensors import read_tensors, write_tensors
from thinwire.tasks.answers import Unavailable
from thinwire.tasks.registry import all_tasks, resolve_task
from thinwire.tasks.task import Split, Task
from thinwire.tasks.tokens import TaskTokens, to_arrays, tokenize_splits, widened
from thinwire.workflows.pruned import PruneResult, prune_result

ALL = "all"
TOGETHER = 8
"""Settings that share one batched forward, at most: memory does not grow with the number of seeds beyond these."""


def circuit_directory(run: Trained, task: str, config: PruneConfig) -> Path:
    """Where the circuit of a task, settings and seed lives."""
    return run.home / "circuits" / task / config.settings_hash() / str(config.seed)


def task_pairs(run: Trained, task: str | Task, scope: Sequence[str] = ()) -> dict[Split, TaskTokens]:
    """The three splits of a task in the run's tokens, train and validation with the shifts of `scope`.

    Raises `Unavailable` when the vocabulary has no answers, and as `tokenize_shift` does.
    """
    found = resolve_task(task)
    return widened(found, tokenize_splits(found, run.tokenizer, run.context), scope, run.tokenizer, run.context)


def means_of(run: Trained, config: PruneConfig, progress: Progress = silent) -> Means:
    """Means over `config.means_tokens` of held-out text: measured once and kept in the run's directory."""
    path = run.means_directory(config.means_tokens)
    if (path / MANIFEST).exists():
        try:
            stored = read_tensors(path, "means.safetensors")
            return {site: mean.to(run.device) for site, mean in run.model.space.ordered(stored).items()}
        except CorruptFile:
            pass
    means = node_means(run.model, run.windows(config.means_tokens), progress)
    shutil.rmtree(path, ignore_errors=True)
    with new_directory(path) as directory:
        write_tensors(directory / "means.safetensors", means)
    return means


def prune(
    run: Trained | str | Path,
    task: str | Path | Task,
    config: PruneConfig | None = None,
    *,
    means: Means | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Circuit:
    """Find the circuit of `task` in the model of `run` and store it under `circuit_directory`.

    `run` is what `thinwire.load` gave, or its directory. `task` is a name (`thinwire tasks list`), a .jsonl file of own
    pairs or an object that is a `Task`. With `resume` a circuit that is stored already for this model, task (its pairs
    are compared), settings and seed is returned: these decide it, a second search would find the same. `means` (over
    text) saves reading them again for many tasks.
    A requirement brings the weaker ones along: circuits of the whole ladder are stored (see `rungs`), the one that
    `config` asks for is returned.

    Raises `UserError` for an unknown task, one whose answers are no tokens here, or a `config` that is none.
    """
    if not isinstance(config, PruneConfig | None):
        raise UserError(
            f"config is a {type(config).__name__}; give a thinwire.PruneConfig, such as PruneConfig(seed=1)"
        )
    task = str(task) if isinstance(task, Path) else task
    configs = rungs(config or PruneConfig())
    return prune_settings(opened(run), task, configs, means=means, resume=resume, progress=progress)[-1]


def rungs(config: PruneConfig) -> list[PruneConfig]:
    """The same settings for every requirement up to the one asked for, the weakest first. Terms have no ladder."""
    return [config] if config.terms else [replace(config, require=name) for name in ladder(config.require)]


def prune_settings(
    run: Trained,
    task: str | Task,
    configs: Sequence[PruneConfig],
    *,
    means: Means | None = None,
    resume: bool = False,
    together: bool | None = None,
    progress: Progress = silent,
) -> list[Circuit]:
    """`prune` for several settings of one task, which share prompts and the whole model's logits.

    Each circuit is stored when it is found; with `resume` a call that was stopped goes on after the last one.
    `together` learns the gates of settings that differ in seed and price alone in one batched forward and stores these
    circuits at once; None does so everywhere but on the CPU, whose kernels gain nothing by it.
    """
    return _find(run, task, configs, means, resume, together, progress).circuits


@dataclass(frozen=True)
class _Found:
    circuits: list[Circuit]
    void: dict[Path, str]
    """Directory -> verdict of a circuit that lay there before and was another one."""


def _find(
    run: Trained,
    task: str | Task,
    configs: Sequence[PruneConfig],
    means: Means | None,
    resume: bool,
    together: bool | None,
    progress: Progress,
) -> _Found:
    """As `prune_settings` says."""
    found, done, void = resolve_task(task), {}, {}
    paths = {config: circuit_directory(run, found.name, config) for config in configs}
    for config in configs if resume else ():
        if (stored := _stored(paths[config], run, found, config.scope)) is not None:
            done[config] = stored.circuit
    settings: dict[tuple, Problem] = {}
    batched = run.device.type != "cpu" if together is None else together
    for group in _groups([config for config in paths if config not in done], batched):
        shared = (group[0].ablation, group[0].means_tokens, group[0].norm_scales, group[0].scope)
        if shared not in settings:
            settings[shared] = _problem(run, found, group[0], means, progress)
        problem = settings[shared]
        for config, circuit in zip(group, prune_model(problem, group, progress), strict=True):
            stored = store_circuit(paths[config], circuit, problem.means, problem.pairs)
            void |= {paths[config]: stored.void} if stored.void else {}
            done[config] = stored.circuit
    return _Found([done[config] for config in configs], void)


def _groups(configs: Sequence[PruneConfig], together: bool) -> list[list[PruneConfig]]:
    """Settings that learn in one pass: up to `TOGETHER` that differ in seed and price alone, or each by itself."""
    groups: dict[PruneConfig, list[PruneConfig]] = {}
    for config in configs:
        groups.setdefault(replace(config, seed=0, k_coef=0.0) if together else config, []).append(config)
    return [group[i : i + TOGETHER] for group in groups.values() for i in range(0, len(group), TOGETHER)]


def _problem(run: Trained, task: Task, config: PruneConfig, means: Means | None, progress: Progress) -> Problem:
    pairs = task_pairs(run, task, config.scope)

    def over_text(_model: GPT) -> Means:
        return means_of(run, config, progress) if means is None else means

    standing_in = stand_ins(config.ablation, run.model, over_text, pairs["train"])
    identity = Identity(task.name, task.version, run.fingerprint, run.tokenizer.sha256)
    return Problem(run.model, pairs, standing_in, identity, config.norm_scales)


def _stored(path: Path, run: Trained, task: Task, scope: Sequence[str]) -> StoredCircuit | None:
    """The circuit at `path` if it is whole, of this model and of this task: its version and its pairs."""
    if not (path / MANIFEST).exists():
        return None
    try:
        stored = load_circuit(path)
    except CorruptFile:
        return None
    same = (stored.circuit.model_fingerprint, stored.circuit.task_version) == (run.fingerprint, task.version)
    return stored if same and _same_pairs(stored.pairs, task_pairs(run, task, scope)) else None


def _same_pairs(one: Mapping[Split, TaskTokens], other: Mapping[Split, TaskTokens]) -> bool:
    """Whether an own task, whose version nobody raised, still has the pairs that it had."""
    arrays = [(to_arrays(one[split]), to_arrays(other[split])) for split in other]
    return all(np.array_equal(a[name], b[name]) for a, b in arrays for name in b)


def prune_run(
    run_path: str | Path,
    tasks: Sequence[str],
    config: PruneConfig,
    *,
    step: int | None = None,
    seeds: int = 1,
    resume: bool = False,
    workers: int = 1,
    executor: Executor | None = None,
    n_trials: int = 0,
    together: bool | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> PruneResult:
    """Prune several tasks with `seeds` seeds each, from `config.seed` on.

    `tasks` may be `["all"]`: every built-in task whose answers are tokens here. With more than one of `workers`, or an
    `executor`, tasks run beside each other in processes that read and write the run's directory. `n_trials` searches
    each task's settings first; `together` is as in `prune_settings`. `step` takes the weights of that step of the
    training, whose circuits lie apart.
    """
    check_range("seeds", seeds, "[1, 1e4]")
    check_range("workers", workers, "[1, 1024]")
    check_range("search", n_trials, "[0, 1e5]")
    run = open_run(run_path, device, step=step)
    names, unavailable = _available(run) if list(tasks) == [ALL] else (list(tasks), {})
    means = means_of(run, config, progress)
    jobs = [(str(run.home.resolve()), name, config, seeds, resume, n_trials, device, together) for name in names]
    if executor is None and workers <= 1:
        outcomes = [
            _prune_seeds(run, name, config, seeds, resume, n_trials, together, means, progress) for name in names
        ]
    else:
        with nullcontext(executor) if executor else local_pool(workers) as pool:  # the caller closes its own
            outcomes = run_jobs(pool, prune_job, jobs, "prune", progress)
    circuits, void = {}, {}
    for name, (configs, lost) in zip(names, outcomes, strict=True):
        found = prune_settings(run, name, configs, means=means, resume=True)
        circuits |= {circuit_directory(run, c.task, s): c for c, s in zip(found, configs, strict=True)}
        void |= lost
    return prune_result(str(run.home), circuits, void, unavailable)


def prune_job(
    run_path: str,
    task: str,
    config: PruneConfig,
    seeds: int,
    resume: bool,
    n_trials: int,
    device: str,
    together: bool | None = None,
) -> tuple[list[PruneConfig], dict[Path, str]]:
    """One task's circuits, found and stored by another process; done twice it changes nothing but the second answer."""
    return _prune_seeds(open_run(run_path, device), task, config, seeds, resume, n_trials, together)


def _prune_seeds(
    run: Trained,
    task: str,
    config: PruneConfig,
    seeds: int,
    resume: bool,
    n_trials: int,
    together: bool | None,
    means: Means | None = None,
    progress: Progress = silent,
) -> tuple[list[PruneConfig], dict[Path, str]]:
    """Make one task's circuits; returns their settings: every requirement up to the one asked for, with every seed.

    And the verdicts of circuits of before, by directory, which went with these.
    """
    if n_trials:
        config = search_settings(run, task, config, n_trials, means=means)
    over_seeds = [replace(config, seed=seed) for seed in range(config.seed, config.seed + seeds)]
    configs = [rung for rungs_of_seed in zip(*map(rungs, over_seeds), strict=True) for rung in rungs_of_seed]
    return configs, _find(run, task, configs, means, resume, together, progress).void


def search_settings(
    run: Trained, task: str | Task, config: PruneConfig, n_trials: int, *, means: Means | None = None
) -> PruneConfig:
    """The settings that give the smallest circuit on validation pairs, of `n_trials` tried (see `circuits.search`).

    The study is a journal in the run's directory: other processes may work on it, and a later call goes on with it.
    """
    found = resolve_task(task)
    problem = _problem(run, found, config, means, silent)
    study = f"{found.name}-{found.version}-{run.fingerprint[:12]}-{config.settings_hash()}-{config.seed}"

    def measure(proposed: PruneConfig) -> Size:
        outcome, edges = find(problem, proposed)
        return Size(outcome.solved, len(edges), min(loss for _, loss in outcome.curve))

    return search(run.home / "search" / f"{found.name}.journal", study, n_trials, config, measure)


def _available(run: Trained) -> tuple[list[str], dict[str, str]]:
    """Built-in tasks whose answers are tokens of the run, and the reason for each of the others."""
    names, reasons = [], {}
    for name, task in all_tasks().items():
        try:
            task_pairs(run, task)
            names.append(name)
        except Unavailable as error:
            reasons[name] = str(error)
    return names, reasons
