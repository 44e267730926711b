"""Held-out loss, densities and activation statistics of a model."""

import numpy as np
import torch
from jaxtyping import Int, Integer
from torch import Tensor

from thinwire.model.gpt import GPT
from thinwire.model.sites import EMBED, FINAL
from thinwire.model.structure import sparse_parameters
from thinwire.progress import Progress, silent
from thinwire.training.loss import next_token_loss

BATCH = 64
UNIGRAM_TOKENS = 1 << 22


@torch.no_grad()
def heldout_loss(model: GPT, windows: Int[Tensor, "N window"], progress: Progress = silent) -> float:
    """Mean next-token loss over held-out windows, nats."""
    total = 0.0
    with progress("held-out loss", total=len(windows), unit="window") as advance:
        for batch in windows.split(BATCH):
            total += float(next_token_loss(model, batch)) * len(batch)
            advance(len(batch))
    return total / len(windows)


def unigram_loss(train: Integer[np.ndarray, " n"], windows: Int[Tensor, "N window"], vocab_size: int) -> float:
    """What guessing by how often each token occurs in the training text costs on held-out windows, nats per token.

    A model that has learned anything beats it. It is counted in the first 2^22 tokens, each token once more than it
    occurs there, so that none has probability 0.
    """
    counts = np.bincount(train[:UNIGRAM_TOKENS], minlength=vocab_size) + 1.0
    losses = torch.from_numpy(np.log(counts.sum()) - np.log(counts))
    return float(losses[windows[:, 1:].cpu()].mean())


def densities(model: GPT) -> dict[str, float]:
    """Share of nonzero entries of every projected tensor."""
    return {p.name: int(p.value.count_nonzero()) / p.value.numel() for p in sparse_parameters(model)}


@torch.no_grad()
def active_shares(model: GPT, windows: Int[Tensor, "N window"]) -> dict[str, float]:
    """Share of nonzero activations at every node site of the layers, over at most 64 windows."""
    shares: dict[str, float] = {}

    def hook(site: str, x: Tensor) -> Tensor:
        if not site.endswith((".scale", ".pattern")) and site not in (EMBED, FINAL):
            shares[site] = int(x.count_nonzero()) / x.numel()
        return x

    model(windows[:BATCH, :-1], hook)
    return shares
