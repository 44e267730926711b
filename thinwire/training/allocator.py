"""Freed memory stays with the process.

A training step frees and takes the same few hundred megabytes again. By default glibc hands such blocks back to the
kernel, which then clears every page anew when it is touched.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # names of malloc.h
_NEVER = 2**31 - 1
_LARGE = 1 << 30


def keep_freed_memory() -> bool:
    """Ask the C library to keep what is freed for the next allocation; False where it offers no such setting.

    Peak memory stays what it is; the process no longer shrinks between its peaks.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
