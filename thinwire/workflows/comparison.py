"""summary.json and report.html of a demo, made again from its artefacts alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from thinwire.circuits.artefact import load_circuit
from thinwire.errors import MissingFile
from thinwire.frontier.compare import TWIN_RULE, Cell, cell, summarise
from thinwire.runs.run import Run
from thinwire.runs.verdicts import stored_verification
from thinwire.storage.files import add_sealed, read_sealed, to_json
from thinwire.verification.stored import StoredVerification
from thinwire.viewer.contract import Report, Selection, Side, Stage, Twins, TwinTried
from thinwire.viewer.report import render_report
from thinwire.viewer.story import QUOTE_TASK
from thinwire.workflows.judgement import stored_judgement
from thinwire.workflows.report import compose, verified

CHOICE_RULE = "Of the circuits that the gate prices gave, this page shows the smallest that met its target."
LABELS: dict[Side, str] = {"sparse": "weight-sparse", "dense": "dense twin"}


def write_comparison(out: Path, runs: Mapping[Side, Run]) -> dict[str, Any]:
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
        name: {kind: _cell(out / path) for kind, path in paths.items()} for name, paths in journal["chosen"].items()
    }
    summary = summarise(journal["heldout_loss"], cells, sum(journal["seconds"].values()))
    return {**summary, "ladder": _ladder(out, journal)}


def _cell(path: Path) -> Cell:
    return cell(load_circuit(path).circuit, verified(_verification(path)))


def _verification(path: Path) -> StoredVerification:
    """What was found of a circuit that the demo verified."""
    found = stored_verification(path)
    if found is None:
        raise MissingFile(f"{path} was not verified; thinwire demo --resume goes on")
    return found


def _ladder(out: Path, journal: dict[str, Any]) -> list[dict[str, Any]]:
    """The sparse model's circuits at each requirement, the weakest first: edges, verdict, what was not met."""
    rungs = []
    for name, paths in journal["chosen"].items():
        for path in (paths["sparse"], *journal.get("ladder", {}).get(name, {}).values()):
            circuit, found = load_circuit(out / path).circuit, _verification(out / path)
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
                    "verdict": found.verdict,
                }
            )
    return rungs


def _twin_rule(candidates: list[Any], first: list[int]) -> str:
    named = [f"width {width:g} on {share:.0%} of the tokens" for width, share in candidates]
    return TWIN_RULE.format(candidates=", ".join(named), first=" and ".join(named[i] for i in first).capitalize())


def _title(out: Path, chosen: dict[str, dict[Side, str]]) -> str:
    """What the first circuit was shown to be: how the model does it only where the verdict says so."""
    name = QUOTE_TASK if QUOTE_TASK in chosen else next(iter(chosen))
    path = out / chosen[name]["sparse"]
    judged = stored_judgement(path, load_circuit(path).circuit)
    what = "closes a quote" if name == QUOTE_TASK else f"does {name}"
    if judged and judged.verdict == "faithful":
        return f"How a small transformer {what}"
    return f"A small transformer {what}: circuits that suffice"


def _report(out: Path, journal: dict[str, Any], summary: dict[str, Any], runs: Mapping[Side, Run]) -> Report:
    chosen = journal["chosen"]
    return compose(
        title=_title(out, chosen),
        command=journal["command"],
        view_command=f"thinwire view {out}",
        runs=runs,
        labels=LABELS,
        heldout_loss=journal["heldout_loss"],
        chosen={name: {side: out / path for side, path in paths.items()} for name, paths in chosen.items()},
        summary=summary,
        choice_rule=CHOICE_RULE,
        twins=Twins(
            _twin_rule(journal["candidates"], journal["first_candidates"]),
            msgspec.convert(journal["twins"], list[TwinTried]),
        ),
        selection=msgspec.convert(journal["selection"], Selection),
        stages=msgspec.convert(journal["stages"], list[Stage]),
        seconds=summary["seconds"],
    )
