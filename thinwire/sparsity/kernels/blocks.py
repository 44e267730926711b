"""How kernels share work: a loop over blocks, one block a thread, each output element written by one block.

The number of blocks is torch's number of threads. No kernel's result depends on which thread runs a block, nor on the
number of blocks where its docstring does not say so.
"""

import numba
import torch


def count_blocks() -> int:
    """Number of blocks a kernel splits its work into; numba's threads are set to match."""
    threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)  # pyright: ignore
    numba.set_num_threads(threads)
    return threads
