"""The number of threads that a user asks for is the number that torch and the kernels use."""

import os
import subprocess
import sys

import pytest

KERNEL = """
import numpy as np
import torch
torch.set_num_threads(1)
{call}
assert torch.get_num_threads() == 1, torch.get_num_threads()
"""
CALLS = {
    "training": "from thinwire.sparsity.topk import abs_topk; abs_topk(torch.ones(4, 8), 2)",
    "pruning": "from thinwire.kernels.gated import gate_few; "
    "gate_few(np.ones((2, 4), np.float32), 1, np.array([0]), np.ones(4, np.float32))",
    "a run": "from thinwire.training.threads import use_threads; use_threads(1)",
}


@pytest.mark.parametrize("name", ["training", "a run", pytest.param("pruning", marks=pytest.mark.slow)])
def test_the_first_kernel_leaves_torchs_threads_alone(name: str) -> None:
    """In a process of its own, because numba starts its threads, two here, once."""
    env = os.environ | {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", KERNEL.format(call=CALLS[name])], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
