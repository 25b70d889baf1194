"""Make glibc keep the memory that a training step frees, for the next step to use."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names in glibc's malloc.h."""
KEPT_BYTES = 2**31 - 1


def keep_freed_memory() -> None:
    """Set glibc's thresholds so high that big tensors do not go back to the system after every step.

    A step of SoundNet8 on a CPU allocates and frees tensors of more than 100 MB; with glibc's defaults the system has
    to hand out, and wipe, their pages anew each time, which takes a third of the step. It does nothing where the C
    library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
