"""report.html: artefacts read into the records that the page is drawn from (viewer/contract.py).

A run's report and a demo's comparison are composed by the same functions; they differ in what they are handed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from thinwire.circuits.artefact import StoredCircuit, load_circuit
from thinwire.circuits.graph import Circuit
from thinwire.circuits.prompts import Prompts
from thinwire.circuits.solved import SOLVED_MEANS, standing
from thinwire.data.tokenizer import Tokenizer
from thinwire.evidence.gather import evidence
from thinwire.frontier.compare import SWEEPS, Summary, Verified, cell, smallest, summarise
from thinwire.model.structure import count_parameters
from thinwire.progress import Progress, silent
from thinwire.pruning.requirement import REQUIREMENTS
from thinwire.runs.run import Run, load_run, take_threads
from thinwire.runs.selection import Choice, choose_circuits
from thinwire.runs.settings import RUNGS, asked_name, settings_words
from thinwire.runs.stored import open_circuit, open_measured
from thinwire.runs.trained import FINAL_TOKENS, Trained
from thinwire.runs.verdicts import stored_verification
from thinwire.storage.files import add_sealed, write_atomic
from thinwire.storage.records import plain
from thinwire.tasks.answers import PREFIX
from thinwire.tasks.registry import all_tasks, get_task
from thinwire.training.savings import summary as savings
from thinwire.verification.stored import StoredVerification
from thinwire.viewer.contract import (
    SIDES,
    Compared,
    Corpus,
    CurvePoint,
    ExamplePair,
    Means,
    ModelReport,
    Report,
    Rung,
    Side,
    Sizes,
    TaskModel,
    TaskReport,
    Way,
)
from thinwire.viewer.report import render_report
from thinwire.workflows.baselines import stored_comparison
from thinwire.workflows.judgement import stored_judgement
from thinwire.workflows.train import CURVE_TOKENS

COUNTED = {
    "n_edges_unswept": "induced edges before the sweep",
    "n_edges": "induced edges after the sweep of nodes",
    "n_minimal_edges": "minimal edges, after the sweep of edges",
}
CURVE_POINTS = 240
"""At most so many points of a training curve go into a page."""


def compose(
    title: str,
    command: str,
    view_command: str,
    runs: Mapping[Side, Run],
    labels: Mapping[Side, str],
    heldout_loss: Mapping[Side, float],
    chosen: Mapping[str, Mapping[Side, Path]],
    summary: Summary,
    choice_rule: str,
    **more: Any,
) -> Report:
    """The report of `chosen` circuits (task -> model -> directory) of one run, or of two that are compared."""
    first = next(runs[side] for side in SIDES if side in runs)
    tasks = [
        task_report(name, {side: (runs[side], path) for side, path in paths.items()}) for name, paths in chosen.items()
    ]
    return Report(
        title=title,
        command=command,
        view_command=view_command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=plain(first.environment),
        corpus=corpus_report(first),
        models={side: model_report(run, labels[side], heldout_loss[side]) for side, run in runs.items()},
        tasks=tasks,
        means=means_report(summary),
        solved_means=SOLVED_MEANS,
        choice_rule=choice_rule,
        **more,
    )


def model_report(run: Run, label: str, heldout_loss: float) -> ModelReport:
    config, counts, rows = run.config, count_parameters(run.model), run.metrics
    every = max(1, len(rows) // CURVE_POINTS)
    kept = [row for i, row in enumerate(rows) if i % every == 0 or row.heldout_loss is not None or i == len(rows) - 1]
    bigram = run.model.bigram
    return ModelReport(
        label=label,
        recipe=config.recipe,
        mode=config.train.mode,
        savings=savings(rows),
        n_layer=config.model.n_layer,
        d_model=config.model.d_model,
        d_head=config.model.d_head,
        context=config.model.context,
        density=run.density,
        n_parameters=counts["parameters"],
        n_nonzero=counts["nonzero"],
        n_bigram=0 if bigram is None else bigram.numel(),
        n_tokens=rows[-1].tokens,
        heldout_loss=heldout_loss,
        n_loss_tokens=run.windows(FINAL_TOKENS)[:, 1:].numel(),
        n_curve_tokens=run.windows(CURVE_TOKENS)[:, 1:].numel(),
        curve=[
            CurvePoint(row.step, row.tokens, row.loss, row.density, row.learning_rate, row.heldout_loss) for row in kept
        ],
        fingerprint=run.fingerprint,
    )


def corpus_report(run: Run) -> Corpus:
    corpus = run.corpus
    return Corpus(
        source=corpus.source,
        sha256=corpus.sha256,
        n_files=corpus.n_files,
        n_bytes=corpus.n_bytes,
        n_train_tokens=run.metrics[-1].tokens,
        n_heldout_tokens=len(run.heldout),
    )


def task_report(name: str, circuits: Mapping[Side, tuple[Run, Path]]) -> TaskReport:
    """A task's words, its first test pair as the circuit stores it, and its circuits.

    A task from a file, which may be gone by now, is described by its answers.
    """
    opened: dict[Side, tuple[Run, StoredCircuit]] = {
        side: (run, open_measured(run, path)) for side, (run, path) in circuits.items()
    }
    run, stored = next(opened[side] for side in SIDES if side in opened)
    answer, other = stored.circuit.answer_texts
    description = f"Answer {answer!r} after the clean and {other!r} after the corrupt prompts."
    excluded_cue = "None is stated: the pairs come from a file."
    if name in all_tasks():
        description, excluded_cue = get_task(name).description, get_task(name).excluded_cue
    return TaskReport(
        name=name,
        description=description,
        excluded_cue=excluded_cue,
        example=_example(stored, run.tokenizer),
        models={side: task_model(run, stored, circuits[side][1]) for side, (run, stored) in opened.items()},
    )


def _example(stored: StoredCircuit, tokenizer: Tokenizer) -> ExamplePair:
    answer, other = stored.circuit.answer_texts
    clean, corrupt = (prompt_text(stored, tokenizer, side) for side in ("clean", "corrupt"))
    return ExamplePair(clean, corrupt, answer, other)


def prompt_text(stored: StoredCircuit, tokenizer: Tokenizer, side: Literal["clean", "corrupt"] = "clean") -> str:
    """The first test prompt of a circuit as a person would type it: without the newline before every one."""
    pairs = stored.pairs["test"]
    ids, lengths = (pairs.clean, pairs.clean_length) if side == "clean" else (pairs.corrupt, pairs.corrupt_length)
    return tokenizer.decode(ids[0, : lengths[0]].tolist()).removeprefix(PREFIX)


def task_model(run: Run, stored: StoredCircuit, path: Path) -> TaskModel:
    """One circuit, with all that was measured of it; evidence is of its first test pair."""
    circuit, prompts = stored.circuit, Prompts.of(stored.pairs["test"], run.device)
    return TaskModel(
        circuit=circuit,
        setting=settings_words(circuit.hyperparameters),
        standing=standing(circuit),
        n_test_prompts=2 * prompts.n_pairs,
        judgement=stored_judgement(path),
        evidence=evidence(run.model, circuit, stored.means, prompts, 0, run.tokenizer),
        baselines=_compared(path),
        ladder=ladder_of(run, circuit),
    )


def ladder_of(run: Trained, shown: Circuit) -> list[Rung]:
    """The smallest circuit of the same task for everything that was asked of one, the weakest requirement first.

    Only circuits of which the same was asked in everything else count: target, stand-ins, norm scales. Empty where
    there is one requirement alone.
    """
    asked: dict[str, list[tuple[Path, Circuit]]] = {}
    for path in run.circuits_of(shown.task):
        circuit = open_circuit(run, path).circuit
        if _asked_beside(circuit) == _asked_beside(shown):
            asked.setdefault(circuit.requirement, []).append((path, circuit))
    if set(asked) <= {shown.requirement}:
        return []
    order = [name for name in REQUIREMENTS if name in asked]
    return [_rung(asked[name]) for name in [*order, *(name for name in asked if name not in order)]]


def _asked_beside(circuit: Circuit) -> str:
    """What was asked of a circuit beside its requirement."""
    return asked_name(circuit.hyperparameters, apart_from=RUNGS)


def _rung(found: Sequence[tuple[Path, Circuit]]) -> Rung:
    path, circuit = found[smallest([circuit for _, circuit in found])]
    judged = stored_judgement(path)
    return Rung(
        requirement=circuit.requirement,
        met=circuit.target_met,
        not_met=circuit.not_met,
        n_nodes=circuit.n_nodes,
        n_edges=circuit.n_edges,
        verdict=judged.verdict if judged else "",
    )


def _compared(path: Path) -> Compared | None:
    found = stored_comparison(path)
    if found is None:
        return None
    ways = [
        Way(way.method, way.edges, way.test_loss, way.test_accuracy, way.n_edges_to_target, way.n_edges_swept)
        for way in found.methods
    ]
    return Compared(ways, found.completeness_gap)


def means_report(summary: Summary) -> Means:
    """Sizes over the tasks that `summary` compares, and why the others are left out."""
    sizes = [
        Sizes(
            counted=COUNTED[key],
            means={side: summary.sweeps[key].get(side) for side in SIDES if side in summary.heldout_loss},
            ratio=summary.sweeps[key]["ratio"],
        )
        for key in SWEEPS
    ]
    return Means(
        tasks=list(summary.tasks_compared),
        left_out=dict(summary.tasks_left_out),
        sizes=sizes,
        headline=sizes[SWEEPS.index("n_edges")],
    )


@dataclass(frozen=True)
class Reported:
    """What `thinwire report` prints."""

    run: str
    report: str
    """The page."""
    heldout_loss: float
    """Nats per token."""
    rule: str
    """How the circuits were chosen."""
    circuits: Mapping[str, str]
    """Task -> directory."""


def report_run(
    run_path: str | Path,
    out: str | Path | None = None,
    *,
    where: Sequence[str] = (),
    device: str = "auto",
    progress: Progress = silent,
) -> Reported:
    """Write the report of one run's circuits to `out`, by default report.html inside the run; `where` narrows them.

    Raises `UserError` when the run holds no circuits, or none that meet `where`, or such as were asked for different
    things.
    """
    run = take_threads(load_run(run_path, device))
    choice = choose_circuits(run, where)
    judged = {name: verified(stored_verification(path)) for name, path in choice.circuits.items()}
    loss = run.checked_heldout_loss(progress)
    page = render_report(_run_report(run, choice, judged, loss, where))
    if out is None:
        add_sealed(run.home, "report.html", page)
    else:
        out = Path(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, page)
    return Reported(
        run=str(run_path),
        report=str(out or run.home / "report.html"),
        heldout_loss=loss,
        rule=choice.rule,
        circuits={name: str(path) for name, path in choice.circuits.items()},
    )


def _run_report(
    run: Run, choice: Choice, judged: Mapping[str, Verified | None], loss: float, where: Sequence[str]
) -> Report:
    side: Side = "sparse" if run.config.train.density < 1 else "dense"
    found = choice.circuits
    cells = {name: {side: cell(load_circuit(path).circuit, judged[name])} for name, path in found.items()}
    narrowed = f" --where {' '.join(where)}" if where else ""
    return compose(
        title=f"Circuits of {run.name}",
        command=f"thinwire report {run.home}{narrowed}",
        view_command=f"thinwire view {run.home}{narrowed}",
        runs={side: run},
        labels={side: "weight-sparse" if side == "sparse" else "dense"},
        heldout_loss={side: loss},
        chosen={name: {side: path} for name, path in found.items()},
        summary=summarise({side: loss}, cells, run.metrics[-1].seconds),
        choice_rule=choice.rule,
        seconds=run.metrics[-1].seconds,
    )


def verified(found: StoredVerification | None) -> Verified | None:
    """What a table says of a verification; None where the circuit was not verified."""
    if found is None:
        return None
    return Verified(found.verdict, found.necessity.nodes_loss, found.necessity.random_mean)
