"""summary.json and report.html of a demo, made again from its artefacts alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from thinwire.circuits.artefact import load_circuit
from thinwire.errors import MissingFile
from thinwire.frontier.compare import TWIN_RULE, Cell, Rung, Summary, cell, summarise
from thinwire.runs.run import Run
from thinwire.runs.verdicts import stored_verification
from thinwire.storage.files import add_sealed, read_sealed_record, to_json
from thinwire.verification.stored import StoredVerification
from thinwire.viewer.contract import Report, Side, Twins
from thinwire.viewer.report import render_report
from thinwire.viewer.story import QUOTE_TASK
from thinwire.workflows.decided import DEMO_FILE, Decided
from thinwire.workflows.judgement import stored_judgement
from thinwire.workflows.report import compose, verified

CHOICE_RULE = "Of the circuits that the gate prices gave, this page shows the smallest that met its target."
LABELS: dict[Side, str] = {"sparse": "weight-sparse", "dense": "dense twin"}


def write_comparison(out: Path, runs: Mapping[Side, Run]) -> Summary:
    """Write summary.json and report.html into a demo's directory; returns the summary.

    Needs what the demo decided (demo.json) and the verified circuits that it names.
    """
    decided = read_sealed_record(Decided, out, DEMO_FILE)
    summary = _summary(out, decided)
    add_sealed(out, "summary.json", to_json(asdict(summary)))
    add_sealed(out, "report.html", render_report(_report(out, decided, summary, runs)))
    return summary


def _summary(out: Path, decided: Decided) -> Summary:
    cells = {name: {kind: _cell(out / path) for kind, path in paths.items()} for name, paths in decided.chosen.items()}
    losses = {str(side): loss for side, loss in decided.heldout_loss.items()}
    summary = summarise(losses, cells, sum(decided.seconds.values()))
    return replace(summary, ladder=tuple(_ladder(out, decided)))


def _cell(path: Path) -> Cell:
    return cell(load_circuit(path).circuit, verified(_verification(path)))


def _verification(path: Path) -> StoredVerification:
    """What was found of a circuit that the demo verified."""
    found = stored_verification(path)
    if found is None:
        raise MissingFile(f"{path} was not verified; thinwire demo --resume goes on")
    return found


def _ladder(out: Path, decided: Decided) -> Iterator[Rung]:
    """The sparse model's circuits at each requirement, the weakest first: edges, verdict, what was not met."""
    for name, paths in decided.chosen.items():
        for path in (paths["sparse"], *decided.ladder.get(name, {}).values()):
            circuit, found = load_circuit(out / path).circuit, _verification(out / path)
            yield Rung(
                task=name,
                requirement=circuit.requirement,
                met=circuit.target_met,
                not_met=tuple(circuit.not_met),
                n_nodes=circuit.n_nodes,
                n_edges=circuit.n_edges,
                n_minimal_edges=circuit.n_minimal_edges,
                test_loss=circuit.scores["test"].loss,
                model_test_loss=circuit.model_scores["test"].loss,
                verdict=found.verdict,
            )


def _twin_rule(candidates: Sequence[tuple[int, float]], first: Sequence[int]) -> str:
    named = [f"width {width:g} on {share:.0%} of the tokens" for width, share in candidates]
    return TWIN_RULE.format(candidates=", ".join(named), first=" and ".join(named[i] for i in first).capitalize())


def _title(out: Path, chosen: dict[str, dict[Side, str]]) -> str:
    """What the first circuit was shown to be: how the model does it only where the verdict says so."""
    name = QUOTE_TASK if QUOTE_TASK in chosen else next(iter(chosen))
    path = out / chosen[name]["sparse"]
    judged = stored_judgement(path)
    what = "closes a quote" if name == QUOTE_TASK else f"does {name}"
    if judged and judged.verdict == "faithful":
        return f"How a small transformer {what}"
    suffices = judged and judged.verdict == "sufficient only"
    return f"A small transformer {what}: circuits that {'suffice' if suffices else 'meet a target'}"


def _report(out: Path, decided: Decided, summary: Summary, runs: Mapping[Side, Run]) -> Report:
    chosen = decided.chosen
    return compose(
        title=_title(out, chosen),
        command=decided.command,
        view_command=f"thinwire view {out}",
        runs=runs,
        labels=LABELS,
        heldout_loss=decided.heldout_loss,
        chosen={name: {side: out / path for side, path in paths.items()} for name, paths in chosen.items()},
        summary=summary,
        choice_rule=CHOICE_RULE,
        twins=Twins(_twin_rule(decided.candidates, decided.first_candidates), list(decided.twins)),
        selection=decided.selection,
        stages=list(decided.stages),
        seconds=summary.seconds,
    )
