"""Families whose answer is decided by neurons.

bracket_depth        an even head averages opening minus closing brackets; a neuron tells depth two from one
neuron_gate          two neurons compute whether two facts differ: neither fact alone says anything
superposed_features  five features on a circle in two channels; a neuron answers to one of them
"""

import math

import numpy as np

from thinwire.ground_truth.copying import fillers
from thinwire.ground_truth.draws import DrawPair, Row
from thinwire.ground_truth.finish import finish
from thinwire.ground_truth.known import KnownModel
from thinwire.ground_truth.sizes import SizeName
from thinwire.ground_truth.sketch import Sketch

ANSWER = 2.0


def bracket_depth(size: SizeName, seed: int) -> KnownModel:
    """8 nodes, 4 wires. It fails in long contexts, as it must: depth is read from an average."""
    sketch = Sketch(
        "bracket_depth",
        size,
        seed,
        n_layer=1,
        channels=("bracket", "depth", "deep"),
        tokens={"open": {"bracket": 1.0}},
        context=40,
    )
    truth = (
        sketch.embedded("bracket")
        | sketch.attend(0, copies={"bracket": ("depth", 30.0)})
        | sketch.fire(0, {"depth": 8.0}, bias=-13.0, writes={"deep": 1.2})
        | sketch.final("deep", (-ANSWER, ANSWER))
    )
    sketch.offset(0, "deep", -3.0)
    return finish(
        sketch,
        _bracket_prompts(sketch, (10, 13)),
        truth,
        shifted={"diluted context": _bracket_prompts(sketch, (30, 34))},
    )


def _bracket_prompts(sketch: Sketch, lengths: tuple[int, int]) -> DrawPair:
    """Depth 1 (clean) or 2 (corrupt); some prompts open another bracket and close it again."""
    opening, closing = sketch.tokens["open"], sketch.tokens["~open"]

    def draw(random: np.random.Generator) -> tuple[Row, Row]:
        row = fillers(sketch, random, int(random.integers(*lengths)))
        places = np.sort(random.choice(len(row) - 1, 4, replace=False)).tolist()
        if random.random() < 0.5:
            row[places[0]], row[places[1]] = opening, closing
        row[places[2]] = opening
        corrupt = list(row)
        corrupt[places[3]] = opening
        return row, corrupt

    return draw


def neuron_gate(size: SizeName, seed: int) -> KnownModel:
    """14 nodes, 10 wires."""
    sketch = Sketch(
        "neuron_gate",
        size,
        seed,
        n_layer=1,
        channels=("first", "second", "sum_first", "sum_second", "differ"),
        tokens={"first": {"first": 1.0}, "second": {"second": 1.0}},
        context=24,
    )
    truth = (
        sketch.embedded("first", "second")
        | sketch.attend(0, copies={"first": ("sum_first", 30.0), "second": ("sum_second", 30.0)})
        | sketch.fire(0, {"sum_first": 6.0, "sum_second": -6.0}, bias=-8.0, writes={"differ": 1.2})
        | sketch.fire(0, {"sum_first": -6.0, "sum_second": 6.0}, bias=-8.0, writes={"differ": 1.2})
        | sketch.final("differ", (ANSWER, -ANSWER))
    )
    sketch.offset(0, "differ", -3.0)
    return finish(
        sketch,
        _two_facts(sketch, (7, 10)),
        truth,
        shifted={"shorter": _two_facts(sketch, (5, 7)), "longer": _two_facts(sketch, (12, 14))},
    )


def _two_facts(sketch: Sketch, lengths: tuple[int, int]) -> DrawPair:
    """Two facts of either sign that differ (clean) or agree (corrupt); the sides of a pair differ in one of them."""
    tokens = sketch.tokens

    def draw(random: np.random.Generator) -> tuple[Row, Row]:
        row = fillers(sketch, random, int(random.integers(*lengths)))
        places = random.choice(len(row) - 1, 2, replace=False).tolist()
        facts = [("first", "~second"), ("~first", "second")][int(random.integers(2))]
        for place, fact in zip(places, facts, strict=True):
            row[place] = tokens[fact]
        flipped, corrupt = int(random.integers(2)), list(row)
        corrupt[places[flipped]] = tokens[
            facts[flipped].removeprefix("~") if facts[flipped][0] == "~" else f"~{facts[flipped]}"
        ]
        return row, corrupt

    return draw


N_FEATURES = 5


def superposed_features(size: SizeName, seed: int) -> KnownModel:
    """7 nodes, 3 wires. The answer's feature lies on the diagonal: one channel alone says too little."""
    tokens = {}
    for i in range(N_FEATURES):
        angle = math.pi / 4 + i * 2 * math.pi / N_FEATURES
        tokens[f"feature_{i}"] = {"cosine": math.sqrt(2) * math.cos(angle), "sine": math.sqrt(2) * math.sin(angle)}
    sketch = Sketch(
        "superposed_features",
        size,
        seed,
        n_layer=1,
        channels=("cosine", "sine", "found"),
        tokens=tokens,
        context=12,
    )
    truth = (
        sketch.embedded("cosine", "sine")
        | sketch.fire(0, {"cosine": 5.0, "sine": 5.0}, bias=-6.5, writes={"found": 1.6})
        | sketch.final("found", (ANSWER, -ANSWER))
    )
    sketch.offset(0, "found", -2.5)
    return finish(
        sketch,
        _features(sketch, (3, 6)),
        truth,
        shifted={"longer": _features(sketch, (8, 10))},
    )


def _features(sketch: Sketch, n_before: tuple[int, int]) -> DrawPair:
    """Any tokens, then the answer's feature (clean) or another one (corrupt)."""

    def draw(random: np.random.Generator) -> tuple[Row, Row]:
        names = [*sketch.tokens.values(), *sketch.fillers]
        before = random.choice(names, int(random.integers(*n_before))).tolist()
        other = int(random.integers(1, N_FEATURES))
        return [*before, sketch.tokens["feature_0"]], [*before, sketch.tokens[f"feature_{other}"]]

    return draw
