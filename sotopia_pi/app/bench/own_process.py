"""Measuring in a process or a thread of its own, which finds nothing that slows it down and leaves nothing."""

import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

PEAK = "GiB at most"
T = TypeVar("T")


def in_a_process(measured: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What a function finds in a new process, with that process's peak memory in GiB under PEAK."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_peak, (measured, arguments))


def in_a_thread(measured: Callable[..., T], *arguments: Any) -> T:
    """What a function returns in a thread that ends with it, and with it the threads that it computed with.

    Where two threads of a process have computed with several cores, both are slower from then on; see `Engine`.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(measured, *arguments).result()


def _with_peak(measured: Callable[..., dict[str, Any]], arguments: tuple) -> dict[str, Any]:
    found = measured(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**found, PEAK: peak / 2 ** (30 if sys.platform == "darwin" else 20)}
