"""Memory of the process that computes on a CPU: what one layer gives back, the next one takes."""

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # glibc's malloc.h
_M_MMAP_MAX: Final = -4
_NEVER: Final = -1


def disable_heap_trimming() -> None:
    """Have glibc keep what is freed, instead of handing large blocks back to the system and asking for them anew.

    A layer's output has up to 100 MB; pages that are new are zeroed by the kernel at their first touch, which costs a
    seventh of a batch's time. The process keeps what it needed at most. With another C library nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
