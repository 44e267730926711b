"""How kernels share work: a loop over blocks, one block a thread, each output element written by one block.

The number of blocks is torch's number of threads. No kernel's result depends on which thread runs a block, nor on the
number of blocks where its docstring does not say so.
"""

from functools import cache

import numba
import torch


@cache
def start_threads() -> None:
    """Start numba's threads and leave torch's number of them as it is.

    When numba's OpenMP layer starts it calls omp_set_num_threads with all cores, and torch asks the same OpenMP library
    how many threads it may use: after the first kernel a process that wanted one thread would have had all of them.
    """
    wanted = torch.get_num_threads()
    numba.set_num_threads(1)
    torch.set_num_threads(wanted)


def count_blocks() -> int:
    """Number of blocks a kernel splits its work into; numba's threads are set to match."""
    start_threads()
    threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)  # pyright: ignore
    numba.set_num_threads(threads)
    return threads
