"""Numbers and words that pages state or draw by. Scripts get the same as `CONSTANTS`: there is one table."""

import json
import math
from typing import Any

GUESSING_LOSS = math.log(2)
"""Task loss of a coin, nats."""
PAPER_RATIO = 16
"""Edges of dense over sparse circuits at equal loss in much larger models (Gao et al. 2025, section 3.2)."""
LINE_WIDTHS = ((60, 6.0), (150, 4.0), (math.inf, 3.0))
"""(edges drawn at most, pixels of the widest line): thinner where there are many."""
THINNEST = 0.7
UNEMBED_WIDTH = 3.0
"""Pixels of the widest line from the final norm to an answer."""
LABELLED_SLOT = 26.0
"""Pixels between neighbours from which on nodes have their channel written in."""
DIFFERS_FROM = 0.02
"""Share from which on a node is shaded."""
EVEN_SHARE = 0.02
"""A head looks at all tokens alike when no share of a row differs from the row's mean by more than this part of it."""
NOT_VERIFIED = "not verified"
"""In place of a verdict where there is none."""


def widest(n_edges: int) -> float:
    """Pixels of the widest line of a drawing with so many edges."""
    return next(width for most, width in LINE_WIDTHS if n_edges <= most)


def as_script() -> str:
    """The table as a script's first line."""
    table: dict[str, Any] = {
        "lineWidths": [[most if math.isfinite(most) else 1e9, width] for most, width in LINE_WIDTHS],
        "thinnest": THINNEST,
        "unembedWidth": UNEMBED_WIDTH,
        "labelledSlot": LABELLED_SLOT,
        "differsFrom": DIFFERS_FROM,
        "evenShare": EVEN_SHARE,
        "notVerified": NOT_VERIFIED,
    }
    return f"const CONSTANTS = {json.dumps(table)};\n"
