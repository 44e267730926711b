"""Hold methods and verification against models whose circuits are known.

    OUT/<family>-<size>-<seed>.json    one file for each model, written when all about it is measured

Per model and method: precision, recall and AUROC of nodes and of edges, CPR and CMD (ground_truth.scores), seconds. Per
model: what `verify` says of the true circuit and of its mutations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from thinwire.errors import UserError
from thinwire.ground_truth.families import FAMILIES, known_model
from thinwire.ground_truth.mutations import PER_KIND, mutations
from thinwire.ground_truth.results import SCHEMA_VERSION, AgainstTruth, ModelResult
from thinwire.ground_truth.sizes import SizeName
from thinwire.progress import Progress, silent
from thinwire.pruning.config import PruneConfig
from thinwire.ranges import check, check_range
from thinwire.runs.jobs import local_pool, run_jobs
from thinwire.storage.files import read_json, write_json
from thinwire.verification.budget import BudgetName
from thinwire.workflows.contenders import METHODS, all_edges
from thinwire.workflows.known_model import hold_method, judge_claim, pruning_problem


@dataclass(frozen=True)
class BenchmarkConfig:
    """What is measured on each model."""

    methods: tuple[str, ...] = tuple(METHODS)
    """Of `contenders.METHODS`."""
    judge: bool = True
    """Whether `verify` judges the truth and its mutations."""
    n_less: int = PER_KIND
    """True nodes, and true edges, that are left out in turn."""
    budget: BudgetName = "fast"
    """Counts of samples of the verification."""
    target_loss: float = PruneConfig.target_loss
    """Task loss that a circuit has to reach, nats."""

    def __post_init__(self) -> None:
        check(self, n_less="[0, 1e6]", target_loss="(0, 100]")

    def to_dict(self) -> dict[str, Any]:
        """As files hold it."""
        return {**asdict(self), "methods": list(self.methods)}


@dataclass(frozen=True)
class Means:
    """Over models, of what is measured of nodes or of edges against the truth."""

    precision: float
    recall: float
    auroc: float
    cpr: float
    cmd: float


@dataclass(frozen=True)
class MethodSummary:
    """One method over all models."""

    n_exact: int
    n_minimal_sufficient: int
    nodes: Means
    edges: Means
    seconds: float
    """Mean."""


@dataclass(frozen=True)
class VerdictCounts:
    """What `verify` says of true circuits and of wrong ones."""

    n_truths: int
    n_truths_faithful: int
    n_mutations: int
    n_mutations_faithful: int


@dataclass(frozen=True)
class BenchmarkSummary:
    n_models: int
    methods: Mapping[str, MethodSummary]
    verdicts: VerdictCounts


@dataclass(frozen=True)
class BenchmarkResult:
    """What `thinwire benchmark` prints."""

    out: str
    summary: BenchmarkSummary
    models: tuple[ModelResult, ...]


class Member(NamedTuple):
    """One model of a family."""

    family: str
    size: SizeName
    seed: int

    def path(self, out: Path) -> Path:
        return out / f"{self.family}-{self.size}-{self.seed}.json"


def benchmark(
    out: Path,
    families: Sequence[str] = (),
    sizes: Sequence[SizeName] = ("small",),
    seeds: Sequence[int] = (0,),
    config: BenchmarkConfig | None = None,
    *,
    resume: bool = False,
    workers: int = 1,
    progress: Progress = silent,
) -> BenchmarkResult:
    """Measure every family (by default all) in every size and seed.

    With `resume` models that `out` holds, measured under the same config, are not measured again; without it `out` must
    hold none. Raises `UserError` naming an unknown family or method.
    """
    config = config or BenchmarkConfig()
    check_range("seeds", len(seeds), "[1, 1e4]")
    check_range("workers", workers, "[1, 1024]")
    _check(families, config)
    members = [Member(family, size, seed) for size in sizes for family in families or FAMILIES for seed in seeds]
    out.mkdir(parents=True, exist_ok=True)
    if not resume and any(out.glob("*.json")):
        raise UserError(f"{out} holds measurements already; go on with --resume, or name another --out")
    missing = [(out, member, config) for member in members if not _is_done(out, member, config)]
    if workers > 1:
        with local_pool(workers) as pool:
            run_jobs(pool, measure_job, missing, "benchmark", progress)
    else:
        with progress("benchmark", total=len(missing), unit="model") as advance:
            for job in missing:
                measure_job(*job, progress=progress)
                advance(1)
    models = tuple(_read(out, member) for member in members)
    return BenchmarkResult(str(out), _summary(models), models)


def _check(families: Sequence[str], config: BenchmarkConfig) -> None:
    for wanted, known, what in ((families, FAMILIES, "family"), (config.methods, METHODS, "method")):
        if unknown := [name for name in wanted if name not in known]:
            raise UserError(f"no {what} is called {unknown[0]}; there are: {', '.join(known)}")


def _read(out: Path, member: Member) -> ModelResult:
    path = member.path(out)
    return ModelResult.from_dict(read_json(path), str(path))


def _is_done(out: Path, member: Member, config: BenchmarkConfig) -> bool:
    path = member.path(out)
    if not path.exists():
        return False
    stored = read_json(path)
    return (stored["schema_version"], stored["settings"]) == (SCHEMA_VERSION, config.to_dict())


def measure_job(out: Path, member: Member, config: BenchmarkConfig, progress: Progress = silent) -> None:
    """One model, measured and stored."""
    known = known_model(*member)
    claims = {"truth": known.truth, **mutations(known, config.n_less)} if config.judge else {}
    with progress(known.name, total=len(config.methods) + len(claims), unit="step") as advance:
        problem, methods, verdicts = pruning_problem(known), [], []
        for method in config.methods:
            methods.append(hold_method(known, problem, method, config.target_loss))
            advance(1, at=method)
        for name, parts in claims.items():
            verdicts.append(judge_claim(known, name, parts, config.target_loss, config.budget))
            advance(1, at=name)
    result = ModelResult(
        **member._asdict(),
        n_nodes=known.n_nodes,
        n_edges=len(all_edges(problem)),
        n_true_nodes=len(known.truth.nodes),
        n_true_edges=len(known.truth.wires),
        methods=methods,
        verdicts=verdicts,
        settings=config.to_dict(),
    )
    write_json(member.path(out), result.to_dict())


def _summary(models: Sequence[ModelResult]) -> BenchmarkSummary:
    """Over all models: how often each method is exact, means, and what the verdicts say of truths and mutations."""
    names = dict.fromkeys(row.method for model in models for row in model.methods)
    said = [verdict for model in models for verdict in model.verdicts]
    truths, wrong = [v for v in said if v.claim == "truth"], [v for v in said if v.claim != "truth"]
    return BenchmarkSummary(
        n_models=len(models),
        methods={name: _over_models(name, models) for name in names},
        verdicts=VerdictCounts(
            n_truths=len(truths),
            n_truths_faithful=sum(v.right for v in truths),
            n_mutations=len(wrong),
            n_mutations_faithful=sum(not v.right for v in wrong),
        ),
    )


def _over_models(method: str, models: Sequence[ModelResult]) -> MethodSummary:
    rows = [row for model in models for row in model.methods if row.method == method]
    return MethodSummary(
        n_exact=sum(row.exact for row in rows),
        n_minimal_sufficient=sum(row.sufficient for row in rows),
        nodes=_means([row.nodes for row in rows]),
        edges=_means([row.edges for row in rows]),
        seconds=fmean(row.seconds for row in rows),
    )


def _means(found: Sequence[AgainstTruth]) -> Means:
    return Means(**{field.name: fmean(getattr(one, field.name) for one in found) for field in fields(Means)})
