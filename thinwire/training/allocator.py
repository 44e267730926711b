"""What becomes of memory that the process has used and freed.

glibc hands large blocks back to the kernel when they are freed and asks for fresh, zeroed pages at the next allocation.
A training step allocates and frees the same activations again and again, and pays for each page. Kept, the pages are
there, but holes of one size do not fit tensors of another: the process holds more than is ever in use.
"""

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # names of mallopt(3)
_NEVER = 2**31 - 1
_USUAL_MAX = 65_536
_LARGE = 1 << 20  # bytes from which a block has pages of its own


def keep_freed_memory() -> bool:
    """Tell the allocator to keep what is freed; whether there was one that listens (glibc)."""
    return _tell({_MMAP_MAX: 0, _TRIM_THRESHOLD: _NEVER})


def return_freed_memory() -> bool:
    """Tell the allocator to give large blocks back at once, whatever it was told before; whether one listens (glibc).

    Slower, for the kernel clears every page anew, and the least memory.
    """
    return _tell({_MMAP_MAX: _USUAL_MAX, _MMAP_THRESHOLD: _LARGE, _TRIM_THRESHOLD: _LARGE})


def _tell(options: dict[int, int]) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(name, value) for name, value in options.items())
