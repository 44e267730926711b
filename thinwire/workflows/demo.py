"""The whole pipeline on the standard library's own source: train, match, prune, check, compare, report.

out/sparse  out/dense       run directories
out/dense-dWIDTH-SHARE      twins that were trained and not chosen
out/demo.json               what was decided and how long it took; a demo that was stopped goes on from it
out/summary.json  out/report.html
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from thinwire.circuits.solved import MODEL_ACCURACY, MODEL_LOSS
from thinwire.errors import UserError
from thinwire.frontier.compare import Summary, nearest_twin, next_twins, smallest
from thinwire.progress import Progress, silent
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.requirement import REQUIREMENTS
from thinwire.runs.jobs import local_pool, run_jobs
from thinwire.runs.run import Run, load_run, open_run
from thinwire.storage.files import MANIFEST, add_sealed, is_sealed, read_sealed_record, record_json, seal
from thinwire.tasks.registry import all_tasks
from thinwire.training import recipes
from thinwire.training.config import RunConfig
from thinwire.training.threads import use_threads
from thinwire.viewer.contract import SIDES, Side, Stage, TaskSelection, TwinTried
from thinwire.workflows.comparison import write_comparison
from thinwire.workflows.decided import DEMO_FILE, Decided, TaskChoice
from thinwire.workflows.prune import circuit_directory, means_of, prune_settings
from thinwire.workflows.tasks import TaskCheck, check_task
from thinwire.workflows.train import Plan, dry_run, resolve, train
from thinwire.workflows.verify import verify_job

FIRST_TASK = "single_double_quote"
N_TASKS = 5
N_CLIMBED = 1
"""Tasks, the first ones, whose circuits are also asked for more: on two cores each takes some three minutes."""
TWINS = ((32, 0.25), (32, 0.35), (32, 0.5), (32, 0.7), (32, 1.0), (48, 1.0), (64, 1.0), (96, 1.0), (128, 1.0))
"""Candidates (width, share of the training tokens), in order of compute."""
FIRST_TWINS = (2, 3)
"""Positions of those that are trained first, side by side."""
K_COEFS = (3e-4, 1e-3)
"""Prices of a gate that are tried for every task and model: the search budget, the same on both sides."""
WORKERS = 2
"""Processes that train twins, prune and check side by side, one thread each: results are the same with any number."""
BUDGET = {
    "train sparse": 310,
    "train dense": 50,
    "choose tasks": 15,
    "prune": 150,
    "check": 70,
    "ladder": 240,
    "report": 5,
}
"""Seconds on two cores, with `N_TASKS` tasks. Tokenising is part of the first stage."""
SELECTION_RULE = (
    f"A model does a task when it is right on at least {MODEL_ACCURACY:.0%} of its validation prompts, at "
    f"a task loss of at most {MODEL_LOSS:g}. "
    f"{FIRST_TASK} comes first, then the tasks that the sparse model does, by its loss, up to {N_TASKS} in all. "
    f"The choice is made before any pruning and does not look at the dense model."
)
COMMAND = "make demo"

K = TypeVar("K")


@dataclass(frozen=True, kw_only=True)
class DemoResult(Summary):
    """What `thinwire demo` prints: summary.json, where the report is, and how long each stage took."""

    report: str
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class DemoPlan:
    """What `thinwire demo --dry-run` prints."""

    budget_seconds: Mapping[str, int]
    """Stage -> seconds."""
    sparse: Plan
    dense: Mapping[str, Plan]
    """Width of a candidate for the twin -> its training, on all tokens."""
    first_task: str
    n_tasks: int
    k_coefs: tuple[float, ...]


class Journal:
    """demo.json: decisions and seconds, written after every step."""

    def __init__(self, out: Path, seed: int) -> None:
        self.out = out
        if is_sealed(out, DEMO_FILE):
            self.decided = read_sealed_record(Decided, out, DEMO_FILE)
            if self.decided.seed != seed:
                raise UserError(f"{out} holds a demo with seed {self.decided.seed}; choose another --out")
            return
        if out.exists() and [p for p in out.iterdir() if p.name != MANIFEST and not p.name.startswith(f".{MANIFEST}")]:
            raise UserError(f"{out} holds something else than a demo; choose another --out")
        out.mkdir(parents=True, exist_ok=True)
        seal(out, [])
        self.decided = Decided(seed)
        self.keep(command=COMMAND, candidates=TWINS, first_candidates=FIRST_TWINS)

    def keep(self, **decisions: Any) -> None:
        """Write these fields of `Decided`, beside what is there."""
        self.decided = replace(self.decided, **decisions)
        add_sealed(self.out, DEMO_FILE, record_json(self.decided))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the block's wall time to the stage's seconds."""
        began = time.monotonic()
        try:
            yield
        finally:
            so_far = self.decided.seconds
            seconds = so_far | {name: so_far.get(name, 0.0) + time.monotonic() - began}
            self.keep(seconds=seconds, stages=_stages(seconds))


def demo(out: str | Path, *, seed: int = 0, device: str = "auto", progress: Progress = silent) -> DemoResult:
    """Run the whole pipeline into `out`, or go on with a demo of the same seed that was stopped there.

    Raises `UserError` when `out` holds something else.
    """
    with local_pool(WORKERS) if WORKERS > 1 else nullcontext() as pool:
        return _demo(Journal(Path(out), seed), device, pool, progress)


def _demo(journal: Journal, device: str, pool: Executor | None, progress: Progress) -> DemoResult:
    out, seed = journal.out, journal.decided.seed
    with journal.stage("train sparse"):
        sparse_loss = _train(journal, "sparse", recipes.demo(), device, progress)
    with journal.stage("train dense"):
        _train_twin(journal, sparse_loss, device, pool, progress)
    runs: dict[Side, Run] = {kind: load_run(out / kind, device) for kind in SIDES}
    with journal.stage("choose tasks"):
        names = _choose_tasks(journal, runs)
    with journal.stage("prune"):
        chosen = _prune(runs, names, seed, pool, progress)
        journal.keep(chosen=_inside(out, chosen))
    with journal.stage("check"):
        jobs = [(str(runs[kind].path), path, seed, device) for paths in chosen.values() for kind, path in paths.items()]
        _side_by_side(pool, verify_job, jobs, "check", progress)
    with journal.stage("ladder"):
        rungs = _climb(runs["sparse"], names[:N_CLIMBED], seed, pool, progress)
        journal.keep(ladder=_inside(out, rungs))
    with journal.stage("report"):
        summary = write_comparison(out, runs)
    return DemoResult(**vars(summary), report=str(out / "report.html"), stages=journal.decided.stages)


def _stages(seconds: Mapping[str, float]) -> tuple[Stage, ...]:
    return tuple(Stage(name, float(budget), seconds.get(name, 0.0)) for name, budget in BUDGET.items())


def _inside(out: Path, paths: Mapping[str, Mapping[K, Path]]) -> dict[str, dict[K, str]]:
    """The same paths as they are named in `out`, which may be moved."""
    return {name: {key: str(path.relative_to(out)) for key, path in own.items()} for name, own in paths.items()}


def _with_seed(config: RunConfig, seed: int) -> RunConfig:
    return replace(config, train=replace(config.train, seed=seed))


def _side_by_side(
    pool: Executor | None, function: Callable, jobs: Sequence[tuple], title: str, progress: Progress
) -> list[Any]:
    """`function(*job)` for every job, in the pool's processes; here, one by one, without a pool."""
    if pool is None:
        return [function(*job) for job in jobs]
    return run_jobs(pool, function, jobs, title, progress)


def _train(journal: Journal, name: str, config: RunConfig, device: str, progress: Progress) -> float:
    """Train, or finish, one run; returns its held-out loss."""
    return train_job(journal.out / name, resolve(_with_seed(config, journal.decided.seed)), device, progress)


def train_job(path: Path, config: RunConfig, device: str, progress: Progress = silent) -> float:
    """Train, or finish, the run at `path`; returns its held-out loss."""
    resume = (path / MANIFEST).exists()
    if resume and load_run(path, device).config != config:
        raise UserError(f"{path} was made by another version of the demo; choose another --out")
    return train(config, path, resume=resume, device=device, progress=progress).heldout_loss


def _train_twin(journal: Journal, sparse_loss: float, device: str, pool: Executor | None, progress: Progress) -> None:
    """Train dense models by the stated rule, keep the nearest in loss as out/dense."""
    out = journal.out
    if not journal.decided.twins:
        losses = _try_twins(journal, sparse_loss, device, pool, progress)
        tried = [TwinTried(*TWINS[i], loss, chosen=False) for i, loss in sorted(losses.items())]
        best = tried[nearest_twin(sparse_loss, [(twin.d_model, twin.heldout_loss) for twin in tried])]
        twins = tuple(replace(twin, chosen=twin is best) for twin in tried)
        journal.keep(twins=twins, heldout_loss={"sparse": sparse_loss, "dense": best.heldout_loss})
    name = next(_twin_name(twin.d_model, twin.tokens_frac) for twin in journal.decided.twins if twin.chosen)
    if (out / name).exists() and not (out / "dense").exists():
        os.replace(out / name, out / "dense")


def _try_twins(
    journal: Journal, sparse_loss: float, device: str, pool: Executor | None, progress: Progress
) -> Mapping[int, float]:
    """Held-out losses of the candidates that the rule has trained, by position in `TWINS`."""
    losses: dict[int, float] = {}
    while wanted := next_twins(sparse_loss, losses, len(TWINS), FIRST_TWINS):
        jobs = [(journal.out / _twin_name(*TWINS[i]), _twin(journal, *TWINS[i]), device) for i in wanted]
        found = _side_by_side(pool, train_job, jobs, f"train dense twins {_names(wanted)}", progress)
        losses |= dict(zip(wanted, found, strict=True))
    return losses


def _twin(journal: Journal, width: int, tokens_frac: float) -> RunConfig:
    """The config of one candidate; on one thread, since it shares the cores."""
    config = recipes.demo_dense(width)
    config = replace(
        config, threads=1, train=replace(config.train, n_tokens=round(tokens_frac * config.train.n_tokens))
    )
    return _with_seed(config, journal.decided.seed)


def _twin_name(width: int, tokens_frac: float) -> str:
    return f"dense-d{width}" if tokens_frac == 1 else f"dense-d{width}-{tokens_frac:.0%}".removesuffix("%")


def _names(positions: Sequence[int]) -> str:
    return " and ".join(_twin_name(*TWINS[i]).removeprefix("dense-") for i in positions)


def _choose_tasks(journal: Journal, runs: Mapping[Side, Run]) -> list[str]:
    """Fix the list of tasks by the whole models' accuracy, before any pruning."""
    if journal.decided.selection is None:
        checks = {kind: {name: check_task(run, name) for name in all_tasks()} for kind, run in runs.items()}
        done = [row for name, row in checks["sparse"].items() if row.model_does and name != FIRST_TASK]
        done.sort(key=lambda row: row.loss or 0.0)
        first = [] if checks["sparse"][FIRST_TASK].reason else [FIRST_TASK]
        names = [*first, *(row.name for row in done[: N_TASKS - len(first)])]
        if not names:
            raise UserError("no task can be pruned: the sparse model does none; another --seed may do better")
        tasks = [_selection(row, checks["dense"][name], name in names) for name, row in checks["sparse"].items()]
        journal.keep(selection=TaskChoice(SELECTION_RULE, tasks, tuple(names)))
    assert journal.decided.selection is not None
    return list(journal.decided.selection.names)


def _selection(sparse: TaskCheck, dense: TaskCheck, selected: bool) -> TaskSelection:
    return TaskSelection(
        name=sparse.name,
        solved=sparse.model_does,
        selected=selected,
        sparse_accuracy=sparse.accuracy,
        sparse_loss=sparse.loss,
        dense_accuracy=dense.accuracy,
        dense_loss=dense.loss,
        unavailable=sparse.reason,
    )


def _prune(
    runs: Mapping[Side, Run], names: list[str], seed: int, pool: Executor | None, progress: Progress
) -> dict[str, dict[Side, Path]]:
    """Prune every task at every price of a gate; keep the smallest circuit that validation calls solved."""
    settings = [PruneConfig(k_coef=k_coef, seed=seed) for k_coef in K_COEFS]
    use_threads(1)  # as the workers do, so that means have the same bytes on every machine
    for run in runs.values():
        means_of(run, settings[0], progress)  # measured here, read by the workers
    kinds = ("dense", "sparse")  # the longest jobs first
    jobs = [(runs[kind].path, name, settings, runs[kind].device.type) for kind in kinds for name in names]
    if pool is not None:
        run_jobs(pool, prune_prices, jobs, "prune", progress)
    chosen: dict[str, dict[Side, Path]] = {name: {} for name in names}
    for kind, run in runs.items():
        for name in names:
            circuits = prune_settings(run, name, settings, resume=True, progress=progress)
            chosen[name][kind] = circuit_directory(run, name, settings[smallest(circuits)])
    return chosen


def prune_prices(run_path: Path, task: str, settings: list[PruneConfig], device: str) -> None:
    """One task's circuits at every price of a gate, found and stored by another process."""
    prune_settings(open_run(run_path, device), task, settings, resume=True)


def _climb(
    run: Run, names: list[str], seed: int, pool: Executor | None, progress: Progress
) -> dict[str, dict[str, Path]]:
    """The sparse model's circuits for every requirement beyond `sufficient`, verified: what demands cost in edges."""
    asked = [PruneConfig(k_coef=K_COEFS[-1], seed=seed, require=name) for name in REQUIREMENTS if name != "sufficient"]
    jobs = [(run.path, name, [config], run.device.type) for config in reversed(asked) for name in names]
    if pool is not None:
        run_jobs(pool, prune_prices, jobs, "prune for more", progress)
    paths = {}
    for name in names:
        prune_settings(run, name, asked, resume=True, progress=progress)
        paths[name] = {str(config.require): circuit_directory(run, name, config) for config in asked}
    jobs = [(str(run.path), path, seed, run.device.type) for rungs in paths.values() for path in rungs.values()]
    _side_by_side(pool, verify_job, jobs, "check what was asked for", progress)
    return paths


def demo_plan() -> DemoPlan:
    """What `demo` would do, stage by stage; starts nothing."""
    return DemoPlan(
        budget_seconds=BUDGET,
        sparse=dry_run(recipes.demo()),
        dense={f"d_model {width}": dry_run(recipes.demo_dense(width)) for width in sorted({w for w, _ in TWINS})},
        first_task=FIRST_TASK,
        n_tasks=N_TASKS,
        k_coefs=K_COEFS,
    )
