"""One self-contained page for the circuits of a run, of a demo, or for one circuit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thinwire.circuits.artefact import StoredCircuit
from thinwire.circuits.graph import Circuit
from thinwire.circuits.isolated import IsolatedCircuit, isolate_circuit
from thinwire.circuits.prompts import Prompts, logit_difference, task_loss
from thinwire.circuits.solved import standing
from thinwire.data.tokenizer import Tokenizer
from thinwire.errors import MissingFile, UserError
from thinwire.evidence.classes import class_differences
from thinwire.evidence.degrees import degrees
from thinwire.evidence.effects import edge_effects, effect, node_effects
from thinwire.evidence.examples import circuit_examples, node_examples
from thinwire.evidence.gather import pair_evidence
from thinwire.evidence.logit_lens import node_words
from thinwire.evidence.records import Examples
from thinwire.interop.neuronpedia import neuronpedia_graph
from thinwire.interop.node_dashboards import Text, node_batches
from thinwire.model.sites import node_key, parse_key
from thinwire.progress import Progress, silent
from thinwire.runs.run import located, open_run, opened
from thinwire.runs.selection import Where, select
from thinwire.runs.settings import settings_words
from thinwire.runs.stored import directory_of, open_circuit, open_measured, run_of
from thinwire.runs.trained import Trained, names_of
from thinwire.storage.files import (
    check_unused,
    is_sealed,
    new_directory,
    read_sealed_record,
    record_json,
    to_json,
    write_atomic,
)
from thinwire.viewer.constants import NOT_VERIFIED
from thinwire.viewer.page import render_view, sandboxed
from thinwire.viewer.view_contract import (
    Ladder,
    LadderStep,
    LiveView,
    View,
    ViewCircuit,
    ViewModel,
    ViewNode,
    ViewOutline,
)
from thinwire.viewer.wording import plural
from thinwire.workflows.decided import DEMO_FILE, Decided
from thinwire.workflows.judgement import stored_judgement
from thinwire.workflows.report import ladder_of, prompt_text

N_PAIRS = 6
"""Prompt pairs of the test split that a page shows."""
NODE_PAIRS, EDGE_PAIRS = 16, 8
"""Pairs, the first ones of the test split, on which the effect of taking a node or an edge out is measured."""
NODE_EFFECTS = 600
"""Nodes up to which the effect of each is measured; each takes one forward pass."""
EDGE_EFFECTS = 200
"""Edges, the strongest first, whose effect is measured; each takes one forward pass."""
TEXT_WINDOWS = 128
"""Windows of held-out text that examples and histograms come from."""
LADDER_STEPS = 12
GRAPH_LIMIT = 1000
"""Edges up to which a page carries the circuit as Neuronpedia's graph; `graph` writes it for any size."""
EXAMPLE_LIMIT = 500
"""Nodes, those with the largest effects first, for which a page carries examples from text."""


@dataclass(frozen=True)
class Chosen:
    """A circuit to show: its run, its directory, and the name of its model on the page."""

    model: str
    run: Trained
    path: Path


@dataclass(frozen=True)
class ShownCircuit:
    """A circuit on a page."""

    model: str
    path: str


@dataclass(frozen=True)
class Viewed:
    """What `thinwire view` prints."""

    view: str
    """The page."""
    bytes: int
    circuits: tuple[ShownCircuit, ...]
    graph: str | None = None
    """The first circuit as Neuronpedia's graph, where one was asked for."""
    examples: str | None = None
    """Examples of its nodes, where they were asked for."""


def choose(paths: Sequence[str | Path], device: str = "auto", where: Sequence[str] = ()) -> list[Chosen]:
    """The circuits that `paths` name: a circuit's directory, a run, or a demo (both its models); `where` narrows them.

    Raises `MissingFile` when there is nothing at a path, `UserError` when it holds no circuit.
    """
    chosen = _told_apart([item for path in paths for item in _choose(located(path), device)])
    meant = set(select([item.path for item in chosen], Where.of(where)))
    chosen = [item for item in chosen if item.path in meant]
    if not chosen:
        raise UserError(f"{paths[0]} holds no circuits; find some with: thinwire prune {paths[0]} single_double_quote")
    return chosen


def _told_apart(chosen: Sequence[Chosen]) -> list[Chosen]:
    """The same with one `Trained` for each model, and another name for each."""
    homes = [item.run.home.resolve() for item in chosen]
    runs = {home: item.run for home, item in zip(homes, chosen, strict=True)}
    names = dict(zip(runs, names_of(list(runs.values())), strict=True))
    return [Chosen(names[home], runs[home], item.path) for home, item in zip(homes, chosen, strict=True)]


def _choose(path: Path, device: str) -> list[Chosen]:
    if is_sealed(path, "circuit.json"):
        run = run_of(path, device)
        return [Chosen(run.name, run, path)]
    if is_sealed(path, DEMO_FILE):
        return _choose_demo(path, device)
    if not is_sealed(path):
        raise MissingFile(f"{path} holds no circuit and no run; name a run, a demo or a circuit's directory")
    run = open_run(path, device)
    return [Chosen(run.name, run, found) for found in run.circuit_directories()]


def _choose_demo(path: Path, device: str) -> list[Chosen]:
    decided = read_sealed_record(Decided, path, DEMO_FILE)
    if not decided.chosen:
        raise UserError(f"{path} is not finished; go on with: thinwire demo --out {path} --resume")
    runs = {kind: open_run(path / kind, device) for kind in ("sparse", "dense")}
    return [
        Chosen(runs[kind].name, runs[kind], path / circuit)
        for paths in decided.chosen.values()
        for kind, circuit in paths.items()
    ]


def view(
    paths: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    graph: Path | None = None,
    examples: Path | None = None,
    where: Sequence[str] = (),
    device: str = "auto",
    progress: Progress = silent,
) -> Viewed:
    """Write the page of the circuits under `paths` to `out`, by default view.html in the first path.

    `graph` also writes the first circuit as Neuronpedia's graph JSON, `examples` the examples of its nodes in held-out
    text into a new directory, a file for each site, as SAEDashboard does.
    """
    chosen = choose(paths, device, where)
    if examples is not None:
        check_unused(examples)
    shown = gather(chosen, progress)
    page = render_view(shown)
    out = Path(out) if out else located(paths[0]) / "view.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, page)
    if graph is not None:
        write_atomic(Path(graph), to_json(_graph(chosen[0])))
    if examples is not None:
        _write_examples(examples, chosen[0], shown.circuits[0])
    return Viewed(
        view=str(out),
        bytes=len(page.encode()),
        circuits=tuple(ShownCircuit(item.model, str(item.path)) for item in chosen),
        graph=None if graph is None else str(graph),
        examples=None if examples is None else str(examples),
    )


def _graph(item: Chosen) -> dict[str, Any]:
    stored, model = open_circuit(item.run, item.path), item.run.model
    prompts = Prompts.of(stored.pairs["test"], item.run.device)
    means = stored.means
    found = pair_evidence(model, stored.circuit, means, prompts, 0, item.run.tokenizer)
    words = node_words(model, stored.circuit.nodes, item.run.tokenizer.token_text)
    return neuronpedia_graph(stored.circuit, found, model.config.n_layer, model.config.d_head, item.model, words)


def _write_examples(directory: Path, item: Chosen, shown: ViewCircuit) -> None:
    """One file for each site, `0.mlp.neuron.json`."""
    nodes = {key: (node.said, node.text) for key, node in shown.nodes.items() if node.text}
    windows = item.run.windows(TEXT_WINDOWS * item.run.context)
    text = Text(f"held-out text of {item.model}", len(windows), windows.shape[1] - 1)
    batches = node_batches(item.model, item.run.model_config.n_layer, nodes, text, item.run.tokenizer.token_text)
    with new_directory(directory) as made:
        for site, batch in batches.items():
            write_atomic(made / f"{site}.json", record_json(batch))


class Shown:
    """A page in a notebook."""

    def __init__(self, page: str, height: int) -> None:
        self.page = page
        self.height = height

    def _repr_html_(self) -> str:
        return sandboxed(self.page, self.height)


def show(
    run: Trained | str | Path, circuit: Circuit | str | Path, *, height: int = 720, progress: Progress = silent
) -> Shown:
    """The viewer of one circuit of `run`, in a notebook: a sandboxed iframe without any network.

    `run` is what `thinwire.load` gave, or its directory; `circuit` is one that `thinwire.prune` returned, or the
    directory of one. Raises `UserError` when the run does not hold it.
    """
    run = opened(run)
    path = directory_of(run, circuit)
    return Shown(render_view(gather([Chosen(run.name, run, path)], progress)), height)


def gather(chosen: Sequence[Chosen], progress: Progress = silent) -> View:
    """The data of one page: every circuit with its effects, examples and prompt pairs."""
    found, tokens = [], {}
    with progress("viewer", total=len(chosen), unit="circuit") as advance:
        for item in chosen:
            entry = gather_circuit(item)
            found.append(entry)
            tokens |= examples_tokens(entry, item.run.tokenizer)
            advance(1)
    return View(
        title=_title(found),
        models=_models(chosen, progress),
        circuits=found,
        tokens=tokens,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def outline(chosen: Sequence[Chosen], progress: Progress = silent) -> LiveView:
    """The data of a live page: what is stored of every circuit. Models of no stored held-out loss are measured."""
    found = []
    for item in chosen:
        stored = open_circuit(item.run, item.path)
        circuit = stored.circuit
        outlined = ViewOutline(
            id=circuit_id(item, circuit),
            model=item.model,
            setting=settings_words(circuit.hyperparameters),
            circuit=circuit,
            standing=standing(circuit),
            judgement=stored_judgement(item.path),
            first_prompt=prompt_text(stored, item.run.tokenizer),
        )
        found.append(outlined)
    return LiveView(
        title=_title(found),
        models=_models(chosen, progress),
        circuits=found,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def examples_tokens(entry: ViewCircuit, tokenizer: Tokenizer) -> dict[str, str]:
    """Id -> text of every token in the examples of a circuit's nodes."""
    return {str(token): tokenizer.token_text(token) for token in _token_ids(entry.nodes.values())}


def _title(found: Sequence[ViewCircuit] | Sequence[ViewOutline]) -> str:
    """What is shown, and what its verification says of it."""
    names = sorted({entry.circuit.task for entry in found})
    if len(found) == 1:
        verdict = found[0].judgement and found[0].judgement.verdict
        return f"{names[0]}: a circuit ({verdict or NOT_VERIFIED})"
    return f"{plural(len(names), 'task')}, {plural(len(found), 'circuit')}"


def _models(chosen: Sequence[Chosen], progress: Progress) -> dict[str, ViewModel]:
    """Name on the page -> model, each looked at once."""
    runs = {item.model: item.run for item in chosen}
    return {name: _view_model(run, progress) for name, run in runs.items()}


def _view_model(run: Trained, progress: Progress) -> ViewModel:
    c = run.model_config
    return ViewModel(
        n_layer=c.n_layer,
        d_model=c.d_model,
        d_head=c.d_head,
        density=run.density,
        heldout_loss=run.heldout_loss(progress),
        fingerprint=run.fingerprint,
    )


def _token_ids(nodes: Iterable[ViewNode]) -> Iterable[int]:
    for node in nodes:
        for found in (node.text, node.task):
            for example in (*found.positive, *found.negative) if found else ():
                yield from example.tokens


def circuit_id(item: Chosen, circuit: Circuit) -> str:
    """Name of a circuit on the page and in links: model/task/settings/seed."""
    return f"{item.model}/{circuit.task}/{item.path.resolve().parent.name[:6]}/{circuit.seed}"


def gather_circuit(item: Chosen) -> ViewCircuit:
    """What the page shows of one circuit. Raises `UserError` when it belongs to another model, `CorruptFile` when it
    does not give the test loss that it states."""
    run, stored = item.run, open_measured(item.run, item.path)
    circuit, model = stored.circuit, run.model
    prompts = Prompts.of(stored.pairs["test"], run.device)
    alone = isolate_circuit(model, circuit, stored.means, prompts)
    few, fewer = (alone.on(_first(prompts, n)) for n in (NODE_PAIRS, EDGE_PAIRS))
    effects = node_effects(few) if circuit.n_nodes <= NODE_EFFECTS else {}
    base = effect(few)
    order = sorted(effects, key=lambda key: -effects[key].loss)
    n_pairs = min(N_PAIRS, prompts.n_pairs)
    pairs = [pair_evidence(model, circuit, stored.means, prompts, i, run.tokenizer) for i in range(n_pairs)]
    small = circuit.n_edges <= GRAPH_LIMIT
    nodes = _nodes(item, stored, alone, {key: e.loss - base.loss for key, e in effects.items()})
    words, c = {key: node.said for key, node in nodes.items()}, model.config
    return ViewCircuit(
        id=circuit_id(item, circuit),
        model=item.model,
        setting=settings_words(circuit.hyperparameters),
        circuit=circuit,
        standing=standing(circuit),
        n_test_prompts=2 * prompts.n_pairs,
        base=base,
        node_prompts=2 * few.prompts.n_pairs,
        edge_prompts=2 * fewer.prompts.n_pairs,
        pairs=pairs,
        nodes=nodes,
        edge_effects=_edges(circuit, fewer),
        ladder=_ladder(few, order),
        judgement=stored_judgement(item.path),
        requirements=ladder_of(run, circuit),
        graph=neuronpedia_graph(circuit, pairs[0], c.n_layer, c.d_head, item.model, words) if small else None,
    )


def _first(prompts: Prompts, n: int) -> Prompts:
    return prompts.pairs(torch.arange(min(n, prompts.n_pairs), device=prompts.tokens.device))


def _nodes(
    item: Chosen, stored: StoredCircuit, alone: IsolatedCircuit, effects: Mapping[str, float]
) -> dict[str, ViewNode]:
    model, circuit, run = item.run.model, stored.circuit, item.run
    shown = _most_effective(circuit, effects)
    text: Tensor = run.windows(TEXT_WINDOWS * run.context)[:, :-1]
    lengths = torch.full((len(text),), text.shape[1], device=run.device)
    in_text: Mapping[str, Examples] = node_examples(model, shown, text, lengths)
    in_task: Mapping[str, Examples] = circuit_examples(alone, shown)
    classes, weights = class_differences(alone, shown), degrees(model, circuit.nodes)
    nodes = {}
    for key, said in node_words(model, circuit.nodes, run.tokenizer.token_text).items():
        site, channel = parse_key(key)
        mean = float(stored.means[site][channel])
        nodes[key] = ViewNode(
            said, mean, effects.get(key), in_text.get(key), in_task.get(key), classes.get(key), weights[key]
        )
    return nodes


def _most_effective(circuit: Circuit, effects: Mapping[str, float]) -> dict[str, list[int]]:
    """All nodes, or in a very large circuit the `EXAMPLE_LIMIT` first by effect."""
    keys = [(site, channel) for site, channels in circuit.nodes.items() for channel in channels]
    keys.sort(key=lambda node: -abs(effects.get(node_key(*node), 0.0)))
    kept = set(keys[:EXAMPLE_LIMIT])
    return {site: [c for c in channels if (site, c) in kept] for site, channels in circuit.nodes.items()}


def _edges(circuit: Circuit, alone: IsolatedCircuit) -> dict[str, float]:
    """Position of an edge in the circuit's list -> rise of the loss without it."""
    order = sorted(range(len(circuit.edges)), key=lambda i: -abs(circuit.edges[i].weight))[:EDGE_EFFECTS]
    base = effect(alone)
    found = edge_effects(alone, [circuit.edges[i] for i in order])
    return {str(i): found[circuit.edges[i]].loss - base.loss for i in order}


def _ladder(alone: IsolatedCircuit, order: Sequence[str]) -> Ladder:
    """Loss when only the k nodes with the largest effects are kept, at about `LADDER_STEPS` values of k."""
    counts = {max(1, round(len(order) * (i + 1) / LADDER_STEPS)) for i in range(LADDER_STEPS)} if order else set()
    steps = []
    for k in sorted(counts):
        kept: dict[str, list[int]] = {}
        for site, channel in map(parse_key, order[:k]):
            kept.setdefault(site, []).append(channel)
        found = effect(replace(alone, nodes=kept))
        steps.append(LadderStep(k, found.loss, found.accuracy))
    whole = task_loss(logit_difference(alone.model, alone.prompts), alone.prompts.sign)
    return Ladder(list(order), steps, float(whole))
