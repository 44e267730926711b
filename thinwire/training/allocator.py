"""Memory that the process has once used stays with it.

glibc hands every large block back to the kernel when it is freed and asks for fresh, zeroed pages at the next
allocation. A training step allocates and frees the same activations again and again, and pays for each page.
"""

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # names of mallopt(3)
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the allocator to keep what is freed; whether there was one that listens (glibc)."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _NEVER))
