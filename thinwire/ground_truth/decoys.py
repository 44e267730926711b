"""Decoys: everything that a hand-built model holds besides its mechanisms. They fire, and they do not matter.

Every blank row of every matrix gets four random weights, from mechanisms' channels too: such side branches vary with
the answer and lead nowhere near it. A mechanism's own inputs get faint weights from decoys alone, so that almost every
node has some small influence on the answer, and none a real one.
"""

import torch
from torch import Tensor

from thinwire.ground_truth.sketch import FACT, POSITION, RMS, Sketch
from thinwire.model.sites import EMBED, FINAL

LOUD, SOFT = 1.5, 0.4
"""What a token writes to a decoy channel: to a tenth of them, and to another fifth."""
PER_ROW = 4
SCALE = {"q": 0.4, "k": 0.4, "v": 0.5, "out": 0.3, "neuron": 0.5}
NOISE = 0.03
"""Scale of a decoy's weight on a mechanism's channel; mechanisms' own weights are 1 to 30."""


def add_decoys_(sketch: Sketch) -> None:
    """Fill all that is blank."""
    _fill_embedding_(sketch)
    for site_in, site_out in sketch.model.space.matrices.values():
        _fill_matrix_(sketch, site_in, site_out)
    _fill_unembedding_(sketch)


def _fill_embedding_(sketch: Sketch) -> None:
    spare, rows = torch.tensor(sketch.spare), sketch.model.embed.weight
    n_loud, n_soft = max(1, round(0.1 * len(spare))), max(1, round(0.2 * len(spare)))
    values = torch.tensor([LOUD] * n_loud + [SOFT] * n_soft)
    for row in rows:
        places = spare[torch.randperm(len(spare), generator=sketch.generator)[: len(values)]]
        row[places] = values * torch.randn(len(values), generator=sketch.generator).sign()
    taken = float(values.square().sum()) + 2 * FACT**2
    if sketch.model.positions is not None:
        taken += 2 * POSITION**2
    rows[:, sketch.constant] = max(1.0, RMS**2 * sketch.config.d_model - taken) ** 0.5


def _fill_matrix_(sketch: Sketch, source_site: str, target_site: str) -> None:
    matrix = sketch.parameter(target_site)
    everything = [c for c in range(matrix.shape[1]) if not (_is_residual(source_site) and c == sketch.constant)]
    decoys = torch.tensor([c for c in everything if (source_site, c) not in sketch.planted])
    anything = torch.tensor(everything)
    scale = SCALE[target_site.split(".")[-1]]
    for target in range(len(matrix)):
        node = (target_site, target)
        if node in sketch.quiet or (_is_residual(target_site) and target == sketch.constant):
            continue
        if node in sketch.planted:
            _sprinkle_(matrix[target], decoys, NOISE, sketch.generator)
        elif not (_is_residual(target_site) and target not in sketch.spare):
            _sprinkle_(matrix[target], anything, scale, sketch.generator)


def _fill_unembedding_(sketch: Sketch) -> None:
    """Tokens read decoy channels; the answers read them faintly."""
    spare, rows = torch.tensor(sketch.spare), sketch.model.unembed.weight
    for token in range(len(rows)):
        _sprinkle_(rows[token], spare, NOISE if token in sketch.answers else 0.3, sketch.generator)


def _sprinkle_(row: Tensor, sources: Tensor, scale: float, generator: torch.Generator) -> None:
    chosen = sources[torch.randperm(len(sources), generator=generator)[:PER_ROW]]
    row[chosen] = scale * torch.randn(len(chosen), generator=generator)


def _is_residual(site: str) -> bool:
    return site in (EMBED, FINAL) or site.endswith((".in", ".out"))
