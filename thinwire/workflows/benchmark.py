"""Hold methods and verification against models whose circuits are known.

    OUT/<family>-<size>-<seed>.json    one file for each model, written when all about it is measured

Per model and method: precision, recall and AUROC of nodes and of edges, CPR and CMD (ground_truth.scores), seconds. Per
model: what `verify` says of the true circuit and of its mutations.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thinwire.circuits.ablation import isolate, remove_edges
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.errors import UserError
from thinwire.ground_truth.families import FAMILIES, known_model
from thinwire.ground_truth.known import KnownModel
from thinwire.ground_truth.mutations import PER_KIND, mutations
from thinwire.ground_truth.parts import Parts
from thinwire.ground_truth.scores import FRACTIONS, areas, auroc, overlap
from thinwire.ground_truth.sizes import SizeName
from thinwire.model.hooks import Hook, identity
from thinwire.progress import Progress, silent
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import Identity, Problem
from thinwire.runs.jobs import local_pool, run_jobs
from thinwire.storage.files import read_json, write_json
from thinwire.verification.budget import BUDGETS, BudgetName
from thinwire.verification.claim import Claim
from thinwire.verification.examine import examine
from thinwire.verification.material import TaskMaterial
from thinwire.verification.subject import Subject
from thinwire.verification.verdict import judge
from thinwire.workflows.contenders import METHODS, Choice, all_edges

SCHEMA_VERSION = 1
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
    models = [read_json(_path(out, member)) for member in members]
    return {"out": str(out), "summary": summarise(models), "models": models}


class Member(NamedTuple):
    """One model of a family."""

    family: str
    size: SizeName
    seed: int


def _check(families: Sequence[str], config: BenchmarkConfig) -> None:
    for wanted, known, what in ((families, FAMILIES, "family"), (config.methods, METHODS, "method")):
        if unknown := [name for name in wanted if name not in known]:
            raise UserError(f"no {what} is called {unknown[0]}; there are: {', '.join(known)}")


def _path(out: Path, member: Member) -> Path:
    return out / f"{member.family}-{member.size}-{member.seed}.json"


def _is_done(out: Path, member: Member, config: BenchmarkConfig) -> bool:
    path = _path(out, member)
    if not path.exists():
        return False
    stored = read_json(path)
    return (stored["schema_version"], stored["config"]) == (SCHEMA_VERSION, _settings(config))


def _settings(config: BenchmarkConfig) -> dict[str, Any]:
    return {**asdict(config), "methods": list(config.methods)}


def measure_job(out: Path, member: Member, config: BenchmarkConfig, progress: Progress = silent) -> None:
    """One model, measured and stored."""
    known = known_model(*member)
    claims = {"truth": known.truth, **mutations(known, config.n_less)} if config.judge else {}
    with progress(known.name, total=len(config.methods) + len(claims), unit="step") as advance:
        problem, methods, verdicts = _problem(known), [], []
        for method in config.methods:
            methods.append(_measured(known, problem, method, config))
            advance(1, at=method)
        for name, parts in claims.items():
            verdicts.append({"claim": name, **judge_parts(known, parts, config)})
            advance(1, at=name)
    result = {
        "schema_version": SCHEMA_VERSION,
        "config": _settings(config),
        **member._asdict(),
        "n_nodes": known.n_nodes,
        "n_edges": len(all_edges(problem)),
        "n_true_nodes": len(known.truth.nodes),
        "n_true_edges": len(known.truth.wires),
        "methods": methods,
        "verdicts": verdicts,
    }
    write_json(_path(out, member), result)


# --- methods --------------------------------------------------------------------------------------------------------


def _problem(known: KnownModel) -> Problem:
    identity = Identity(known.family, 1, known.fingerprint, "0" * 64)
    return Problem(known.model, dict(known.pairs), known.means, identity)


def _measured(known: KnownModel, problem: Problem, method: str, config: BenchmarkConfig) -> dict[str, Any]:
    start = time.perf_counter()
    choice = METHODS[method](problem, PruneConfig(target_loss=config.target_loss, seed=known.seed))
    seconds = time.perf_counter() - start
    found = Parts.of(
        [edge[:4] for edge in choice.edges], [(s, c) for s, channels in choice.nodes.items() for c in channels]
    )
    edges, space = all_edges(problem), known.model.space
    true_edges = torch.tensor([edge[:4] in known.truth.wires for edge in edges])
    nodes, wires = overlap(found.nodes, known.truth.nodes), overlap(found.wires, known.truth.wires)
    return {
        "method": method,
        "solved": choice.solved,
        "exact": nodes.exact and wires.exact,
        "sufficient": any(found == parts for parts in known.sufficient),
        "seconds": seconds,
        "ranking": choice.ranking,
        "nodes": {
            **asdict(nodes),
            "auroc": auroc(choice.node_scores, space.mask(known.nodes(known.truth))),
            **_node_areas(known, choice),
        },
        "edges": {
            **asdict(wires),
            "auroc": auroc(choice.edge_scores, true_edges),
            **_edge_areas(known, problem, choice),
        },
    }


def _node_areas(known: KnownModel, choice: Choice) -> dict[str, Any]:
    order, space = torch.sort(choice.node_scores, descending=True, stable=True).indices, known.model.space

    def kept(n: int) -> float:
        mask = torch.zeros(space.n_nodes)
        mask[order[:n]] = 1
        return _mean_difference(known, isolate(known.model, space.nodes(mask), known.means))

    return _areas(kept, len(order))


def _edge_areas(known: KnownModel, problem: Problem, choice: Choice) -> dict[str, Any]:
    """All nodes stay; edges beyond the first ones carry their source's mean."""
    order = torch.sort(choice.edge_scores, descending=True, stable=True).indices.tolist()
    edges = all_edges(problem)

    def kept(n: int) -> float:
        removed = [edges[i] for i in order[n:]]
        return _mean_difference(known, removed=removed)

    return _areas(kept, len(order))


def _areas(kept: Any, n: int) -> dict[str, Any]:
    found = areas([kept(int(share * n)) for share in FRACTIONS], kept(0), kept(n))
    return asdict(found)


@torch.no_grad()
def _mean_difference(known: KnownModel, hook: Hook = identity, removed: Sequence[Any] = ()) -> float:
    """m of `ground_truth.scores`, on test pairs."""
    prompts = Prompts.of(known.pairs["test"])
    masks = remove_edges(known.model, removed, known.means)
    difference: Tensor = logit_difference(known.model, prompts, hook, masks)
    return float((difference * prompts.sign).mean())


# --- verification ---------------------------------------------------------------------------------------------------


def judge_parts(known: KnownModel, parts: Parts, config: BenchmarkConfig) -> dict[str, Any]:
    """What `verify` says of a circuit of these nodes and wires."""
    claim = Claim(
        known.family,
        known.fingerprint,
        known.nodes(parts),
        parts.edges(known.model),
        "minimal",
        config.target_loss,
    )
    material = TaskMaterial(
        test=Prompts.of(known.pairs["test"]),
        search=Prompts.of(known.pairs["validation"]),
        others={name: Prompts.of(tokens) for name, tokens in known.others.items()},
        shifted={name: Prompts.of(tokens) for name, tokens in known.shifted.items()},
        windows=known.windows,
    )
    findings = examine(Subject(known.model, claim, known.means), material, BUDGETS[config.budget], known.seed)
    verdict, reasons = judge(findings)
    return {
        "n_nodes": claim.n_nodes,
        "n_edges": len(claim.edges),
        "verdict": verdict,
        "failed": [name for name, finding in findings.items() if finding.passed is False],
        "reasons": reasons,
    }


# --- summary --------------------------------------------------------------------------------------------------------


def summarise(models: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over all models: how often each method is exact, means, and what the verdicts say of truths and mutations."""
    rows = [row for model in models for row in model["methods"]]
    methods = {}
    for name in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == name]
        methods[name] = {
            "n_exact": sum(row["exact"] for row in own),
            "n_minimal_sufficient": sum(row["sufficient"] for row in own),
            **{kind: {key: fmean(row[kind][key] for row in own) for key in MEANS} for kind in ("nodes", "edges")},
            "seconds": fmean(row["seconds"] for row in own),
        }
    said = [verdict for model in models for verdict in model["verdicts"]]
    truths, wrong = [v for v in said if v["claim"] == "truth"], [v for v in said if v["claim"] != "truth"]
    return {
        "n_models": len(models),
        "methods": methods,
        "verdicts": {
            "n_truths": len(truths),
            "n_truths_faithful": sum(v["verdict"] == "faithful" for v in truths),
            "n_mutations": len(wrong),
            "n_mutations_faithful": sum(v["verdict"] == "faithful" for v in wrong),
        },
    }
