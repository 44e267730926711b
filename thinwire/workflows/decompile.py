"""A circuit as a Python program that does what it does: exact, or as simple as its answers allow."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from thinwire.circuits.artefact import StoredCircuit, load_circuit
from thinwire.circuits.graph import Circuit
from thinwire.circuits.isolated import isolate_circuit
from thinwire.circuits.prompts import Prompts
from thinwire.decompile.evaluate import Batch
from thinwire.decompile.judge import Agreement, Judge
from thinwire.decompile.simplify import LEAST, simplify
from thinwire.decompile.source import source
from thinwire.decompile.unroll import unroll
from thinwire.errors import UserError
from thinwire.frontier.compare import smallest
from thinwire.progress import Progress, silent
from thinwire.ranges import check_range
from thinwire.runs.run import open_run, opened
from thinwire.runs.stored import directory_of, open_circuit
from thinwire.runs.trained import Trained
from thinwire.storage.files import write_atomic
from thinwire.tasks.answers import Unavailable
from thinwire.tasks.registry import all_tasks
from thinwire.tasks.shifts import shifts_of
from thinwire.tasks.tokens import tokenize_shift

MARK = "thinwire decompile"
"""Stands at the top of every program: a file without it is not written over."""


@dataclass(frozen=True)
class Facts:
    """How a program came about, and how far it answers as its circuit."""

    task: str
    circuit: str
    """Directory of the circuit."""
    requirement: str
    n_edges: int
    """Minimal edges, or all where none were swept."""
    exact: bool
    lines: int
    """Of the file, all of them."""
    exact_error: float
    """Largest distance of an answer's logit, by the unrolled circuit, from the circuit's own on test pairs."""
    validation: Agreement
    test: Agreement
    right: float
    """Share of test prompts that the program answers rightly."""
    circuit_right: float
    """The same of the circuit."""
    shifted: dict[str, Agreement]
    """Kind of shifted prompts -> agreement there."""
    kept: dict[str, int]
    """Rewrite -> how often it was kept."""
    n_tried: int
    """Programs that were tried."""


@dataclass(frozen=True)
class Decompiled:
    """A program as the content of a Python file."""

    source: str
    facts: Facts


@dataclass(frozen=True)
class WrittenProgram:
    """What `thinwire decompile` prints."""

    program: str
    """The file."""
    facts: Facts


def decompile(
    run: Trained | str | Path,
    circuit: Circuit | str | Path,
    *,
    exact: bool = False,
    least: float = LEAST,
    progress: Progress = silent,
) -> Decompiled:
    """A stored circuit of `run` as a program, with its minimal edges where it has some.

    `exact`: the circuit unrolled with its weights. Otherwise it is rewritten as long as both answers agree with the
    circuit's on the share `least` of the validation pairs. Raises `UserError` for a circuit that no program can be made
    of (`decompile.unroll`).
    """
    check_range("least", least, "[0, 1]")
    run = opened(run)
    path = directory_of(run, circuit)
    stored = open_circuit(run, path)
    prompts = _prompts(run, stored)
    batches = {name: Batch.of(one) for name, one in prompts.items()}
    edges = "induced" if stored.circuit.minimal_edges is None else "minimal"
    alone = isolate_circuit(run.model, stored.circuit, stored.means, prompts["test"], edges)
    tokens = [run.tokenizer.token_text(token) for token in range(run.tokenizer.vocab_size)]
    unrolled = unroll(alone, stored.circuit.answer_texts, tokens)
    if exact:
        seen = np.unique(np.concatenate([batch.tokens[batch.inside] for batch in batches.values()]))
        program, kept, n_tried = unrolled.restricted(seen), {}, 0
    else:
        found = simplify(unrolled, batches["train"], batches["validation"], least, progress)
        program, kept, n_tried = found.program, found.kept, found.n_tried
    judges = {name: Judge(batch, unrolled.difference) for name, batch in batches.items()}
    agreement = {name: judge.agreement(program) for name, judge in judges.items()}
    test, sign = judges["test"], prompts["test"].sign.cpu().numpy()
    theirs = alone.logits()[:, [prompts["test"].answer, prompts["test"].other]].cpu().numpy()
    ours = np.stack([test.batch.last(x) for x in unrolled.outputs], -1)
    facts = Facts(
        task=stored.circuit.task,
        circuit=str(path),
        requirement=stored.circuit.requirement,
        n_edges=stored.circuit.n_edges if edges == "induced" else stored.circuit.n_minimal_edges or 0,
        exact=exact,
        lines=0,
        exact_error=float(np.abs(ours - theirs).max()),
        validation=agreement.pop("validation"),
        test=agreement.pop("test"),
        right=float((test.batch.last(program.difference) * sign > 0).mean()),
        circuit_right=float((test.wanted * sign > 0).mean()),
        shifted={name: found for name, found in agreement.items() if name != "train"},
        kept=kept,
        n_tried=n_tried,
    )
    text = source(program, head(run, stored, facts))
    return Decompiled(text, replace(facts, lines=len(text.splitlines())))


def _prompts(run: Trained, stored: StoredCircuit) -> dict[str, Prompts]:
    """Every split, and every kind of shifted prompts that the task and the tokenizer have."""
    found = {str(split): pairs for split, pairs in stored.pairs.items()}
    task = all_tasks().get(stored.circuit.task)
    for shift in () if task is None else shifts_of(task):
        assert task is not None
        try:
            found[shift] = tokenize_shift(task, shift, run.tokenizer, stored.pairs["test"], run.context)
        except Unavailable:  # too few pairs fit, or the answers are not the task's
            continue
    return {name: Prompts.of(pairs, run.device) for name, pairs in found.items()}


def head(run: Trained, stored: StoredCircuit, facts: Facts) -> list[str]:
    """The lines at the top of a program: what it is of, and how far it can be trusted."""
    circuit = stored.circuit
    kind = "exactly" if facts.exact else "simplified"
    of = f"{facts.requirement}, {facts.n_edges} edges between {circuit.n_nodes} nodes, seed {circuit.seed}"
    lines = [
        f"{circuit.task}: a circuit of {run.name} as a program, {kind} ({MARK}).",
        "",
        f"Circuit: {of}; model {circuit.model_fingerprint[:12]}.",
    ]
    if facts.exact:
        lines.append(f"Logits of test prompts differ by at most {facts.exact_error:.1e} from the circuit's.")
    else:
        lines.append(
            f"Answers as the circuit on {_share(facts.validation)} validation and {_share(facts.test)} test pairs,"
        )
        lines += _shifts(facts.shifted)
        right = f"on {facts.right:.1%} of the test prompts, the circuit on {facts.circuit_right:.1%}"
        lines.append(f"and is right {right}.")
    lines.append("A prompt is a list of token texts; a token that no table lists counts as an average one.")
    return lines


def _share(agreement: Agreement) -> str:
    return f"{agreement.pairs:.1%} of {agreement.n_pairs}"


def _shifts(shifted: dict[str, Agreement]) -> list[str]:
    if not shifted:
        return []
    words = [f"{name} {found.pairs:.0%}" for name, found in shifted.items()]
    return [f"of shifted pairs on: {', '.join(words)};"]


def choose_circuit(run: Trained, task: str, require: str | None = None) -> Path:
    """The smallest circuit of a task: the one that was asked to be sufficient, unless `require` says otherwise.

    Raises `UserError` when the run holds none such.
    """
    found = {path: load_circuit(path).circuit for path in run.circuits_of(task)}
    if not found:
        tasks = sorted({path.parent.parent.name for path in run.circuit_directories()})
        there = f"; it has some of {', '.join(tasks)}" if tasks else ""
        raise UserError(
            f"{run.name} holds no circuit of {task}{there}; find one with: thinwire prune {run.name} {task}"
        )
    asked = sorted({circuit.requirement for circuit in found.values()})
    wanted = require or ("sufficient" if "sufficient" in asked else asked[0])
    paths = [path for path, circuit in found.items() if circuit.requirement == wanted]
    if not paths:
        raise UserError(f"{run.name} holds no {wanted} circuit of {task}; there are: {', '.join(asked)}")
    return paths[smallest([found[path] for path in paths])]


def decompile_run(
    run_path: str | Path,
    task: str,
    *,
    circuit: Path | None = None,
    require: str | None = None,
    exact: bool = False,
    least: float = LEAST,
    out: Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> WrittenProgram:
    """Write the program of a task's circuit to `out`, by default TASK.py in the working directory.

    Raises `UserError`, and writes nothing, as `choose_circuit` and `decompile` do, when `circuit` is of another task,
    and when `out` is there and is no program of ours.
    """
    out = out or Path(f"{Path(task).stem}.py")
    if out.exists() and MARK not in _beginning(out):
        raise UserError(f"{out} is there and is no program of {MARK}; name another file with --out")
    if circuit is not None and require is not None:
        raise UserError("--circuit names a circuit already; drop --require")
    run = open_run(run_path, device)
    path = circuit or choose_circuit(run, task, require)
    if (found := load_circuit(path).circuit.task) != task:
        raise UserError(f"{path} is a circuit of {found}, not of {task}; write: {MARK} {run_path} {found}")
    made = decompile(run, path, exact=exact, least=least, progress=progress)
    write_atomic(out, made.source)
    return WrittenProgram(str(out), made.facts)


def _beginning(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(1000)
