"""Families whose answer is copied by attention, without positions.

    copy               the question looks for the marker and copies its sign
    two_hop            the call collects what the marker says, the question collects it from the call
    shared_attention   one head's pattern serves two tasks, each with a value channel of its own
    idle_weights       two_hop, with further small weights between its own nodes that carry nothing

Cues before the marker have a sign too, all the same one, and are not marked: they outvote the marker wherever attention
is flat.
"""

import numpy as np

from thinwire.ground_truth.draws import DrawPair, Row
from thinwire.ground_truth.finish import finish
from thinwire.ground_truth.known import KnownModel
from thinwire.ground_truth.parts import Parts
from thinwire.ground_truth.sizes import SizeName
from thinwire.ground_truth.sketch import Sketch

MARKED = {
    "mark_a": {"sign": 1.0, "marked": 1.0},
    "mark_b": {"sign": -1.0, "marked": 1.0},
    "cue_a": {"sign": 1.0},
    "cue_b": {"sign": -1.0},
    "ask": {"asks": 1.0},
}
"""Tokens of a task in which a question looks for a marker."""
SHARP, GAIN, ANSWER = 9.0, 4.0, 1.6
CONTEXT = 24


def marked_prompts(sketch: Sketch, n_cues: int = 3, n_after: tuple[int, int] = (1, 4)) -> DrawPair:
    """Cues, the marker, fillers, the question; the sides differ in the marker."""
    tokens = sketch.tokens

    def draw(random: np.random.Generator) -> tuple[Row, Row]:
        before = [tokens[random.choice(["cue_a", "cue_b"])]] * n_cues + fillers(sketch, random, 1)
        after = [*fillers(sketch, random, int(random.integers(*n_after))), tokens["ask"]]
        return [*before, tokens["mark_a"], *after], [*before, tokens["mark_b"], *after]

    return draw


def fillers(sketch: Sketch, random: np.random.Generator, n: int) -> Row:
    """Tokens that no mechanism reads."""
    return random.choice(sketch.fillers, n).tolist()


def marked_shifts(sketch: Sketch) -> dict[str, DrawPair]:
    """More cues; a longer way from the marker to the question."""
    return {
        "more cues": marked_prompts(sketch, n_cues=5),
        "marker further away": marked_prompts(sketch, n_after=(8, 12)),
    }


def copy_head(sketch: Sketch, read: str = "sign", write: str = "answer", gain: float = GAIN) -> Parts:
    """A head of the first layer by which the question copies a channel of the marker."""
    return sketch.attend(0, query=["asks"], key=["marked"], copies={read: (write, gain)}, sharpness=SHARP)


def copy(size: SizeName, seed: int) -> KnownModel:
    """11 nodes, 4 wires."""
    channels = ("sign", "marked", "asks", "answer")
    sketch = Sketch("copy", size, seed, n_layer=1, channels=channels, tokens=MARKED, context=CONTEXT)
    truth = sketch.embedded("sign", "marked", "asks") | copy_head(sketch) | sketch.final("answer", (ANSWER, -ANSWER))
    return finish(sketch, marked_prompts(sketch), truth, shifted=marked_shifts(sketch))


CALLED = {
    "mark_a": {"sign": 1.0, "marked": 1.0},
    "mark_b": {"sign": -1.0, "marked": 1.0},
    "cue_a": {"sign": 1.0},
    "cue_b": {"sign": -1.0},
    "call": {"calls": 1.0},
    "ask": {"asks": 1.0},
}


def _two_hop_sketch(family: str, size: SizeName, seed: int) -> tuple[Sketch, Parts]:
    channels = ("sign", "marked", "calls", "asks", "copied", "answer")
    sketch = Sketch(family, size, seed, n_layer=2, channels=channels, tokens=CALLED, context=CONTEXT)
    truth = (
        sketch.embedded("sign", "marked", "calls", "asks")
        | sketch.attend(0, query=["calls"], key=["marked"], copies={"sign": ("copied", GAIN)}, sharpness=SHARP)
        | sketch.attend(1, query=["asks"], key=["calls"], copies={"copied": ("answer", GAIN)}, sharpness=SHARP)
        | sketch.final("answer", (ANSWER, -ANSWER))
    )
    return sketch, truth


def _called_prompts(sketch: Sketch, n_cues: int = 3, n_between: int = 2) -> DrawPair:
    """Cues, the marker, fillers, the call, fillers, the question."""
    tokens = sketch.tokens

    def draw(random: np.random.Generator) -> tuple[Row, Row]:
        before = [tokens[random.choice(["cue_a", "cue_b"])]] * n_cues
        after = [*fillers(sketch, random, n_between), tokens["call"]]
        after += [*fillers(sketch, random, int(random.integers(1, 4))), tokens["ask"]]
        return [*before, tokens["mark_a"], *after], [*before, tokens["mark_b"], *after]

    return draw


def _called_shifts(sketch: Sketch) -> dict[str, DrawPair]:
    return {
        "more cues": _called_prompts(sketch, n_cues=5),
        "marker further away": _called_prompts(sketch, n_between=7),
    }


def two_hop(size: SizeName, seed: int) -> KnownModel:
    """19 nodes, 8 wires."""
    sketch, truth = _two_hop_sketch("two_hop", size, seed)
    return finish(sketch, _called_prompts(sketch), truth, shifted=_called_shifts(sketch))


IDLE = 0.05
"""An idle weight; the mechanism's own are 1 to 5."""


def idle_weights(size: SizeName, seed: int) -> KnownModel:
    """The nodes and wires of `two_hop`; six further weights between these nodes are in no minimal circuit."""
    sketch, truth = _two_hop_sketch("idle_weights", size, seed)
    wires = {(wire[0], wire[2]): wire for wire in truth.wires}
    for site, sources in (
        ("0.attn.q", ("sign", "marked")),
        ("0.attn.k", ("sign", "calls")),
        ("0.attn.v", ("calls",)),
        ("1.attn.v", ("asks",)),
    ):
        in_site = f"{site.rsplit('.', 1)[0]}.in"
        target = wires[in_site, site][3]
        for source in sources:
            sketch.parameter(site)[target, sketch.channels[source]] = IDLE
    return finish(sketch, _called_prompts(sketch), truth, shifted=_called_shifts(sketch))


def shared_attention(size: SizeName, seed: int) -> KnownModel:
    """11 nodes, 4 wires, of which the other task shares 6 and 2: the question, the marker, query and key."""
    facts = {f"mark_{a}{b}": {"sign": x, "other": y, "marked": 1.0} for a, x in SIGNS for b, y in SIGNS}
    facts |= {f"cue_{a}": {"sign": x, "other": x} for a, x in SIGNS} | {"ask": {"asks": 1.0}}
    channels = ("sign", "other", "marked", "asks", "answer", "second")
    sketch = Sketch(
        "shared_attention", size, seed, n_layer=1, channels=channels, tokens=facts, context=CONTEXT, n_answers=4
    )
    head = sketch.attend(
        0,
        query=["asks"],
        key=["marked"],
        copies={"sign": ("answer", GAIN), "other": ("second", GAIN)},
        sharpness=SHARP,
    )
    whole = sketch.embedded("sign", "other", "marked", "asks") | head
    whole |= sketch.final("answer", (ANSWER, -ANSWER)) | sketch.final("second", (0.0, 0.0, ANSWER, -ANSWER))
    truth, other = _values_of(sketch, whole, "other", "second"), _values_of(sketch, whole, "sign", "answer")
    return finish(
        sketch,
        _two_fact_prompts(sketch, flips=0),
        truth,
        shifted={"more cues": _two_fact_prompts(sketch, flips=0, n_cues=5)},
        others={"second": _two_fact_prompts(sketch, flips=1)},
        lookalikes={"the other task's circuit": other, "both tasks' circuits": whole},
    )


SIGNS = (("a", 1.0), ("b", -1.0))


def _values_of(sketch: Sketch, whole: Parts, read: str, written: str) -> Parts:
    """`whole` less one copied channel: where it is read, carried and written."""
    channels, kept = {sketch.channels[read], sketch.channels[written]}, whole
    for site, channel in sorted(whole.nodes):
        if not site.endswith((".q", ".k", ".v")) and channel in channels:
            kept = kept.without_node((site, channel))
    fed = {wire[2:] for wire in kept.wires}
    for node in sorted(kept.nodes):
        if node[0].endswith(".v") and node not in fed:
            kept = kept.without_node(node)
    return kept


def _two_fact_prompts(sketch: Sketch, flips: int, n_cues: int = 3) -> DrawPair:
    """As `marked_prompts`, with markers of two facts, of which the sides differ in one."""
    tokens = sketch.tokens

    def draw(random: np.random.Generator) -> tuple[Row, Row]:
        cues = [tokens[random.choice(["cue_a", "cue_b"])]] * n_cues + fillers(sketch, random, 1)
        after = [*fillers(sketch, random, int(random.integers(1, 4))), tokens["ask"]]
        still = str(random.choice(["a", "b"]))
        names = [f"mark_{x}{still}" if flips == 0 else f"mark_{still}{x}" for x in "ab"]
        return [*cues, tokens[names[0]], *after], [*cues, tokens[names[1]], *after]

    return draw
