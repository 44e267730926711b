"""With how many CPU threads this process computes. Set once, by whoever runs it; reading a model changes nothing."""

import numba
import torch

from thinwire.kernels.blocks import start_threads
from thinwire.training.allocator import keep_freed_memory


def use_threads(n: int) -> None:
    """Compute with `n` CPU threads: exactly in torch, whose sums depend on it, at most in our kernels, which do not."""
    keep_freed_memory()
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore - nothing reads such memory
    start_threads()
    torch.set_num_threads(n)
    numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))  # pyright: ignore
