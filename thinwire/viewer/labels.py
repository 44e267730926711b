"""The words around a drawing: names of blocks and rows, and the legend."""

from thinwire.viewer.layout import Layout
from thinwire.viewer.markup import Markup, tag
from thinwire.viewer.rows import row_keys
from thinwire.viewer.wording import count

_ROW_NAMES = {"in": "reads", "qkv": "heads", "out": "writes", "neuron": "neurons"}
_BAND = 23.0


def _single(place: Layout, key: str, name: str) -> Markup:
    return tag("text", name, class_="tw-block", x=8, y=f"{place.row(key).y + 4:.0f}")


def _block(place: Layout, layer: str, part: str, keys: list[str]) -> Markup:
    rows = [place.row(key) for key in keys]
    bottom, top = rows[0].y, rows[-1].y
    name = f"Layer {layer} {'MLP' if part == 'mlp' else 'attention'}"
    if not any(row.n_nodes for row in rows):
        first = tag("text", name, class_="tw-small", x=8, y=f"{(top + bottom) / 2 - 3:.0f}")
        return tag("g", first, tag("text", "nothing kept", class_="tw-small", x=8, y=f"{(top + bottom) / 2 + 11:.0f}"))
    band = tag(
        "rect", class_="tw-band", x=0, y=f"{top - _BAND / 2:.0f}", width=f"{place.width:.0f}",
        height=f"{bottom - top + _BAND:.0f}", rx=4,
    )  # fmt: skip
    middle = (top + bottom) / 2
    texts = [
        tag("text", f"Layer {layer}", class_="tw-block", x=8, y=f"{middle - 3:.0f}"),
        tag("text", "MLP" if part == "mlp" else "attention", class_="tw-block-part", x=8, y=f"{middle + 12:.0f}"),
    ]
    for row in rows:
        word = _ROW_NAMES[row.key.rsplit(".", 1)[1]]
        texts.append(tag("text", word, class_="tw-small tw-end", x=f"{place.left - 6:.0f}", y=f"{row.y + 4:.0f}"))
    return tag("g", band, *texts)


def row_labels(place: Layout) -> Markup:
    """Bands behind the blocks, and the names of blocks and rows on the left."""
    blocks: dict[tuple[str, str], list[str]] = {}
    n_layer = (len(place.rows) - 3) // 6
    for key in row_keys(n_layer):
        if "." in key:
            layer, part, _ = key.split(".")
            blocks.setdefault((layer, part), []).append(key)
    drawn = [_block(place, layer, part, keys) for (layer, part), keys in blocks.items()]
    names = {"embed": "Embedding", "final": "Final", "answers": "Answers"}
    ends = [_single(place, key, name) for key, name in names.items()]
    return tag("g", *drawn, *ends, class_="tw-labels")


def _entry(x: float, y: float, sign: Markup, words: str) -> tuple[Markup, float]:
    label = tag("text", words, class_="tw-small", x=f"{x + 32:.0f}", y=f"{y + 4:.0f}")
    return tag("g", sign, label), x + 32 + 5.9 * len(words) + 22


def _line(x: float, y: float, kind: str, width: float) -> Markup:
    return tag("line", class_=kind, x1=f"{x:.0f}", x2=f"{x + 26:.0f}", y1=f"{y:.0f}", y2=f"{y:.0f}", stroke_width=width)


def legend(place: Layout, drawn: int, hidden: int, shaded: bool, lone: bool) -> tuple[Markup, float]:
    """The legend under the drawing, and its height. It says how many edges are not drawn."""
    x, y = 8.0, place.height + 8
    strongest = max((abs(edge.weight) for edge in place.edges), default=0.0)
    first, x = _entry(x, y, _line(x, y, "tw-edge tw-positive", 3.0), "positive weight")
    second, x = _entry(x, y, _line(x, y, "tw-edge tw-negative", 3.0), "negative weight")
    words = f"line width: |weight|, widest {strongest:.2f}"
    width = tag("text", words, class_="tw-small", x=f"{x:.0f}", y=f"{y + 4:.0f}")
    entries, x, y = [first, second, width], 8.0, y + 22
    stream = tag("line", class_="tw-stream", x1=x, x2=x + 26, y1=y, y2=y)
    entry, x = _entry(x, y, stream, "residual channel")
    entries.append(entry)
    if shaded:
        pill = {"x": x, "y": y - 7, "width": 26, "height": 14, "rx": 7}
        layers = [tag("rect", class_=kind, **pill) for kind in ("tw-base", "tw-differs")]
        sign = tag("g", *layers, class_="tw-node")
        entry, x = _entry(x, y, sign, "activation differs between the two prompts")
        entries.append(entry)
    if lone:
        y += 22
        pill = {"x": 8, "y": y - 7, "width": 26, "height": 14, "rx": 7}
        sign = tag("g", tag("rect", class_="tw-base", **pill), class_="tw-node tw-lone")
        entry, _ = _entry(8.0, y, sign, "lacks a part of the circuit that it works with")
        entries.append(entry)
    if hidden:
        y += 24
        words = f"Showing the {count(drawn)} strongest of {count(drawn + hidden)} edges by |weight|; "
        words += f"{count(hidden)} are hidden."
        entries.append(tag("text", words, class_="tw-hidden-note", x=8, y=f"{y + 4:.0f}"))
    return tag("g", *entries, class_="tw-legend"), y + 16 - place.height
