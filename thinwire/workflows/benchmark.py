"""Hold methods and verification against models whose circuits are known.

    OUT/<family>-<size>-<seed>.json    one file for each model, written when all about it is measured

Per model and method: precision, recall and AUROC of nodes and of edges, CPR and CMD (ground_truth.scores), seconds. Per
model: what `verify` says of the true circuit and of its mutations.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from thinwire.errors import UserError
from thinwire.ground_truth.families import FAMILIES, known_model
from thinwire.ground_truth.mutations import PER_KIND, mutations
from thinwire.ground_truth.results import SCHEMA_VERSION, ModelResult
from thinwire.ground_truth.sizes import SizeName
from thinwire.progress import Progress, silent
from thinwire.pruning.config import PruneConfig
from thinwire.ranges import check, check_range
from thinwire.runs.jobs import local_pool, run_jobs
from thinwire.storage.files import read_json, write_json
from thinwire.verification.budget import BudgetName
from thinwire.workflows.contenders import METHODS, all_edges
from thinwire.workflows.known_model import hold_method, judge_claim, pruning_problem

MEANS = ("precision", "recall", "auroc", "cpr", "cmd")


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

    def settings(self) -> dict[str, Any]:
        """As files hold it."""
        return {**asdict(self), "methods": list(self.methods)}


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
) -> dict[str, Any]:
    """Measure every family (by default all) in every size and seed; the result is what `--json` prints.

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
    models = [_read(out, member) for member in members]
    return {"out": str(out), "summary": summarise(models), "models": [model.to_dict() for model in models]}


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
    return (stored["schema_version"], stored["settings"]) == (SCHEMA_VERSION, config.settings())


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
        settings=config.settings(),
    )
    write_json(member.path(out), result.to_dict())


def summarise(models: Sequence[ModelResult]) -> dict[str, Any]:
    """Over all models: how often each method is exact, means, and what the verdicts say of truths and mutations."""
    rows = [row for model in models for row in model.methods]
    methods = {}
    for name in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == name]
        methods[name] = {
            "n_exact": sum(row.exact for row in own),
            "n_minimal_sufficient": sum(row.sufficient for row in own),
            "nodes": {key: fmean(getattr(row.nodes, key) for row in own) for key in MEANS},
            "edges": {key: fmean(getattr(row.edges, key) for row in own) for key in MEANS},
            "seconds": fmean(row.seconds for row in own),
        }
    said = [verdict for model in models for verdict in model.verdicts]
    truths, wrong = [v for v in said if v.claim == "truth"], [v for v in said if v.claim != "truth"]
    return {
        "n_models": len(models),
        "methods": methods,
        "verdicts": {
            "n_truths": len(truths),
            "n_truths_faithful": sum(v.right for v in truths),
            "n_mutations": len(wrong),
            "n_mutations_faithful": sum(not v.right for v in wrong),
        },
    }
