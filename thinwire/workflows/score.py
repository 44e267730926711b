"""Circuits that others found for our tasks, measured all in one way, whatever their files say of themselves.

    DIR/<task>.json           {"nodes": {site: channels}, "edges": [[site, channel, site, channel], ...]}; without edges
                              all weights between the nodes; sites by our names or TransformerLens'
    DIR/<task>.json, .pt      a published circuit as `import-circuit` takes it (`interop.published_circuits`)
    DIR/.../circuit.json      ours, or a claim, as `verify` takes it (`circuits.stated`)

Prompts are the test pairs of the built-in task, everything outside a circuit stands at its mean over the run's held-out
text, RMSNorm scales are the circuit's own, and the target is the same for all. Stated scores, targets, means and pairs
are not read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from thinwire.circuits.ablation import ablate, node_means
from thinwire.circuits.agreement import check_belongs
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.circuits.score import difference_of, last_logits, score, two_way_score
from thinwire.circuits.solved import SOLVED_MEANS, circuit_does, model_does
from thinwire.circuits.stated import TARGET_LOSS, read_stated
from thinwire.errors import MissingFile, UserError
from thinwire.frontier.compare import geometric_mean
from thinwire.interop.published_circuits import read_nodes
from thinwire.model.names import site_named
from thinwire.progress import Progress, silent
from thinwire.pruning.config import PruneConfig
from thinwire.ranges import check_range
from thinwire.runs.run import open_run
from thinwire.runs.trained import Trained
from thinwire.storage.files import MANIFEST, read_json
from thinwire.tasks.registry import get_task
from thinwire.tasks.tokens import tokenize
from thinwire.verification.claim import Claim, claim_of
from thinwire.verification.necessity import ACCURACY, TRACE

CIRCUIT = "circuit.json"
NO_CIRCUITS = {MANIFEST, CIRCUIT, "tasks.json", "verify.json"}
"""Files of a folder of tasks, or of a circuit, that are no circuit named after its task."""
NEEDED_MEANS = (
    f"with the circuit's nodes at their means the whole model is right on at most {ACCURACY:.0%} of the prompts or "
    f"keeps at most {TRACE:.0%} of its difference (sites that are kept whole stay; no random sets stand beside it, "
    f"which `verify` draws)"
)


@dataclass(frozen=True)
class ScoredCircuit:
    """One circuit on the test pairs of its task; `reason` says why it was not measured, the numbers are None then."""

    task: str
    path: str
    solved: bool = False
    """Whether the whole model does the task and the circuit does it (`circuits.solved`)."""
    model_does: bool = False
    needed: bool = False
    n_nodes: int | None = None
    n_edges: int | None = None
    loss: float | None = None
    """Of the circuit alone, nats."""
    loss_error: float | None = None
    """Standard error of `loss`, pairs as the units."""
    accuracy: float | None = None
    kl: float | None = None
    loss_without: float | None = None
    """Of the whole model without the circuit's nodes."""
    accuracy_without: float | None = None
    n_test_pairs: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Scores:
    """What `thinwire score` prints."""

    run: str
    fingerprint: str
    target_loss: float
    solved_means: str
    needed_means: str
    circuits: tuple[ScoredCircuit, ...]
    n_tasks: int
    """Tasks that circuits were given for and that could be measured."""
    n_tasks_solved: int
    geomean_edges: float | None
    """Over the tasks that are solved, of each the circuit of fewest edges that solves it."""


def score_circuits(
    run_path: str | Path,
    directory: str | Path,
    *,
    target_loss: float | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Scores:
    """Measure every circuit in `directory`, found by whomever for the model of `run_path`.

    Without a `target_loss` it is the paper's (`circuits.stated`), for all of them.
    A circuit that cannot be measured costs the others nothing: it is a row with its reason. Raises `UserError` where
    there are no others.
    """
    target_loss = TARGET_LOSS if target_loss is None else target_loss
    check_range("target_loss", target_loss, "(0, 100]")
    directory = Path(directory)
    paths = _circuit_files(directory)
    if not paths:
        raise MissingFile(f"{directory} holds no circuit; write one as TASK.json, or a folder with a {CIRCUIT}")
    run = open_run(run_path, device)
    means = node_means(run.model, run.windows(PruneConfig().means_tokens), progress)
    rows = []
    with progress("circuits", total=len(paths), unit="circuit") as advance:
        for path in paths:
            try:
                rows.append(_measured(run, _read(run, path), path, means, target_loss))
            except UserError as error:
                rows.append(ScoredCircuit(_task_of(path), str(path), reason=str(error)))
            advance(1)
    if all(row.reason for row in rows):
        raise UserError("; ".join(row.reason or "" for row in rows))
    sizes: dict[str, list[int]] = {}
    for row in rows:
        if row.solved and row.n_edges is not None:
            sizes.setdefault(row.task, []).append(row.n_edges)
    return Scores(
        run=str(run_path),
        fingerprint=run.fingerprint,
        target_loss=target_loss,
        solved_means=SOLVED_MEANS,
        needed_means=NEEDED_MEANS,
        circuits=tuple(rows),
        n_tasks=len({row.task for row in rows if not row.reason}),
        n_tasks_solved=len(sizes),
        geomean_edges=geometric_mean([min(found) for found in sizes.values()]),
    )


def _circuit_files(directory: Path) -> list[Path]:
    named = [p for p in directory.glob("*") if p.suffix in (".json", ".pt") and p.name not in NO_CIRCUITS]
    return [*sorted(named), *sorted(directory.rglob(CIRCUIT))]


def _task_of(path: Path) -> str:
    """The task that a file's place names; what the file itself says comes first where it is a circuit.json."""
    return path.absolute().parent.name if path.name == CIRCUIT else path.stem


def _read(run: Trained, path: Path) -> Claim:
    said: dict[str, Any] = {"model_fingerprint": run.fingerprint, "task": _task_of(path)}
    values = read_json(path) if path.suffix == ".json" else None
    if isinstance(values, dict) and "schema_version" in values:
        said = values
    elif isinstance(values, dict) and "nodes" in values:
        said |= _in_our_names(values)
    else:
        said["nodes"] = read_nodes(path, run.model.space)
    stated = read_stated(said, path)
    check_belongs(stated, run.model)
    if path.name != CIRCUIT and stated.task != path.stem:
        raise UserError(f"{path} is said to be of task {stated.task}; name the file after it")
    return claim_of(stated, run.model, path)


def _in_our_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same circuit with sites by our names; what is malformed stays, to be refused by the record."""
    ours = dict(values)
    if isinstance(nodes := values["nodes"], dict):
        ours["nodes"] = {site_named(site): channels for site, channels in nodes.items()}
        if len(ours["nodes"]) < len(nodes):
            raise UserError("a site is named twice among the nodes, by two of its names; keep one")
    for key in ("edges", "minimal_edges"):
        if isinstance(edges := values.get(key), list):
            ours[key] = [[_renamed(end) for end in edge] if isinstance(edge, list) else edge for edge in edges]
    return ours


def _renamed(end: Any) -> Any:
    return site_named(end) if isinstance(end, str) else end


def _measured(run: Trained, claim: Claim, path: Path, means: Mapping[str, Tensor], target_loss: float) -> ScoredCircuit:
    model, prompts = run.model, _test_prompts(run, claim.task)
    kept = {edge[:4] for edge in claim.edges}
    removed = tuple(edge for edge in induced_edges(model, claim.nodes) if edge[:4] not in kept)
    reference = last_logits(model, prompts)
    alone = score(IsolatedCircuit(model, claim.nodes, means, prompts, removed).logits(), reference, prompts)
    widths = model.space.widths
    chosen = {site: channels for site, channels in claim.nodes.items() if len(channels) < widths[site]}
    left = logit_difference(model, prompts, ablate(model, chosen, means))
    whole, without = difference_of(reference, prompts), two_way_score(left, prompts)
    trace = float((prompts.sign * left).mean()) <= TRACE * float((prompts.sign * whole).mean())
    does = model_does(two_way_score(whole, prompts))
    return ScoredCircuit(
        task=claim.task,
        path=str(path),
        solved=does and circuit_does(alone, target_loss),
        model_does=does,
        needed=without.accuracy <= ACCURACY or trace,
        n_nodes=claim.n_nodes,
        n_edges=len(claim.edges),
        loss=alone.loss,
        loss_error=alone.loss_error,
        accuracy=alone.accuracy,
        kl=alone.kl,
        loss_without=without.loss,
        accuracy_without=without.accuracy,
        n_test_pairs=prompts.n_pairs,
    )


def _test_prompts(run: Trained, task: str) -> Prompts:
    return Prompts.of(tokenize(get_task(task), run.tokenizer, "test", run.context), run.device)
