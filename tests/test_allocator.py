import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from thinwire.training.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def step():
    activations = [torch.ones(n << 18) for n in (16, 24, 40, 16, 24, 40)]
for _ in range(4):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    """Of four steps that each make six tensors, 160 MiB in all, and drop them."""
    done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_freed_memory_is_used_again() -> None:
    # 160 MiB are 40,960 pages of 4 KiB; a step on kept memory touches hardly a page that is not there already.
    assert page_faults("keep") < 4 * 4_096 < page_faults("drop")
