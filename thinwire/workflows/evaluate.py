"""Held-out loss, densities and activation shares of a run's model."""

from pathlib import Path
from typing import Any

from thinwire.model.structure import count_parameters
from thinwire.progress import Progress, silent
from thinwire.training.evaluate import active_shares, densities, heldout_loss
from thinwire.workflows.run import load_run
from thinwire.workflows.train import FINAL_TOKENS


def evaluate(run_path: Path, *, device: str = "auto", progress: Progress = silent) -> dict[str, Any]:
    """What `thinwire eval` prints: nats per token, density per matrix, share of nonzero activations per site."""
    run = load_run(run_path, device)
    windows = run.windows(FINAL_TOKENS)
    return {
        "run": str(run_path),
        "fingerprint": run.fingerprint,
        "heldout_loss": heldout_loss(run.model, windows, progress),
        "heldout_tokens": windows[:, 1:].numel(),
        **count_parameters(run.model),
        "density": densities(run.model),
        "active_share": active_shares(run.model, windows),
    }
