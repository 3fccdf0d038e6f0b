"""Memory that a model's steps give back and take again all the time."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Numbers of glibc's settings (malloc.h, mallopt(3))."""

_LARGEST = 32 * 1024 * 1024
"""Above this many bytes glibc always asks the system anew; no higher threshold is taken."""


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees instead of giving it back to the system; False where it cannot.

    Tensors of a few megabytes come and go in every layer. Where each of them is fetched from the system, its pages are
    cleared at first touch, and a step of 32 conversations may take three times as long, by chance of their sizes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {_MMAP_THRESHOLD: _LARGEST, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2 * _LARGEST}
    return all(mallopt(setting, value) == 1 for setting, value in settings.items())
