"""report.html: reads artefacts, hands them to the viewer as plain JSON."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from thinwire.circuits.artefact import StoredCircuit, load_circuit
from thinwire.circuits.evidence import evidence
from thinwire.circuits.prompts import Prompts
from thinwire.errors import MissingFile, UserError
from thinwire.model.structure import count_parameters
from thinwire.storage import MANIFEST, is_sealed, read_sealed, write_atomic
from thinwire.tasks.registry import get_task
from thinwire.training.checkpoint import latest_checkpoint, read_state
from thinwire.viewer.report import render_report
from thinwire.workflows.run import Run, load_run

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
    """One circuit as the viewer's TaskModel: circuit, verification if there is one, evidence on its first test pair."""
    stored = load_circuit(path)
    prompts = Prompts.of(stored.pairs["test"], run.device)
    means = {site: mean.to(run.device) for site, mean in stored.means.items()}
    checked = is_sealed(path, "verify.json")
    return {
        "circuit": stored.circuit.to_dict(),
        "verification": json.loads(read_sealed(path, "verify.json")) if checked else None,
        "evidence": evidence(run.model, stored.circuit, means, prompts, 0, run.tokenizer),
    }


def task_report(name: str, stored: StoredCircuit) -> dict[str, Any]:
    """A task's words and its first test pair."""
    task = get_task(name)
    pair = task.pairs("test")[0]
    answer, other = stored.circuit.answer_texts
    return {
        "name": name,
        "description": task.description,
        "excluded_cue": task.excluded_cue,
        "example": {"clean": pair.clean, "corrupt": pair.corrupt, "answer": answer, "other": other},
    }
