"""report.html: reads artefacts, hands them to the viewer as plain JSON."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from thinwire.circuits.artefact import StoredCircuit
from thinwire.circuits.prompts import Prompts
from thinwire.data.tokenizer import Tokenizer
from thinwire.errors import UserError
from thinwire.evidence.gather import evidence
from thinwire.frontier.compare import cell, summarise
from thinwire.model.structure import count_parameters
from thinwire.progress import Progress, silent
from thinwire.runs.run import Run, load_run, take_threads
from thinwire.runs.stored import open_circuit, smallest_by_task
from thinwire.storage.files import add_sealed, is_sealed, read_sealed, write_atomic
from thinwire.tasks.answers import PREFIX
from thinwire.tasks.registry import all_tasks, get_task
from thinwire.training.savings import summary as savings
from thinwire.viewer.report import render_report
from thinwire.workflows.baselines import FILE as BASELINES

CHOICE_RULE = "Of several circuits of a task the page shows the smallest that is solved on validation pairs."

CURVE_POINTS = 240
"""At most so many points of a training curve go into a page."""


def model_report(run: Run, label: str, heldout_loss: float) -> dict[str, Any]:
    """One model as the viewer's ModelReport."""
    config, counts = run.config, count_parameters(run.model)
    rows = run.metrics
    every = max(1, len(rows) // CURVE_POINTS)
    keys = ("step", "tokens", "loss", "density", "learning_rate", "heldout_loss")
    kept = [row for i, row in enumerate(rows) if i % every == 0 or "heldout_loss" in row or i == len(rows) - 1]
    return {
        "label": label,
        "recipe": config.recipe,
        "mode": config.train.mode,
        "savings": savings(rows),
        "n_layer": config.model.n_layer,
        "d_model": config.model.d_model,
        "d_head": config.model.d_head,
        "context": config.model.context,
        "density": config.train.density,
        "n_parameters": counts["parameters"],
        "n_nonzero": counts["nonzero"],
        "n_tokens": rows[-1]["tokens"],
        "heldout_loss": heldout_loss,
        "curve": [{key: row[key] for key in keys if key in row} for row in kept],
        "fingerprint": run.fingerprint,
    }


def corpus_report(run: Run) -> dict[str, Any]:
    """The run's corpus as the viewer's Corpus."""
    corpus = run.corpus
    return {key: corpus[key] for key in ("source", "sha256", "n_files", "n_bytes")} | {
        "n_train_tokens": run.metrics[-1]["tokens"],
        "n_heldout_tokens": len(run.heldout),
    }


def circuit_report(run: Run, path: Path) -> dict[str, Any]:
    """One circuit as the viewer's TaskModel: circuit, evidence on its first test pair, what else was measured of it."""
    stored = open_circuit(run, path)
    prompts = Prompts.of(stored.pairs["test"], run.device)
    verification, compared = (
        json.loads(read_sealed(path, name)) if is_sealed(path, name) else None for name in ("verify.json", BASELINES)
    )
    return {
        "circuit": stored.circuit.to_dict(),
        "verification": shown_verification(verification) if verification else None,
        "baselines": {"methods": compared["methods"]} if compared else None,
        "evidence": evidence(run.model, stored.circuit, stored.means, prompts, 0, run.tokenizer),
    }


def shown_verification(verification: dict[str, Any]) -> dict[str, Any]:
    """verify.json as far as a page shows it: outcomes, sentences and numbers, without the lists of single nodes."""

    def slim(test: dict[str, Any]) -> dict[str, Any]:
        plain = {name: value for name, value in test.items() if not isinstance(value, list | dict)}
        return plain | {name: test[name] for name in ("random_losses",) if name in test}

    return {name: slim(part) if isinstance(part, dict) else part for name, part in verification.items()}


def task_report(stored: StoredCircuit, tokenizer: Tokenizer) -> dict[str, Any]:
    """A task's words, and its first test pair as the circuit stores it.

    A task from a file, which may be gone by now, is described by its answers.
    """
    circuit, pairs = stored.circuit, stored.pairs["test"]
    answer, other = circuit.answer_texts
    description = f"Answer {answer!r} after the clean and {other!r} after the corrupt prompts."
    excluded_cue = "None is stated: the pairs come from a file."
    if circuit.task in all_tasks():
        task = get_task(circuit.task)
        description, excluded_cue = task.description, task.excluded_cue

    def text(ids: Sequence[int]) -> str:
        return tokenizer.decode(ids).removeprefix(PREFIX)

    return {
        "name": circuit.task,
        "description": description,
        "excluded_cue": excluded_cue,
        "example": {
            "clean": text(pairs.clean[0, : pairs.clean_length[0]].tolist()),
            "corrupt": text(pairs.corrupt[0, : pairs.corrupt_length[0]].tolist()),
            "answer": answer,
            "other": other,
        },
    }


def report_run(
    run_path: str | Path, out: str | Path | None = None, *, device: str = "auto", progress: Progress = silent
) -> dict[str, Any]:
    """Write the report of one run's circuits to `out`, by default report.html inside the run.

    Raises `UserError` when the run holds no circuits.
    """
    run = take_threads(load_run(run_path, device))
    found = smallest_by_task(list(run.circuit_directories()))
    if not found:
        raise UserError(f"{run_path} holds no circuits; find some with: thinwire prune {run_path} single_double_quote")
    loss = run.heldout_loss(progress)
    page = render_report(_run_report(run, found, loss))
    if out is None:
        add_sealed(run.path, "report.html", page)
    else:
        out = Path(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, page)
    return {
        "run": str(run_path),
        "report": str(out or run.path / "report.html"),
        "heldout_loss": loss,
        "circuits": {name: str(path) for name, path in found.items()},
    }


def _run_report(run: Run, found: dict[str, Path], loss: float) -> dict[str, Any]:
    kind, label = ("sparse", "weight-sparse") if run.config.train.density < 1 else ("dense", "dense")
    tasks, cells = [], {}
    for name, path in found.items():
        stored, shown = open_circuit(run, path), circuit_report(run, path)
        tasks.append(task_report(stored, run.tokenizer) | {kind: shown})
        cells[name] = {kind: cell(stored.circuit, shown["verification"])}
    summary = summarise({kind: loss}, cells, run.metrics[-1]["seconds"])
    return {
        "title": f"Circuits of {run.name}",
        "command": f"thinwire report {run.path}",
        "view_command": f"thinwire view {run.path}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": run.environment,
        "corpus": corpus_report(run),
        "models": {kind: model_report(run, label, loss)},
        "twin_rule": "",
        "twins_tried": [],
        "selection": {"rule": CHOICE_RULE, "tasks": []},
        "target_loss": tasks[0][kind]["circuit"]["target_loss"],
        "tasks": tasks,
        "summary": summary,
        "stages": [],
    }
