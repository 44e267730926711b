"""Capability against circuit size: train or reuse a family of models, prune every task, compare at equal held-out loss.

out/models/NAME    the members of the family, run directories; circuits lie in them, and in the runs that are reused
out/frontier.json  models, circuits, ratios
out/frontier.svg  out/tasks.svg  out/ratios.svg, where matplotlib is installed

Every step is kept as it is done: the same call, made again, goes on where it was stopped.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from thinwire.circuits.artefact import load_circuit
from thinwire.errors import UserError
from thinwire.frontier.compare import SWEEPS, cell
from thinwire.frontier.curve import FullTable, Ratio, full_table, pareto, ratio, sizes
from thinwire.frontier.points import CircuitPoint, ModelPoint, kind_of
from thinwire.model.structure import count_parameters
from thinwire.progress import Progress, silent
from thinwire.pruning.config import PruneConfig
from thinwire.ranges import check_range
from thinwire.runs.jobs import local_pool, run_jobs
from thinwire.runs.run import Run, load_run, take_threads
from thinwire.runs.verdicts import stored_verification
from thinwire.storage.files import MANIFEST, add_sealed, is_sealed, seal, sha256, to_json
from thinwire.tasks.registry import all_tasks, resolve_task
from thinwire.training.families import Member
from thinwire.workflows.frontier_figures import draw_frontier
from thinwire.workflows.prune import circuit_directory, means_of, prune_settings, rungs
from thinwire.workflows.report import verified
from thinwire.workflows.tasks import check_task
from thinwire.workflows.train import TimedPlan, dry_run, resolve, timed_dry_run, train

FRONTIER_FILE = "frontier.json"
RULE = (
    "A task enters where the sparse model does it on test pairs, and so do a dense model of a held-out loss as low and "
    "one of a loss as high, each with circuits that met what was asked on validation pairs. The dense size at the "
    "sparse model's loss lies on the straight line between the nearest two, in the logarithm of edges. Nothing is "
    "extrapolated."
)


@dataclass(frozen=True)
class Frontier:
    """What `thinwire frontier` prints, and frontier.json holds."""

    rule: str
    requirements: tuple[str, ...]
    models: tuple[ModelPoint, ...]
    circuits: tuple[CircuitPoint, ...]
    tables: Mapping[str, FullTable]
    """Requirement -> the fullest table of models and tasks; induced edges after the sweep of nodes."""
    fronts: Mapping[str, tuple[str, ...]]
    """Requirement -> models of that table that no other beats in both loss and size."""
    ratios: tuple[Ratio, ...]
    """Every group of sparse models, requirement and way of counting edges that the sweeps allow."""
    figures: tuple[str, ...]


@dataclass(frozen=True)
class MemberPlan:
    """One training of a family, before it starts."""

    name: str
    parameters: int
    nonzero: int
    memory_bytes: int
    seconds: float | None
    """On this machine; None where it was not probed, or would not fit in memory."""


@dataclass(frozen=True)
class FamilyPlan:
    """What `thinwire frontier --dry_run` prints."""

    members: tuple[MemberPlan, ...]
    seconds: float | None
    """Of all trainings, one after the other; None where one of them was not probed."""


def plan(
    members: Sequence[Member], device: str = "auto", *, timed: bool = True, progress: Progress = silent
) -> FamilyPlan:
    """What the trainings of a family cost, steps of each being timed; no pruning. Raises `UserError` for none."""
    if not members:
        raise UserError("there is nothing to train; name a family")
    rows = []
    with progress("time steps of every model", total=len(members), unit="model") as advance:
        for member in members:
            found = timed_dry_run(member.config, device) if timed else dry_run(member.config)
            seconds = found.seconds if isinstance(found, TimedPlan) else None
            memory = sum(found.memory_bytes.values())
            rows.append(MemberPlan(member.name, found.parameters, found.nonzero, memory, seconds))
            advance(1)
    known = [row.seconds for row in rows if row.seconds is not None]
    return FamilyPlan(tuple(rows), sum(known) if len(known) == len(rows) else None)


def frontier(
    out: str | Path,
    members: Sequence[Member] = (),
    *,
    reuse: Sequence[str | Path] = (),
    tasks: Sequence[str] = (),
    config: PruneConfig | None = None,
    seeds: int = 1,
    workers: int = 1,
    device: str = "auto",
    progress: Progress = silent,
) -> Frontier:
    """Train what is missing of the family, prune all tasks on all models with the same settings, compare.

    `reuse` names runs that are trained already; they share corpus and tokenizer with the rest. `tasks` is every
    built-in task without any; a model is asked for those that it does. `config.require` brings the weaker requirements
    along. Raises `UserError` for models that cannot be compared, and where there are none.
    """
    check_range("seeds", seeds, "[1, 100]")
    check_range("workers", workers, "[1, 1024]")
    out, asked = Path(out), _asked(config or PruneConfig(), seeds)
    if not members and not reuse:
        raise UserError("no models to compare; name a family, or runs with --reuse")
    for task in tasks:
        resolve_task(task)
    reused = _reused(reuse, [member.name for member in members], device)
    _check_comparable(reused)
    with local_pool(workers) if workers > 1 else nullcontext() as pool:
        runs = _trained(out, members, device, pool, progress) | reused
        _check_comparable(runs)
        done = {name: _tasks_done(run, tasks, progress) for name, run in runs.items()}
        _prune(runs, done, asked, pool, progress)
    found = _compare(runs, done, asked, progress)
    found = replace(found, figures=tuple(map(str, draw_frontier(out, found.models, found.circuits, found.ratios))))
    add_sealed(out, FRONTIER_FILE, to_json(asdict(found)))
    return found


def _asked(config: PruneConfig, seeds: int) -> list[PruneConfig]:
    """The settings of every requirement and seed, the weakest requirement first."""
    return [replace(rung, seed=config.seed + i) for rung in rungs(config) for i in range(seeds)]


# --- models -----------------------------------------------------------------------------------------------------------


def _trained(
    out: Path, members: Sequence[Member], device: str, pool: Executor | None, progress: Progress
) -> dict[str, Run]:
    """The family's runs; what is missing is trained, one model a worker."""
    others = [name for name in ("config.yaml", "demo.json", "origin.json", "circuit.json") if is_sealed(out, name)]
    if out.exists() and any(out.iterdir()) and (others or not is_sealed(out)):
        raise UserError(f"{out} holds something else than a frontier; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    if not is_sealed(out):
        seal(out, [])
    jobs = [(out / "models" / member.name, member, device) for member in members]
    if pool is None:
        for job in jobs:
            train_member(*job, progress)
    else:
        run_jobs(pool, train_member, jobs, "train", progress)
    return {path.name: load_run(path, device) for path, _, _ in jobs}


def train_member(path: Path, member: Member, device: str, progress: Progress = silent) -> None:
    """Train, or finish, one member of a family."""
    config, resume = resolve(member.config), (path / MANIFEST).exists()
    if resume and load_run(path, device).config != config:
        raise UserError(f"{path} was made with other settings than the family's; move it away or choose another --out")
    train(config, path, resume=resume, device=device, progress=progress)


def _reused(paths: Sequence[str | Path], names: Sequence[str], device: str) -> dict[str, Run]:
    """Runs that are there, by name; `names` are taken."""
    found: dict[str, Run] = {}
    for path in paths:
        run = load_run(path, device)
        _ = run.model  # a training that was not finished is an error, and not after days
        if run.name in names or run.name in found:
            raise UserError(f"two models are called {run.name}; rename the directory of one")
        found[run.name] = run
    return found


def _check_comparable(runs: Mapping[str, Run]) -> None:
    """Losses per token can be compared on the same tokens alone. Raises `UserError` naming a model that has others."""
    if not runs:
        return
    first, *others = runs.values()
    text = sha256(first.heldout.tobytes())
    for run in others:
        if run.tokenizer.sha256 != first.tokenizer.sha256:
            raise UserError(f"{run.path} has another tokenizer than {first.path}: losses per token cannot be compared")
        if sha256(run.heldout.tobytes()) != text:
            raise UserError(f"{run.path} was held out from other text than {first.path}: losses cannot be compared")
        if run.context != first.context:
            raise UserError(f"{run.path} has a context of {run.context} and {first.path} of {first.context} tokens")


def _point(run: Run, progress: Progress) -> ModelPoint:
    config, counts = run.config, count_parameters(run.model)
    alike = replace(config, train=replace(config.train, seed=0), threads=0)
    return ModelPoint(
        name=run.name,
        kind=kind_of(config.train.density, config.model.activation_frac),
        group=sha256(repr(alike).encode())[:12],
        n_layer=config.model.n_layer,
        d_model=config.model.d_model,
        density=config.train.density,
        n_tokens=config.train.n_tokens,
        seed=config.train.seed,
        parameters=counts["parameters"],
        nonzero=counts["nonzero"],
        heldout_loss=run.heldout_loss(progress),
        path=str(run.path),
    )


# --- circuits ---------------------------------------------------------------------------------------------------------


def _tasks_done(run: Run, tasks: Sequence[str], progress: Progress) -> list[str]:
    """Tasks that the whole model does on validation pairs: circuits of others are of no interest."""
    names, done = list(tasks) or list(all_tasks()), []
    with progress(f"tasks of {run.name}", total=len(names), unit="task") as advance:
        for name in names:
            if check_task(run, name).model_does:
                done.append(name)
            advance(1)
    return done


def _prune(
    runs: Mapping[str, Run],
    done: Mapping[str, Sequence[str]],
    asked: Sequence[PruneConfig],
    pool: Executor | None,
    progress: Progress,
) -> None:
    """Find and store what is missing; the largest models first, whose circuits take longest."""
    for run in runs.values():
        means_of(run, asked[0], progress)  # measured once, read by the workers
    order = sorted(runs, key=lambda name: -count_parameters(runs[name].model)["nonzero"])
    jobs = [(str(runs[name].path), task, list(asked), runs[name].device.type) for name in order for task in done[name]]
    if pool is not None:
        run_jobs(pool, prune_task, jobs, "prune", progress)
        return
    with progress("prune", total=len(jobs), unit="task") as advance:
        for job in jobs:
            prune_task(*job)
            advance(1)


def prune_task(run_path: str, task: str, configs: Sequence[PruneConfig], device: str) -> None:
    """All circuits of one task in one model, found and stored."""
    prune_settings(take_threads(load_run(run_path, device)), task, configs, resume=True)


def _circuits(name: str, run: Run, tasks: Sequence[str], asked: Sequence[PruneConfig]) -> Iterator[CircuitPoint]:
    for task in tasks:
        for config in asked:
            path = circuit_directory(run, task, config)
            circuit = load_circuit(path).circuit
            judged = cell(circuit, verified(stored_verification(path)))
            yield CircuitPoint(name, task, config.requirement, config.seed, circuit.target_met, judged)


def _compare(
    runs: Mapping[str, Run], done: Mapping[str, Sequence[str]], asked: Sequence[PruneConfig], progress: Progress
) -> Frontier:
    models = tuple(_point(run, progress) for run in runs.values())
    circuits = tuple(point for name, run in runs.items() for point in _circuits(name, run, done[name], asked))
    requirements = tuple(dict.fromkeys(config.requirement for config in asked))
    groups = {model.group: [m for m in models if m.group == model.group] for model in models if model.kind == "sparse"}
    losses = {model.name: model.heldout_loss for model in models}
    tables = {name: full_table(models, sizes(circuits, name, "n_edges")) for name in requirements}
    fronts = {
        name: pareto({model: (losses[model], mean) for model, mean in table.means.items()})
        for name, table in tables.items()
    }
    ways = [counted for counted in SWEEPS if any(getattr(one.cell, counted) is not None for one in circuits)]
    ratios = tuple(
        ratio(group, models, circuits, name, counted)
        for name in requirements
        for counted in ways
        for group in groups.values()
    )
    return Frontier(RULE, requirements, models, circuits, tables, fronts, ratios, figures=())
