"""Families that set a trap for whoever asks for too little. All of them copy a marker's sign, as `copy` does.

redundant_head    a second head does the same: either alone would do, and the model uses both
split_heads       three heads share the work: any two would do, and the model uses all
cancelling_pair   a shortcut of two value channels that cancel: silence one, and the other answers
correlated_decoy  a second head copies the same sign to where both answers read it alike
dead_mechanism    neurons and a head with the model's largest weights, which never fire
"""

from thinwire.ground_truth.copying import ANSWER, CONTEXT, GAIN, MARKED, SHARP, copy_head, marked_prompts, marked_shifts
from thinwire.ground_truth.finish import finish
from thinwire.ground_truth.known import KnownModel
from thinwire.ground_truth.sizes import SizeName
from thinwire.ground_truth.sketch import Sketch

CHANNELS = ("sign", "marked", "asks", "answer")
ENDS = ("sign", "marked", "asks")


def redundant_head(size: SizeName, seed: int) -> KnownModel:
    """14 nodes, 8 wires: both copies. Each copy alone, 11 nodes and 4 wires, is sufficient."""
    sketch = Sketch("redundant_head", size, seed, n_layer=1, channels=CHANNELS, tokens=MARKED, context=CONTEXT)
    ends = sketch.embedded(*ENDS) | sketch.final("answer", (ANSWER, -ANSWER))
    copies = [ends | copy_head(sketch) for _ in range(2)]
    return finish(
        sketch,
        marked_prompts(sketch),
        copies[0] | copies[1],
        shifted=marked_shifts(sketch),
        sufficient=tuple(copies),
        lookalikes={"the first copy alone": copies[0], "the second copy alone": copies[1]},
    )


def split_heads(size: SizeName, seed: int) -> KnownModel:
    """17 nodes, 12 wires: all three heads. Any two, 14 nodes and 8 wires, are sufficient."""
    sketch = Sketch("split_heads", size, seed, n_layer=1, channels=CHANNELS, tokens=MARKED, context=CONTEXT, n_heads=3)
    ends = sketch.embedded(*ENDS) | sketch.final("answer", (ANSWER, -ANSWER))
    first, second, third = (ends | copy_head(sketch, gain=PART) for _ in range(3))
    pairs = (first | second, first | third, second | third)
    return finish(
        sketch,
        marked_prompts(sketch),
        first | second | third,
        shifted=marked_shifts(sketch),
        sufficient=pairs,
        lookalikes={"two of the three heads": pairs[0], "one of the three heads": first},
    )


PART = 0.72
"""Gain of one of the three: a difference of about 1.15 logits each."""


def cancelling_pair(size: SizeName, seed: int) -> KnownModel:
    """11 nodes, 4 wires. The shortcut's upper half, 5 nodes and 2 wires, is sufficient too, and false."""
    tokens = {
        "mark_a": {"sign": 1.0, "marked": 1.0, "tell": 1.0},
        "mark_b": {"sign": -1.0, "marked": 1.0, "tell": -1.0},
        **{name: facts for name, facts in MARKED.items() if not name.startswith("mark")},
    }
    sketch = Sketch(
        "cancelling_pair", size, seed, n_layer=1, channels=(*CHANNELS, "tell"), tokens=tokens, context=CONTEXT
    )
    final = sketch.final("answer", (ANSWER, -ANSWER))
    truth = sketch.embedded(*ENDS) | copy_head(sketch) | final
    plus = sketch.attend(0, copies={"tell": ("answer", PAIR)})
    minus = sketch.attend(0, copies={"tell": ("answer", -PAIR)})
    told = sketch.embedded("tell") | final
    return finish(
        sketch,
        marked_prompts(sketch),
        truth,
        shifted=marked_shifts(sketch),
        sufficient=(truth, told | plus),
        lookalikes={"the half that helps": told | plus, "the pair without the head": told | plus | minus},
    )


PAIR = 18.0
"""Gain of the shortcut: with one marker in about nine tokens it writes half of what the head writes."""


def correlated_decoy(size: SizeName, seed: int) -> KnownModel:
    """11 nodes, 4 wires."""
    sketch = Sketch(
        "correlated_decoy", size, seed, n_layer=1, channels=(*CHANNELS, "echo"), tokens=MARKED, context=CONTEXT
    )
    ends = sketch.embedded(*ENDS)
    truth = ends | copy_head(sketch) | sketch.final("answer", (ANSWER, -ANSWER))
    echo = ends | copy_head(sketch, write="echo") | sketch.final("echo", (ANSWER, ANSWER))
    return finish(
        sketch,
        marked_prompts(sketch),
        truth,
        shifted=marked_shifts(sketch),
        lookalikes={"the correlating head": echo, "both heads": truth | echo},
    )


def dead_mechanism(size: SizeName, seed: int) -> KnownModel:
    """11 nodes, 4 wires."""
    sketch = Sketch(
        "dead_mechanism", size, seed, n_layer=1, channels=(*CHANNELS, "never"), tokens=MARKED, context=CONTEXT
    )
    ends = sketch.embedded(*ENDS) | sketch.final("answer", (ANSWER, -ANSWER))
    truth = ends | copy_head(sketch)
    head = sketch.attend(
        0, query=["never"], key=["never"], copies={"never": ("answer", 20 * GAIN)}, sharpness=20 * SHARP
    )
    neurons = sketch.fire(0, {"answer": 25.0}, bias=-400.0, writes={"answer": 40.0})
    neurons |= sketch.fire(0, {"answer": -25.0}, bias=-400.0, writes={"answer": -40.0})
    sketch.quiet |= (head | neurons).nodes - truth.nodes
    return finish(
        sketch,
        marked_prompts(sketch),
        truth,
        shifted=marked_shifts(sketch),
        lookalikes={"the dead head": ends | head, "the dead neurons": ends | neurons},
    )
