"""Judge stored circuits against their model and write verify.json beside them.

Any directory with a circuit.json will do, ours or another's (docs/verification.md, "The files of a circuit").
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from thinwire.circuits.ablation import Means, node_means
from thinwire.circuits.graph import Circuit
from thinwire.circuits.prompts import Prompts
from thinwire.circuits.stand_ins import stand_ins
from thinwire.errors import CorruptFile
from thinwire.model.gpt import GPT
from thinwire.progress import Progress, silent
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.prune import Identity
from thinwire.pruning.prune import prune as prune_model
from thinwire.ranges import SEED, check_range
from thinwire.runs.circuit_files import CircuitFiles, read_circuit_files, read_pairs
from thinwire.runs.run import open_run, opened
from thinwire.runs.selection import circuits_of
from thinwire.runs.stored import check_stated_loss, directory_of
from thinwire.runs.trained import Trained
from thinwire.runs.verdicts import VERDICT_FILE, stored_verification
from thinwire.storage.files import MANIFEST, add_sealed, to_json, write_atomic
from thinwire.tasks.answers import Unavailable
from thinwire.tasks.registry import all_tasks
from thinwire.tasks.shifts import shifts_of
from thinwire.tasks.tokens import TaskTokens, tokenize, tokenize_shift
from thinwire.verification.budget import BUDGETS, Budget, BudgetName
from thinwire.verification.examine import examine
from thinwire.verification.material import TaskMaterial
from thinwire.verification.pruner import Pruned, Pruner, SplitPairs
from thinwire.verification.result import Verification
from thinwire.verification.subject import Subject
from thinwire.verification.verdict import judge


@dataclass(frozen=True)
class VerifiedCircuit:
    """A stored circuit with what was found of it."""

    path: str
    found: Verification

    def to_dict(self) -> dict[str, Any]:
        """The content of verify.json, and where that is."""
        return {"path": self.path, **self.found.to_dict()}


@dataclass(frozen=True)
class VerifyResult:
    """What `thinwire verify` prints."""

    run: str
    budget: BudgetName
    circuits: tuple[VerifiedCircuit, ...]


def verify(
    run: Trained | str | Path,
    circuit: Circuit | str | Path,
    *,
    budget: BudgetName = "fast",
    seed: int = 0,
    progress: Progress = silent,
) -> Verification:
    """All tests of a circuit of `run`, with the verdict that follows from them.

    `run` is what `thinwire.load` gave, or its directory; `circuit` one that `thinwire.prune` returned, or a directory
    with a circuit.json. The result is stored there as verify.json; the same seed and budget give the same result.
    Raises `UserError` when the circuit belongs to another model, names nodes that the model lacks, or comes without
    pairs for a task of its own.
    """
    check_range("seed", seed, SEED)
    run = opened(run)
    path = directory_of(run, circuit)
    files = read_circuit_files(path, run)
    result = check(run, files, budget=budget, seed=seed, progress=progress)
    if files.stated_loss is not None:
        check_stated_loss(path, files.stated_loss, result.sufficiency.loss)
    content = to_json(result.to_dict())
    if (path / MANIFEST).exists():
        add_sealed(path, VERDICT_FILE, content)
    else:
        write_atomic(path / VERDICT_FILE, content)
    return result


def verify_job(run_path: str, circuit: Path, seed: int, device: str) -> str:
    """One stored circuit's verify.json, written by another process; returns the verdict. One that is there stays."""
    try:
        found = stored_verification(circuit)
    except CorruptFile:
        found = None
    if found is not None and (found.judged.seed, found.judged.budget) == (seed, "fast"):
        return found.verdict
    return verify(open_run(run_path, device), circuit, seed=seed).verdict


def check(
    run: Trained, files: CircuitFiles, *, budget: BudgetName = "fast", seed: int = 0, progress: Progress = silent
) -> Verification:
    """As `verify`; writes nothing."""
    counts = BUDGETS[budget]
    subject = Subject(run.model, files.claim, files.means)
    findings = examine(subject, _material(run, files, counts, progress), counts, seed, progress)
    return Verification(files.claim, seed, budget, judge(findings), findings, files.sha256)


def _material(run: Trained, files: CircuitFiles, counts: Budget, progress: Progress) -> TaskMaterial:
    pairs, device = files.pairs, run.device
    shifted, unmeasured = _shifted(run, files)
    splits = all(split in pairs for split in ("train", "validation", "test"))
    return TaskMaterial(
        test=Prompts.of(pairs["test"], device),
        search=Prompts.of(pairs.get("validation", pairs["test"]), device),
        others={name: Prompts.of(tokens, device) for name, tokens in _other_tasks(run, counts).items()},
        shifted={name: Prompts.of(tokens, device) for name, tokens in shifted.items()},
        unmeasured_shifts=unmeasured,
        windows=run.windows(counts.text_windows * run.context),
        pairs=pairs if splits else None,
        pruner=_pruner(run, files, progress) if splits else None,
    )


def _other_tasks(run: Trained, counts: Budget) -> dict[str, TaskTokens]:
    """Test pairs of every built-in task that the tokenizer can answer, or of those that the run has circuits for."""
    if not counts.all_tasks:
        newest = {path.parent.parent.name: path for path in run.circuit_directories()}
        return {name: read_pairs(path, run.model)["test"] for name, path in newest.items()}
    found, tokenizer = {}, run.tokenizer  # a damaged one is an error, not a task without answers
    for name, task in all_tasks().items():
        try:
            found[name] = tokenize(task, tokenizer, "test", run.context)
        except Unavailable:  # no such answers in this vocabulary, or prompts longer than the context
            continue
    return found


def _shifted(run: Trained, files: CircuitFiles) -> tuple[dict[str, TaskTokens], dict[str, str]]:
    """(kind of shift -> pairs, kind of shift -> why there are none), for built-in tasks."""
    task, found, missing = all_tasks().get(files.claim.task), {}, {}
    if task is None:
        return found, missing
    tokenizer = run.tokenizer  # a damaged one is an error, not a shift without pairs
    for shift in shifts_of(task):
        try:
            found[shift] = tokenize_shift(task, shift, tokenizer, files.pairs["test"], run.context)
        except Unavailable as why:  # too few pairs fit, or the answers are not the task's
            missing[shift] = str(why)
    return found, missing


def _pruner(run: Trained, files: CircuitFiles, progress: Progress) -> Pruner:
    """The pruning with the circuit's own settings, where it has some that this version knows, else the defaults."""
    claim = files.claim
    try:
        config = PruneConfig.of(files.hyperparameters or {"target_loss": claim.target_loss})
    except ValueError:  # another tool's settings
        config = PruneConfig(target_loss=claim.target_loss)
    identity = Identity(claim.task, 0, claim.model_fingerprint, run.tokenizer.sha256)

    @cache
    def over_text(model: GPT) -> Means:
        return node_means(model, run.windows(config.means_tokens), progress)

    def means_of(model: GPT, pairs: SplitPairs) -> Means:
        same = model is run.model
        return files.means if same else stand_ins(config.ablation, model, over_text, pairs["train"])

    def prune_again(model: GPT, pairs: SplitPairs, seed: int, forbidden: Any) -> Pruned:
        settings, means = replace(config, seed=seed), means_of(model, pairs)
        found = prune_model(model, dict(pairs), means, settings, identity, progress, forbidden=forbidden)
        return Pruned(found.nodes, found.status == "solved", found.scores["test"].loss, found.n_edges)

    return prune_again


def verify_run(
    run_path: str | Path,
    circuits: Sequence[str | Path] = (),
    *,
    where: Sequence[str] = (),
    budget: BudgetName = "fast",
    seed: int = 0,
    device: str = "auto",
    progress: Progress = silent,
) -> VerifyResult:
    """Verify the given circuits, or all that the run holds and that meet `where` (see `runs.selection.Where`).

    Raises `UserError` when there are none.
    """
    run = open_run(run_path, device)
    paths = circuits_of(run, circuits, where)
    verified = []
    with progress("verify", total=len(paths), unit="circuit") as advance:
        for path in paths:
            found = verify(run, path, budget=budget, seed=seed, progress=progress)
            verified.append(VerifiedCircuit(str(path), found))
            advance(1)
    return VerifyResult(str(run_path), budget, tuple(verified))
