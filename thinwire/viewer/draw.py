"""One circuit as SVG: tokens at the bottom, the two answers on top."""

from collections.abc import Mapping, Sequence

from thinwire.circuits.graph import Circuit
from thinwire.evidence.records import Evidence, PairEvidence, Said
from thinwire.model.sites import EMBED, FINAL, is_in_head, is_residual, part_of
from thinwire.viewer.attention import looks_evenly
from thinwire.viewer.constants import DIFFERS_FROM, LABELLED_SLOT, THINNEST, UNEMBED_WIDTH, widest
from thinwire.viewer.contrast import contrast
from thinwire.viewer.labels import legend, row_labels
from thinwire.viewer.layout import Edge, HeadBox, Layout, Node, layout
from thinwire.viewer.markup import Markup, join, static, tag, visible
from thinwire.viewer.remarks import remarks
from thinwire.viewer.wording import Number, count, percent, plural, signed

MAX_EDGES = 300
_LONGEST_WORD = 7


def n(value: Number) -> str:
    """A coordinate: one decimal is enough."""
    return f"{value:.1f}".removesuffix(".0")


def _edge(edge: Edge, place: Layout, scale: float) -> Markup:
    source, target = place.nodes[edge.source], place.nodes[edge.target]
    middle = n((source.y + target.y) / 2)
    ends = n(source.x), n(source.y), n(target.x), n(target.y)
    path = "M{0} {1}C{0} {4} {2} {4} {2} {3}".format(*ends, middle)
    width = max(scale * abs(edge.weight), THINNEST)
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
    scale = widest(len(strongest)) / (max((abs(edge.weight) for edge in strongest), default=1.0) or 1.0)
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


def head_name(box: HeadBox, even: bool) -> str:
    """`head 3`, and `head 3: average` where it looks at all tokens alike; the bare number in a narrow box."""
    if box.width <= 40:
        return str(box.head)
    return f"head {box.head}: average" if even and box.width > 80 else f"head {box.head}"


def _heads(place: Layout, pair: PairEvidence | None) -> tuple[Markup, Markup]:
    """Boxes, which stand behind the edges, and their names, which stand on a ground of their own in front."""
    boxes, names = [], []
    for box in place.heads:
        look = pair and pair.attention.get(f"{box.layer}.{box.head}")
        even = bool(look and looks_evenly(look))
        title = f"layer {box.layer}, head {box.head}{'; looks at all tokens alike' if even else ''}"
        frame = tag("rect", x=n(box.x), y=n(box.y), width=n(box.width), height=n(box.height), rx=5)
        boxes.append(tag("g", tag("title", title), frame, class_="tw-head"))
        name = head_name(box, even)
        ground = {"x": n(box.x + 2), "y": n(box.y + 1), "width": n(5.4 * len(name) + 7), "height": 13, "rx": 3}
        words = tag("text", name, class_="tw-head-name", x=n(box.x + 5), y=n(box.y + 11))
        names.append(tag("g", tag("rect", class_="tw-name-ground", **ground), words))
    return tag("g", *boxes), tag("g", *names)


def _node_title(node: Node, pair: PairEvidence | None, said: Sequence[str]) -> str:
    found = pair and pair.nodes.get(node.key)
    words = [node.key]
    if found and found.clean:
        at = contrast(found, -1 if node.site == FINAL else None)
        where = "last token" if at.position < 0 else f"token {at.position + 1}"
        words = [f"{node.key}: {signed(at.clean)} on the clean, {signed(at.corrupt)} on the corrupt prompt ({where})"]
    return ". ".join([*words, *said])


def _node(node: Node, slot: float, pair: PairEvidence | None, said: Sequence[str], word: str) -> Markup:
    found = pair and pair.nodes.get(node.key)
    share = contrast(found).share if found and found.clean else 0.0
    labelled = slot >= LABELLED_SLOT
    width = min(slot * 0.84, 36.0) if labelled else slot * 0.7
    height = 19.0 if labelled else width
    round_ = height / 2 if is_residual(node.site) else 3.5 if labelled else 1.5
    box = {"x": n(node.x - width / 2), "y": n(node.y - height / 2), "width": n(width), "height": n(height)}
    parts = [tag("title", _node_title(node, pair, said)), tag("rect", class_="tw-base", rx=n(round_), **box)]
    if share >= DIFFERS_FROM:
        parts.append(tag("rect", class_="tw-differs", rx=n(round_), fill_opacity=f"{share:.2f}", **box))
    if labelled:
        part = part_of(node.site)[-1] if is_in_head(node.site) else ""
        size = f"{min(max(slot * 0.25, 8.5), 11):.1f}"
        parts.append(tag("text", f"{part}{node.channel}", x=n(node.x), y=n(node.y + 3.7), font_size=size))
        if word:
            parts.append(tag("text", word, class_="tw-word", x=n(node.x), y=n(node.y + 21)))
    kind = "tw-node tw-lone" if said else "tw-node"
    return tag("g", *parts, class_=kind, data_node=node.key, data_said=" ".join(said) or None)


def channel_words(words: Mapping[str, Said]) -> dict[str, str]:
    """Embedding channel -> the token that weighs most in it, cut to a few characters."""
    found = {}
    for key, said in words.items():
        if key.startswith(f"{EMBED}:") and said.model.reads:
            word = visible(said.model.reads[0][0])
            found[key] = word if len(word) <= _LONGEST_WORD else f"{word[: _LONGEST_WORD - 1]}…"
    return found


def _unembedding(place: Layout, circuit: Circuit, pair: PairEvidence | None) -> Markup:
    """Weights to the answers where the evidence lists them, else a band that says how many there are."""
    finals = [node for node in place.nodes if node.site == FINAL]
    if not finals:
        return Markup("")
    if not pair or not pair.unembed:
        left, right = min(node.x for node in finals) - 8, max(node.x for node in finals) + 8
        (a, b), y, base = place.answers, place.answers[0].y + 12, finals[0].y - 10
        points = f"{n(left)},{n(base)} {n(a.x - 20)},{n(y)} {n(b.x + 20)},{n(y)} {n(right)},{n(base)}"
        words = plural(circuit.unembed_edges, "unembedding weight")
        shape = tag("polygon", tag("title", words), class_="tw-unembed", points=points)
        middle = {"x": n((left + right + a.x + b.x) / 4), "y": n((y + base) / 2 + 4)}
        return tag("g", shape, tag("text", words, class_="tw-small tw-middle", **middle))
    strongest = max((abs(w) for weights in pair.unembed.values() for w in weights), default=1.0) or 1.0
    lines = []
    for node in finals:
        for answer, weight in zip(place.answers, pair.unembed.get(node.key, (0.0, 0.0)), strict=True):
            if weight:
                title = tag("title", f"{node.key} → {visible(answer.text)}, unembedding weight {signed(weight)}")
                kind = f"tw-edge {'tw-positive' if weight > 0 else 'tw-negative'}"
                stroke = f"{max(UNEMBED_WIDTH * abs(weight) / strongest, THINNEST):.2f}"
                d = f"M{n(node.x)} {n(node.y)}L{n(answer.x)} {n(answer.y)}"
                lines.append(tag("path", title, class_=kind, d=d, stroke_width=stroke, data_source=node.key))
    return tag("g", *lines, class_="tw-edges")


def _answers(place: Layout, pair: PairEvidence | None) -> Markup:
    parts = []
    for side, answer in zip(("clean", "corrupt"), place.answers, strict=True):
        label = visible(answer.text)
        width = 18 + 8.5 * len(label)
        box = {"x": n(answer.x - width / 2), "y": n(answer.y - 12), "width": n(width), "height": 24, "rx": 4}
        parts += [
            tag("rect", class_="tw-answer", **box),
            tag("text", label, class_="tw-answer-text", x=n(answer.x), y=n(answer.y + 4.5)),
        ]
        said = f"{side} prompt"
        if pair:
            said += f": {percent(pair.circuit.clean if side == 'clean' else 1 - pair.circuit.corrupt)}"
        parts.append(tag("text", said, class_="tw-small tw-middle", x=n(answer.x), y=n(answer.y - 19)))
    return tag("g", *parts)


def _description(circuit: Circuit, hidden: int) -> str:
    words = (
        f"{plural(circuit.n_edges, 'edge')} between {plural(circuit.n_nodes, 'node')}, from the embedding at "
        "the bottom to the two answers on top. Positive weights are solid lines, negative ones dashed; wider lines "
        "are larger weights."
    )
    return f"{words} The {count(hidden)} weakest edges are not drawn." if hidden else words


def draw_svg(
    circuit: Circuit,
    evidence: Evidence | None,
    n_layer: int,
    d_head: int,
    max_edges: int = MAX_EDGES,
    standalone: bool = True,
    name: str = "circuit",
) -> Markup:
    """The drawing of one circuit as an SVG element.

    Only the `max_edges` strongest edges are drawn, and the picture says how many are not. With
    `standalone` the style is inside; a page that has drawing.css and several drawings passes
    False and a different `name` (a prefix of element ids) for each. Raises `UserError` as `layout` does.
    """
    place, pair = layout(circuit, n_layer, d_head), evidence.pair if evidence else None
    drawn, hidden = _edges(place, max_edges)
    boxes, head_names = _heads(place, pair)
    odd: Mapping[str, Sequence[str]] = remarks(circuit)
    lines, legend_height = legend(
        place, drawn=len(place.edges) - hidden, hidden=hidden, shaded=pair is not None, lone=bool(odd)
    )
    words = channel_words(evidence.words if evidence else {})
    nodes = [_node(node, place.slot, pair, odd.get(node.key, ()), words.get(node.key, "")) for node in place.nodes]
    height = place.height + legend_height
    return tag(
        "svg",
        tag("title", f"Circuit for {circuit.task}", id=f"{name}-title"),
        tag("desc", _description(circuit, hidden), id=f"{name}-desc"),
        tag("style", Markup(static("drawing.css"))) if standalone else None,
        row_labels(place),
        _streams(place),
        boxes,
        _unembedding(place, circuit, pair),
        drawn,
        head_names,
        tag("g", *nodes, class_="tw-nodes"),
        _answers(place, pair),
        lines,
        xmlns="http://www.w3.org/2000/svg",
        class_="tw-drawing",
        role="img",
        viewBox=f"0 0 {n(place.width)} {n(height)}",
        width=n(place.width),
        height=n(height),
        aria_labelledby=f"{name}-title {name}-desc",
    )
