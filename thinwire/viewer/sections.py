"""What the page shows of one task: the pair, the drawings, the reading, the nodes, the attention."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from thinwire.viewer.contrast import contrast, differing_tokens
from thinwire.viewer.draw import draw_svg
from thinwire.viewer.markup import Markup, join, printable, tag, token, visible
from thinwire.viewer.reading import reading
from thinwire.viewer.rows import is_write, row_key, row_keys
from thinwire.viewer.sides import NAMES, best_loss, is_solved, present
from thinwire.viewer.strips import attention_map, attention_row, bar_strip
from thinwire.viewer.tables import number, row_head, scrolling
from thinwire.viewer.verdicts import verdicts
from thinwire.viewer.wording import loss, plural, signed

_MOST_NODES = 150


def _prompt(task: Mapping[str, Any], side: str, pair: Mapping[str, Any] | None) -> Markup:
    if pair is None:
        return tag("code", printable(task["example"][side]), class_="prompt")
    marked = set(differing_tokens(pair["clean_tokens"], pair["corrupt_tokens"]))
    chips = [
        tag("mark" if i in marked else "span", tag("code", visible(text)), class_="chip")
        for i, text in enumerate(pair[f"{side}_tokens"])
    ]  # fmt: skip
    return tag("span", *chips, class_="prompt")


def sentences(*texts: str) -> str:
    """Texts one after the other, each ending in a full stop."""
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in texts if text)


def example_pair(task: Mapping[str, Any]) -> Markup:
    """The two prompts and their right answers; the tokens in which they differ are marked."""
    evidence = next((task[side]["evidence"] for side in present(task) if task[side]["evidence"]), None)
    pair = evidence["pair"] if evidence else None
    rows = []
    for side, answer in (("clean", "answer"), ("corrupt", "other")):
        right = tag("span", "then ", token(task["example"][answer]), class_="then")
        rows.append(tag("div", tag("dt", side), tag("dd", _prompt(task, side, pair), " ", right)))
    return tag("dl", *rows, class_="pair")


def drawing(task: Mapping[str, Any], side: str, models: Mapping[str, Any], caption: object = "") -> Markup:
    """A circuit's drawing as a figure."""
    part, model = task[side], models[side]
    name = f"{task['name']}-{side}"
    svg = draw_svg(part["circuit"], part["evidence"], model["n_layer"], model["d_head"], standalone=False, name=name)
    circuit = part["circuit"]
    size = f"{plural(circuit['n_nodes'], 'node')}, {plural(circuit['n_edges'], 'edge')}"
    unsolved = "" if is_solved(part) else f" Not solved: the best loss was {loss(best_loss(circuit))}."
    words = tag("figcaption", tag("strong", NAMES[side].capitalize()), f": {size}.{unsolved} ", caption)
    scroll = tag("div", Markup(svg), class_="scrolling", tabindex=0, role="region", aria_label=f"{name}, drawing")
    inspector = tag("div", class_="inspector", role="status", hidden=True)
    return tag("figure", words, scroll, inspector, class_="circuit", data_task=task["name"], data_side=side)


def steps(task: Mapping[str, Any], side: str, models: Mapping[str, Any]) -> Markup:
    """The reading of a circuit as an ordered list."""
    part, model = task[side], models[side]
    items = [
        tag("li", tag("h4", step.title), *(tag("p", sentence) for sentence in step.sentences),
            data_nodes=" ".join(step.nodes))
        for step in reading(part["circuit"], part["evidence"], model["n_layer"], model["d_head"])
    ]  # fmt: skip
    return tag("ol", *items, class_="steps")


def _edge_lists(circuit: Mapping[str, Any]) -> dict[str, dict[str, list[tuple[float, str]]]]:
    lists: dict[str, dict[str, list[tuple[float, str]]]] = {"in": defaultdict(list), "out": defaultdict(list)}
    for source_site, source, target_site, target, weight in circuit["edges"]:
        kind = target_site.rsplit(".", 1)[1] + " " if target_site.endswith((".q", ".k", ".v")) else ""
        lists["in"][f"{target_site}:{target}"].append((weight, f"{source} {signed(weight)}"))
        lists["out"][f"{source_site}:{source}"].append((weight, f"{kind}{target} {signed(weight)}"))
    return lists


def _connections(edges: list[tuple[float, str]], tokens: list[str]) -> Markup:
    strongest = [words for _, words in sorted(edges, key=lambda edge: -abs(edge[0]))]
    more = [f"{len(strongest) - 6} more"] if len(strongest) > 6 else []
    parts = [tag("span", words, class_="connection") for words in (*strongest[:6], *more)]
    return tag("td", *parts, *(token(text) for text in tokens[:4]), class_="connections")


def _stream() -> Markup:
    return tag("td", "residual stream", class_="connections stream")


def _node_row(key: str, evidence: Mapping[str, Any], lists: Mapping[str, Any]) -> Markup:
    node, pair = evidence["nodes"][key], evidence["pair"]
    largest = max(map(abs, (*node["clean"], *node["corrupt"])), default=0.0)
    strips = [tag("td", bar_strip(node[side], pair[f"{side}_tokens"], largest)) for side in ("clean", "corrupt")]
    at = contrast(node)
    where = pair["clean_tokens"][at.position]
    widest = tag("td", f"{signed(at.clean)} / {signed(at.corrupt)} ", token(where), class_="words")
    site = key.split(":")[0]
    tokens_in, tokens_out = node["reads"] if site == "embed" else [], node["writes"] if site == "final" else []
    reads = _stream() if site.endswith((".in", "final")) else _connections(lists["in"][key], tokens_in)
    writes = _stream() if is_write(site) else _connections(lists["out"][key], tokens_out)
    return tag("tr", row_head(tag("code", key)), *strips, widest, number(node["mean"], signed), reads, writes)


def node_table(task: Mapping[str, Any], side: str, models: Mapping[str, Any]) -> Markup | None:
    """Every node with its activations on both prompts, side by side; None without evidence."""
    part = task[side]
    circuit, evidence = part["circuit"], part["evidence"]
    if not evidence or not circuit["nodes"]:
        return None
    rank = {key: i for i, key in enumerate(row_keys(models[side]["n_layer"]))}
    sites = sorted(circuit["nodes"], key=lambda site: (rank[row_key(site)], site))
    keys = [f"{site}:{channel}" for site in sites for channel in circuit["nodes"][site]]
    known = [key for key in keys if key in evidence["nodes"] and evidence["nodes"][key]["clean"]]
    lists = _edge_lists(circuit)
    rows = [_node_row(key, evidence, lists) for key in known[:_MOST_NODES]]
    head = ["Node", "Clean", "Corrupt", "Largest difference, at", "Mean", "Reads", "Writes"]
    cells = [tag("th", name, scope="col", class_="number" if name == "Mean" else None) for name in head]
    caption = f"Activations over the prompt's tokens, {NAMES[side]}"
    if len(known) > _MOST_NODES:
        caption += f" (the first {_MOST_NODES} of {len(known)} nodes)"
    body = tag("tbody", *rows)
    inside = [tag("caption", caption), tag("thead", tag("tr", *cells)), body]
    return scrolling(tag("table", *inside, class_="nodes"), caption)


def attention(task: Mapping[str, Any], side: str) -> Markup | None:
    """For each kept head, what the last token attends to, and the whole patterns; None without evidence."""
    evidence = task[side]["evidence"]
    if not evidence or not evidence["attention"]:
        return None
    heads = []
    for head, patterns in sorted(evidence["attention"].items()):
        layer, index = head.split(".")
        name = f"Layer {layer}, head {index}"
        rows, maps = [], []
        for prompt in ("clean", "corrupt"):
            tokens, pattern = evidence["pair"][f"{prompt}_tokens"], patterns[prompt]
            if pattern:
                rows.append(tag("div", tag("dt", prompt), tag("dd", attention_row(pattern[-1], tokens))))
                picture = attention_map(pattern, tokens, f"{name}, {prompt} prompt")
                maps.append(tag("figure", tag("figcaption", prompt), picture))
        title = tag("summary", "Whole pattern: a row for each token that looks")
        whole = tag("details", title, tag("div", *maps, class_="maps"))
        heads.append(tag("div", tag("h4", name), tag("dl", *rows, class_="pair"), whole, class_="head"))
    return join(
        [tag("h3", "Where the last token looks", id=f"heads-{task['name']}"), tag("div", *heads, class_="heads")]
    )


def task_details(task: Mapping[str, Any], models: Mapping[str, Any]) -> Markup:
    """One further task, folded: both drawings, the reading, the nodes."""
    sizes = []
    for side in present(task):
        size = plural(task[side]["circuit"]["n_edges"], "edge") if is_solved(task[side]) else "not solved"
        sizes.append(f"{NAMES[side]} {size}")
    first = present(task)[0]
    summary = tag("summary", tag("h3", task["name"]), tag("span", " · ".join(sizes), class_="sizes"))
    words = tag("p", sentences(task["description"], task["excluded_cue"]), class_="prose")
    drawings = tag("div", *(drawing(task, side, models) for side in present(task)), class_="two")
    title = tag("h4", f"Reading the circuit of the {NAMES[first]}")
    read = tag("div", title, steps(task, first, models), class_="prose")
    nodes = node_table(task, first, models)
    fold = tag("details", tag("summary", f"Nodes of the circuit of the {NAMES[first]}"), nodes) if nodes else None
    tests = verdicts(task)
    judged = tag("details", tag("summary", "Tests of the circuits"), tests) if tests else None
    return tag("details", summary, words, example_pair(task), drawings, read, attention(task, first), judged, fold,
               class_="task", id=f"task-{task['name']}")  # fmt: skip
