"""Families that need positions: a learned table puts every place on a circle, twice.

    previous_token   the last token looks at the one before it and copies its sign
    induction        A x ... A: every token is told the one before it; the last looks for one that was told its own name

Tokens of either sign stand elsewhere too, so that flat attention, or attention to another place, answers at random.
"""

import numpy as np

from thinwire.ground_truth.copying import ANSWER, GAIN, fillers
from thinwire.ground_truth.draws import DrawPair, Row
from thinwire.ground_truth.finish import finish
from thinwire.ground_truth.known import KnownModel
from thinwire.ground_truth.parts import Parts
from thinwire.ground_truth.sizes import SizeName
from thinwire.ground_truth.sketch import PLACES, Sketch

CONTEXT = 12
SHARP = 60.0
"""Logit of a place with itself, were its code `FACT` long; the next place's is 1 - cos(2 pi / 12) = 13 % lower."""
QUERY, KEY = ("before_0", "before_1"), ("here_0", "here_1")


def look_back(sketch: Sketch, read: str, written: str, gain: float = GAIN) -> Parts:
    """A head of the first layer that copies a channel of the token before."""
    return sketch.attend(0, query=QUERY, key=KEY, copies={read: (written, gain)}, sharpness=SHARP)


def previous_token(size: SizeName, seed: int) -> KnownModel:
    """17 nodes, 6 wires."""
    tokens = {"a": {"sign": 1.0}, "b": {"sign": -1.0}}
    sketch = Sketch(
        "previous_token",
        size,
        seed,
        n_layer=1,
        channels=("sign", "answer"),
        tokens=tokens,
        context=CONTEXT,
        places=True,
    )
    truth = sketch.embedded("sign", *PLACES) | look_back(sketch, "sign", "answer")
    truth |= sketch.final("answer", (ANSWER, -ANSWER))
    return finish(
        sketch,
        _last_but_one(sketch, (4, 9)),
        truth,
        shifted={"longer": _last_but_one(sketch, (9, 11)), "shorter": _last_but_one(sketch, (3, 4))},
    )


def _last_but_one(sketch: Sketch, n_before: tuple[int, int]) -> DrawPair:
    """Random signs, then the sign that counts, then a filler."""
    letters = [sketch.tokens["a"], sketch.tokens["b"]]

    def draw(random: np.random.Generator) -> tuple[Row, Row]:
        before = random.choice(letters, int(random.integers(*n_before))).tolist()
        last = fillers(sketch, random, 1)
        return [*before, letters[0], *last], [*before, letters[1], *last]

    return draw


def induction(size: SizeName, seed: int) -> KnownModel:
    """25 nodes, 10 wires."""
    tokens = {"x": {"name": 1.0}, "y": {"name": -1.0}, "a": {"sign": 1.0}, "b": {"sign": -1.0}}
    channels = ("name", "sign", "told", "answer")
    sketch = Sketch("induction", size, seed, n_layer=2, channels=channels, tokens=tokens, context=CONTEXT, places=True)
    truth = (
        sketch.embedded("name", "sign", *PLACES)
        | look_back(sketch, "name", "told", gain=GAIN)
        | sketch.attend(1, query=["name"], key=["told"], copies={"sign": ("answer", GAIN)}, sharpness=9.0)
        | sketch.final("answer", (ANSWER, -ANSWER))
    )
    return finish(
        sketch,
        _bindings(sketch, (1, 3)),
        truth,
        shifted={"further apart": _bindings(sketch, (3, 4))},
    )


def _bindings(sketch: Sketch, n_between: tuple[int, int]) -> DrawPair:
    """Two names with a sign behind each, fillers between, one of the names again; the sides swap the signs."""
    tokens = sketch.tokens

    def draw(random: np.random.Generator) -> tuple[Row, Row]:
        first, second = random.permutation([tokens["x"], tokens["y"]]).tolist()
        asked = int(random.choice([first, second]))
        gaps = [fillers(sketch, random, int(random.integers(*n_between))) for _ in range(2)]
        start = fillers(sketch, random, int(random.integers(0, 2)))

        def prompt(sign_of_first: int, sign_of_second: int) -> Row:
            return [*start, first, sign_of_first, *gaps[0], second, sign_of_second, *gaps[1], asked]

        right, wrong = tokens["a"], tokens["b"]
        if asked == first:
            return prompt(right, wrong), prompt(wrong, right)
        return prompt(wrong, right), prompt(right, wrong)

    return draw
