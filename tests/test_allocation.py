import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from thinwire.workflows.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.empty(1 << 24).fill_(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.empty(1 << 24).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    """Of four tensors of 64 MiB, made and dropped one after the other."""
    done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_freed_memory_is_used_again() -> None:
    # 64 MiB are 16,384 pages of 4 KiB. Kept memory is touched without a fault; fresh memory faults on every page.
    assert page_faults("keep") < 16_384 < page_faults("drop")
