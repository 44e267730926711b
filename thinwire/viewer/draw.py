"""One circuit as SVG: tokens at the bottom, the two answers on top."""

from collections.abc import Mapping
from typing import Any

from thinwire.viewer.contrast import contrast
from thinwire.viewer.labels import legend, row_labels
from thinwire.viewer.layout import Edge, Layout, Node, layout
from thinwire.viewer.markup import Markup, join, static, tag, visible
from thinwire.viewer.rows import is_residual
from thinwire.viewer.wording import Number, count, percent, plural, signed

MAX_EDGES = 300
_THINNEST = 0.7
_LABELLED_SLOT = 26.0


def n(value: Number) -> str:
    """A coordinate: one decimal is enough."""
    return f"{value:.1f}".removesuffix(".0")


def _widest(n_edges: int) -> float:
    """Pixels of the widest line: thinner where there are many."""
    return 6.0 if n_edges <= 60 else 4.0 if n_edges <= 150 else 3.0


def _edge(edge: Edge, place: Layout, scale: float) -> Markup:
    source, target = place.nodes[edge.source], place.nodes[edge.target]
    middle = n((source.y + target.y) / 2)
    ends = n(source.x), n(source.y), n(target.x), n(target.y)
    path = "M{0} {1}C{0} {4} {2} {4} {2} {3}".format(*ends, middle)
    width = max(scale * abs(edge.weight), _THINNEST)
    return tag(
        "path",
        tag("title", f"{source.key} → {target.key}, weight {signed(edge.weight)}"),
        class_=f"tw-edge {'tw-positive' if edge.weight >= 0 else 'tw-negative'}",
        d=path,
        stroke_width=f"{width:.2f}",
        data_source=source.key,
        data_target=target.key,
    )


def _edges(place: Layout, max_edges: int) -> tuple[Markup, int]:
    """The strongest edges, strongest on top, and how many are left out."""
    strongest = sorted(place.edges, key=lambda edge: -abs(edge.weight))[:max_edges]
    scale = _widest(len(strongest)) / (max((abs(edge.weight) for edge in strongest), default=1.0) or 1.0)
    drawn = join(_edge(edge, place, scale) for edge in reversed(strongest))
    return tag("g", drawn, class_="tw-edges"), len(place.edges) - len(strongest)


def _streams(place: Layout) -> Markup:
    lines = [
        tag(
            "line", tag("title", f"residual channel {link.channel}"), class_="tw-stream",
            x1=n(link.x), x2=n(link.x), y1=n(link.y_bottom), y2=n(link.y_top), data_channel=link.channel,
        )
        for link in place.residual_links
    ]  # fmt: skip
    return tag("g", *lines, class_="tw-streams")


def _heads(place: Layout) -> tuple[Markup, Markup]:
    """Boxes, which stand behind the edges, and their names, which stand in front."""
    boxes, names = [], []
    for box in place.heads:
        frame = tag("rect", x=n(box.x), y=n(box.y), width=n(box.width), height=n(box.height), rx=5)
        boxes.append(tag("g", tag("title", f"layer {box.layer}, head {box.head}"), frame, class_="tw-head"))
        name = f"head {box.head}" if box.width > 40 else str(box.head)
        names.append(tag("text", name, class_="tw-head-name", x=n(box.x + 6), y=n(box.y + 11)))
    return tag("g", *boxes), tag("g", *names)


def _node_title(node: Node, evidence: Mapping[str, Any] | None) -> str:
    found = (evidence or {}).get("nodes", {}).get(node.key)
    if not found or not found["clean"]:
        return node.key
    at = contrast(found)
    where = "last token" if at.position < 0 else f"token {at.position + 1}"
    return f"{node.key}: {signed(at.clean)} on the clean, {signed(at.corrupt)} on the corrupt prompt ({where})"


def _node(node: Node, slot: float, evidence: Mapping[str, Any] | None) -> Markup:
    found = (evidence or {}).get("nodes", {}).get(node.key)
    share = contrast(found).share if found and found["clean"] else 0.0
    labelled = slot >= _LABELLED_SLOT
    width = min(slot * 0.84, 36.0) if labelled else slot * 0.7
    height = 19.0 if labelled else width
    round_ = height / 2 if is_residual(node.site) else 3.5 if labelled else 1.5
    box = {"x": n(node.x - width / 2), "y": n(node.y - height / 2), "width": n(width), "height": n(height)}
    parts = [tag("title", _node_title(node, evidence)), tag("rect", class_="tw-base", rx=n(round_), **box)]
    if share >= 0.02:
        parts.append(tag("rect", class_="tw-differs", rx=n(round_), fill_opacity=f"{share:.2f}", **box))
    if labelled:
        part = "" if is_residual(node.site) or node.site.endswith("neuron") else node.site[-1]
        size = f"{min(max(slot * 0.25, 8.5), 11):.1f}"
        parts.append(tag("text", f"{part}{node.channel}", x=n(node.x), y=n(node.y + 3.7), font_size=size))
    return tag("g", *parts, class_="tw-node", data_node=node.key)


def _unembedding(place: Layout, circuit: Mapping[str, Any], evidence: Mapping[str, Any] | None) -> Markup:
    """Weights to the answers where the evidence lists them, else a band that says how many there are."""
    finals = [node for node in place.nodes if node.site == "final"]
    weights = (evidence or {}).get("unembed")
    if not finals or len(place.answers) < 2:
        return Markup("")
    if not weights:
        left, right = min(node.x for node in finals) - 8, max(node.x for node in finals) + 8
        (a, b), y, base = place.answers, place.answers[0].y + 12, finals[0].y - 10
        points = f"{n(left)},{n(base)} {n(a.x - 20)},{n(y)} {n(b.x + 20)},{n(y)} {n(right)},{n(base)}"
        title = f"unembedding: {plural(circuit['unembed_edges'], 'nonzero weight')}"
        shape = tag("polygon", tag("title", title), class_="tw-unembed", points=points)
        words = f"{plural(circuit['unembed_edges'], 'unembedding weight')}"
        middle = {"x": n((left + right + a.x + b.x) / 4), "y": n((y + base) / 2 + 4)}
        return tag("g", shape, tag("text", words, class_="tw-small tw-middle", **middle))
    strongest = max((abs(w) for pair in weights.values() for w in pair), default=1.0) or 1.0
    lines = []
    for node in finals:
        for answer, weight in zip(place.answers, weights.get(node.key, (0.0, 0.0)), strict=True):
            if weight:
                title = tag("title", f"{node.key} → {visible(answer.text)}, unembedding weight {signed(weight)}")
                kind = f"tw-edge {'tw-positive' if weight > 0 else 'tw-negative'}"
                stroke = f"{max(3 * abs(weight) / strongest, _THINNEST):.2f}"
                d = f"M{n(node.x)} {n(node.y)}L{n(answer.x)} {n(answer.y)}"
                lines.append(tag("path", title, class_=kind, d=d, stroke_width=stroke, data_source=node.key))
    return tag("g", *lines, class_="tw-edges")


def _answers(place: Layout, evidence: Mapping[str, Any] | None) -> Markup:
    if not place.answers:
        return Markup("")
    parts = []
    shares = (evidence or {}).get("probability", {}).get("circuit")
    for side, answer in zip(("clean", "corrupt"), place.answers, strict=True):
        label = visible(answer.text)
        width = 18 + 8.5 * len(label)
        box = {"x": n(answer.x - width / 2), "y": n(answer.y - 12), "width": n(width), "height": 24, "rx": 4}
        parts += [
            tag("rect", class_="tw-answer", **box),
            tag("text", label, class_="tw-answer-text", x=n(answer.x), y=n(answer.y + 4.5)),
        ]
        said = f"{side} prompt"
        if shares:
            said += f": {percent(shares['clean'] if side == 'clean' else 1 - shares['corrupt'])}"
        parts.append(tag("text", said, class_="tw-small tw-middle", x=n(answer.x), y=n(answer.y - 19)))
    return tag("g", *parts)


def _description(circuit: Mapping[str, Any], hidden: int) -> str:
    words = (
        f"{plural(len(circuit['edges']), 'edge')} between {plural(circuit['n_nodes'], 'node')}, from the embedding at "
        "the bottom to the two answers on top. Positive weights are solid lines, negative ones dashed; wider lines "
        "are larger weights."
    )
    return f"{words} The {count(hidden)} weakest edges are not drawn." if hidden else words


def draw_svg(
    circuit: Mapping[str, Any],
    evidence: Mapping[str, Any] | None,
    n_layer: int,
    d_head: int,
    max_edges: int = MAX_EDGES,
    standalone: bool = True,
    name: str = "circuit",
) -> str:
    """The drawing of one circuit (the content of `circuit.json`) as an SVG element.

    Only the `max_edges` strongest edges are drawn, and the picture says how many are not. With
    `standalone` the style is inside; a page that has drawing.css and several drawings passes
    False and a different `name` (a prefix of element ids) for each. Raises `UserError` as `layout` does.
    """
    place = layout(circuit, n_layer, d_head)
    drawn, hidden = _edges(place, max_edges)
    boxes, head_names = _heads(place)
    lines, legend_height = legend(place, drawn=len(place.edges) - hidden, hidden=hidden, shaded=evidence is not None)
    height = place.height + legend_height
    heading = f"Circuit for {circuit.get('task', 'a task')}"
    return tag(
        "svg",
        tag("title", heading, id=f"{name}-title"),
        tag("desc", _description(circuit, hidden), id=f"{name}-desc"),
        tag("style", Markup(static("drawing.css"))) if standalone else None,
        row_labels(place),
        _streams(place),
        boxes,
        _unembedding(place, circuit, evidence),
        drawn,
        head_names,
        tag("g", *(_node(node, place.slot, evidence) for node in place.nodes), class_="tw-nodes"),
        _answers(place, evidence),
        lines,
        xmlns="http://www.w3.org/2000/svg",
        class_="tw-drawing",
        role="img",
        viewBox=f"0 0 {n(place.width)} {n(height)}",
        width=n(place.width),
        height=n(height),
        aria_labelledby=f"{name}-title {name}-desc",
    )
