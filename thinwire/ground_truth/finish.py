"""From a sketch to a known model: decoys added, prompts and text drawn."""

from collections.abc import Mapping

from thinwire.ground_truth.decoys import add_decoys_
from thinwire.ground_truth.draws import DrawPair, draw_splits, draw_tokens, draw_windows
from thinwire.ground_truth.known import KnownModel
from thinwire.ground_truth.parts import Parts
from thinwire.ground_truth.sketch import Sketch


def finish(
    sketch: Sketch,
    draw: DrawPair,
    truth: Parts,
    *,
    shifted: Mapping[str, DrawPair],
    sufficient: tuple[Parts, ...] = (),
    lookalikes: Mapping[str, Parts] | None = None,
    others: Mapping[str, DrawPair] | None = None,
) -> KnownModel:
    """`sufficient` are the minimal sets that do the task alone, where that is not the truth and nothing else.

    The first two answer tokens are the task's, each following two those of one of the `others`.
    """
    add_decoys_(sketch)
    first, second, *further = sketch.answers
    seed = sketch.seed * 100
    return KnownModel(
        family=sketch.family,
        size=sketch.size,
        seed=sketch.seed,
        model=sketch.model,
        pairs=draw_splits(draw, (first, second), seed),
        shifted={
            name: draw_tokens(way, (first, second), seed + 1 + i) for i, (name, way) in enumerate(shifted.items())
        },
        windows=draw_windows(sketch.config.vocab_size, sketch.config.context, seed + 50),
        truth=truth,
        sufficient=sufficient or (truth,),
        others={
            name: draw_tokens(way, (further[2 * i], further[2 * i + 1]), seed + 60 + i)
            for i, (name, way) in enumerate((others or {}).items())
        },
        lookalikes=lookalikes or {},
    )
