"""The two schedules of weight-sparse training, as functions of the step alone.

Source: Gao et al. 2025, section 2.1 and appendix "Training" (annealed L0, "sharkfin" rate).
"""

import math
from typing import Literal

Anneal = Literal["linear", "geometric"]


def density_at(
    step: int, n_steps: int, final_density: float, start_frac: float, end_frac: float, anneal: Anneal = "linear"
) -> float:
    """Density after step `step` (0-based) of `n_steps`: 1, then falling to `final_density`, then constant.

    `start_frac` and `end_frac` are the shares of training between which the density falls: `linear` by the same
    amount every step (the paper's), `geometric` by the same factor.
    """
    done = (step + 1) / n_steps
    fallen = min(1.0, max(0.0, (done - start_frac) / (end_frac - start_frac)))
    if anneal == "geometric":
        return final_density**fallen
    return 1.0 + (final_density - 1.0) * fallen


def learning_rate_at(
    step: int, n_steps: int, peak: float, warmup_frac: float, density: float, final_density: float
) -> float:
    """The sharkfin: warm-up, then linear decay to 0, times sqrt(final density / current density).

    The rate grows as 1/sqrt(L0), so `peak` belongs to the final density.
    """
    warmup_steps = max(1, round(warmup_frac * n_steps))
    warmup = min(1.0, (step + 1) / warmup_steps)
    decay = min(1.0, (n_steps - step) / max(1, n_steps - warmup_steps))
    return peak * warmup * decay * math.sqrt(final_density / density)
