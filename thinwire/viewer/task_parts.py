"""What the page shows of one task: the pair, the drawings, the reading, the nodes, the attention."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from thinwire.circuits.anatomy import anatomy
from thinwire.circuits.graph import Circuit
from thinwire.evidence.records import Evidence, HeadLook, PairEvidence, Words
from thinwire.model.sites import EMBED, FINAL, is_in_head, is_read, is_write, node_key, parse_key, part_of
from thinwire.viewer.attention import looks_evenly
from thinwire.viewer.contract import ModelReport, Side, TaskModel, TaskReport, present
from thinwire.viewer.contrast import contrast, differing_tokens
from thinwire.viewer.draw import draw_svg
from thinwire.viewer.markup import Markup, join, printable, tag, token, visible
from thinwire.viewer.reading import reading
from thinwire.viewer.rows import row_key, row_keys
from thinwire.viewer.sides import NAMES
from thinwire.viewer.strips import attention_map, attention_row, bar_strip
from thinwire.viewer.tables import number, row_head, scrolling
from thinwire.viewer.verdicts import badge, verdicts
from thinwire.viewer.wording import loss, percent, plural, signed, upper_first

_MOST_NODES = 150
Models = Mapping[Side, ModelReport]


def _prompt(tokens: Sequence[str], marked: set[int]) -> Markup:
    chips = [
        tag("mark" if i in marked else "span", tag("code", visible(text)), class_="chip")
        for i, text in enumerate(tokens)
    ]  # fmt: skip
    return tag("span", *chips, class_="prompt")


def sentences(*texts: str) -> str:
    """Texts one after the other, each ending in a full stop."""
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in texts if text)


def example_pair(task: TaskReport) -> Markup:
    """The two prompts and their right answers; the tokens in which they differ are marked."""
    shown = [task.models[side].evidence for side in present(task.models)]
    pair = next((evidence.pair for evidence in shown if evidence), None)
    example, rows = task.example, []
    marked = set(differing_tokens(pair.clean_tokens, pair.corrupt_tokens)) if pair else set()
    for side, answer, plain in (("clean", example.answer, example.clean), ("corrupt", example.other, example.corrupt)):
        right = tag("span", "then ", token(answer), class_="then")
        tokens = pair and (pair.clean_tokens if side == "clean" else pair.corrupt_tokens)
        prompt = _prompt(tokens, marked) if tokens else tag("code", printable(plain), class_="prompt")
        rows.append(tag("div", tag("dt", side), tag("dd", prompt, " ", right)))
    return tag("dl", *rows, class_="pair")


def drawing(task: TaskReport, side: Side, models: Models) -> Markup:
    """A circuit's drawing as a figure, its verdict in the caption."""
    part, model = task.models[side], models[side]
    name = f"{task.name}-{side}"
    svg = draw_svg(part.circuit, part.evidence, model.n_layer, model.d_head, standalone=False, name=name)
    size = f"{plural(part.circuit.n_nodes, 'node')}, {plural(part.circuit.n_edges, 'edge')}"
    unsolved = "" if part.target_met else f" It does not meet its target: the best loss was {loss(part.best_loss)}."
    setting = tag("span", f" Found with: {part.setting}.", class_="setting")
    made_of = f" Made of {anatomy(part.circuit.nodes, model.d_head).words}."
    title = tag("strong", upper_first(NAMES[side]))
    words = tag("figcaption", title, f": {size} ", badge(part), f".{unsolved}{made_of}", setting)
    scroll = tag("div", svg, class_="scrolling", tabindex=0, role="region", aria_label=f"{name}, drawing")
    inspector = tag("div", class_="inspector", role="status", hidden=True)
    return tag("figure", words, scroll, inspector, class_="circuit", data_task=task.name, data_side=side)


def steps(task: TaskReport, side: Side, models: Models) -> Markup:
    """The reading of a circuit as an ordered list."""
    part, model = task.models[side], models[side]
    items = [
        tag("li", tag("h4", step.title), *(tag("p", sentence) for sentence in step.sentences),
            data_nodes=" ".join(step.nodes))
        for step in reading(part.circuit, part.evidence, model.n_layer, model.d_head)
    ]  # fmt: skip
    return tag("ol", *items, class_="steps")


Connections = Mapping[str, list[tuple[float, str]]]


def _edge_lists(circuit: Circuit) -> tuple[Connections, Connections]:
    """By node: (weight, words) of the edges that lead to it, and of those that start there."""
    into: dict[str, list[tuple[float, str]]] = defaultdict(list)
    out_of: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for edge in circuit.edges:
        kind = f"{part_of(edge.target_site)[-1]} " if is_in_head(edge.target_site) else ""
        weight = signed(edge.weight)
        into[node_key(edge.target_site, edge.target)].append((edge.weight, f"{edge.source} {weight}"))
        out_of[node_key(edge.source_site, edge.source)].append((edge.weight, f"{kind}{edge.target} {weight}"))
    return into, out_of


def _connections(edges: Sequence[tuple[float, str]], words: Words) -> Markup:
    strongest = [words for _, words in sorted(edges, key=lambda edge: -abs(edge[0]))]
    more = [f"{len(strongest) - 6} more"] if len(strongest) > 6 else []
    parts = [tag("span", words, class_="connection") for words in (*strongest[:6], *more)]
    return tag("td", *parts, *(token(text) for text, _ in words[:4]), class_="connections")


def _stream() -> Markup:
    return tag("td", "residual stream", class_="connections stream")


def _node_row(key: str, evidence: Evidence, into: Connections, out_of: Connections) -> Markup:
    pair, (site, _) = evidence.pair, parse_key(key)
    node, words = pair.nodes[key], evidence.words[key].model
    largest = max(map(abs, (*node.clean, *node.corrupt)), default=0.0)
    sides = (node.clean, pair.clean_tokens), (node.corrupt, pair.corrupt_tokens)
    strips = [tag("td", bar_strip(values, tokens, largest)) for values, tokens in sides]
    at = contrast(node, -1 if site == FINAL else None)
    widest = tag(
        "td", f"{signed(at.clean)} / {signed(at.corrupt)} ", token(pair.clean_tokens[at.position]), class_="words"
    )
    reads = _stream() if is_read(site) else _connections(into[key], words.reads if site == EMBED else [])
    writes = _stream() if is_write(site) else _connections(out_of[key], words.writes if site == FINAL else [])
    return tag("tr", row_head(tag("code", key)), *strips, widest, number(node.mean, signed), reads, writes)


def node_table(task: TaskReport, side: Side, models: Models) -> Markup | None:
    """Every node with its activations on both prompts, side by side; None without evidence."""
    circuit, evidence = task.models[side].circuit, task.models[side].evidence
    if not evidence or not circuit.nodes:
        return None
    rank = {key: i for i, key in enumerate(row_keys(models[side].n_layer))}
    sites = sorted(circuit.nodes, key=lambda site: (rank[row_key(site)], site))
    keys = [node_key(site, channel) for site in sites for channel in circuit.nodes[site]]
    known = [key for key in keys if key in evidence.pair.nodes]
    lists = _edge_lists(circuit)
    rows = [_node_row(key, evidence, *lists) for key in known[:_MOST_NODES]]
    head = ["Node", "Clean", "Corrupt", "Largest difference, at", "Mean", "Reads", "Writes"]
    cells = [tag("th", name, scope="col", class_="number" if name == "Mean" else None) for name in head]
    caption = f"Activations over the prompt's tokens, {NAMES[side]}"
    if len(known) > _MOST_NODES:
        caption += f" (the first {_MOST_NODES} of {len(known)} nodes)"
    inside = [tag("caption", caption), tag("thead", tag("tr", *cells)), tag("tbody", *rows)]
    return scrolling(tag("table", *inside, class_="nodes"), caption)


def attention(task: TaskReport, side: Side) -> Markup | None:
    """For each kept head, what the last token attends to, and the whole patterns; None without evidence.

    Heads that look at all tokens alike have no pattern to show: one line names them all.
    """
    evidence = task.models[side].evidence
    if not evidence or not evidence.pair.attention:
        return None
    looks = sorted(evidence.pair.attention.items())
    even = [(name, look) for name, look in looks if looks_evenly(look)]
    heads = [_head(name, look, evidence.pair) for name, look in looks if not looks_evenly(look)]
    parts = [tag("h3", "Where the last token looks", id=f"heads-{task.name}")]
    if even:
        names = ", ".join(f"layer {name.replace('.', ' head ')}" for name, _ in even)
        share = percent(even[0][1].clean[-1][0])
        parts.append(tag("p", f"At all tokens alike ({share} each on the clean prompt), so they average: {names}."))
    return join([*parts, tag("div", *heads, class_="heads") if heads else None])


def _head(name: str, look: HeadLook, pair: PairEvidence) -> Markup:
    layer, index = name.split(".")
    title = f"Layer {layer}, head {index}"
    rows, maps = [], []
    for prompt, tokens, pattern in (
        ("clean", pair.clean_tokens, look.clean),
        ("corrupt", pair.corrupt_tokens, look.corrupt),
    ):
        rows.append(tag("div", tag("dt", prompt), tag("dd", attention_row(pattern[-1], tokens))))
        picture = attention_map(pattern, tokens, f"{title}, {prompt} prompt")
        maps.append(tag("figure", tag("figcaption", prompt), picture))
    summary = tag("summary", "Whole pattern: a row for each token that looks")
    whole = tag("details", summary, tag("div", *maps, class_="maps"))
    return tag("div", tag("h4", title), tag("dl", *rows, class_="pair"), whole, class_="head")


def _size(part: TaskModel, name: str) -> Markup:
    size = plural(part.circuit.n_edges, "edge") if part.target_met else "no circuit met the target"
    weak = "" if part.standing.model_does else " (the whole model does not do it)"
    return tag("span", f"{name}: {size}{weak} ", badge(part), class_="size")


def task_details(task: TaskReport, models: Models) -> Markup:
    """One further task, folded: both drawings, the reading, the nodes. The folded row has the verdicts."""
    first = present(task.models)[0]
    sizes = [_size(task.models[side], NAMES[side]) for side in present(task.models)]
    summary = tag("summary", tag("h3", task.name), tag("span", *sizes, class_="sizes"))
    words = tag("p", sentences(task.description, task.excluded_cue), class_="prose")
    drawings = tag("div", *(drawing(task, side, models) for side in present(task.models)), class_="two")
    title = tag("h4", f"Reading the circuit of the {NAMES[first]}")
    read = tag("div", title, steps(task, first, models), class_="prose")
    nodes = node_table(task, first, models)
    fold = tag("details", tag("summary", f"Nodes of the circuit of the {NAMES[first]}"), nodes) if nodes else None
    tests = verdicts(task)
    judged = tag("details", tag("summary", "Tests of the circuits"), tests) if tests else None
    return tag("details", summary, words, example_pair(task), drawings, read, attention(task, first), judged, fold,
               class_="task", id=f"task-{task.name}")  # fmt: skip
