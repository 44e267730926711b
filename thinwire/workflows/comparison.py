"""summary.json and report.html of a demo, made again from its artefacts alone."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from thinwire.circuits.artefact import load_circuit
from thinwire.frontier.compare import TWIN_RULE, cell, summarise
from thinwire.runs.run import Run
from thinwire.storage.files import add_sealed, read_sealed, to_json
from thinwire.viewer.report import render_report
from thinwire.workflows.report import circuit_report, corpus_report, model_report, task_report

LABELS = {"sparse": "weight-sparse", "dense": "dense twin"}


def write_comparison(out: Path, runs: dict[str, Run]) -> dict[str, Any]:
    """Write summary.json and report.html into a demo's directory; returns the summary.

    Needs what the demo decided (demo.json) and the verified circuits that it names.
    """
    journal = json.loads(read_sealed(out, "demo.json"))
    summary = _summary(out, journal)
    add_sealed(out, "summary.json", to_json(summary))
    add_sealed(out, "report.html", render_report(_report(out, journal, summary, runs)))
    return summary


def _summary(out: Path, journal: dict[str, Any]) -> dict[str, Any]:
    cells = {
        name: {
            kind: cell(load_circuit(out / path).circuit, json.loads(read_sealed(out / path, "verify.json")))
            for kind, path in paths.items()
        }
        for name, paths in journal["chosen"].items()
    }
    summary = summarise(journal["heldout_loss"], cells, sum(journal["seconds"].values()))
    return {**summary, "ladder": _ladder(out, journal)}


def _ladder(out: Path, journal: dict[str, Any]) -> list[dict[str, Any]]:
    """The sparse model's circuits at each requirement, the weakest first: edges, verdict, what was not met."""
    rungs = []
    for name, paths in journal["chosen"].items():
        for path in (paths["sparse"], *journal.get("ladder", {}).get(name, {}).values()):
            circuit, found = load_circuit(out / path).circuit, json.loads(read_sealed(out / path, "verify.json"))
            rungs.append(
                {
                    "task": name,
                    "requirement": circuit.requirement,
                    "met": circuit.status == "solved",
                    "not_met": [term for term, demand in circuit.demands.items() if not demand.met],
                    "n_nodes": circuit.n_nodes,
                    "n_edges": circuit.n_edges,
                    "n_minimal_edges": circuit.n_minimal_edges,
                    "test_loss": circuit.scores["test"].loss,
                    "model_test_loss": circuit.model_scores["test"].loss,
                    "verdict": found["verdict"],
                }
            )
    return rungs


def _twin_rule(candidates: list[Any], first: list[int]) -> str:
    named = [f"width {width:g} on {share:.0%} of the tokens" for width, share in candidates]
    return TWIN_RULE.format(candidates=", ".join(named), first=" and ".join(named[i] for i in first).capitalize())


def _report(out: Path, journal: dict[str, Any], summary: dict[str, Any], runs: dict[str, Run]) -> dict[str, Any]:
    tasks = [
        task_report(load_circuit(out / paths["sparse"]), runs["sparse"].tokenizer)
        | {kind: circuit_report(runs[kind], out / path) for kind, path in paths.items()}
        for paths in journal["chosen"].values()
    ]
    return {
        "title": "How a small transformer closes a quote",
        "command": journal["command"],
        "view_command": f"thinwire view {out}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": runs["sparse"].environment,
        "corpus": corpus_report(runs["sparse"]),
        "models": {kind: model_report(run, LABELS[kind], journal["heldout_loss"][kind]) for kind, run in runs.items()},
        "twin_rule": _twin_rule(journal["candidates"], journal["first_candidates"]),
        "twins_tried": journal["twins"],
        "selection": journal["selection"],
        "target_loss": tasks[0]["sparse"]["circuit"]["target_loss"],
        "tasks": tasks,
        "summary": summary,
        "stages": journal["stages"],
    }
