"""Measuring in a process of its own, which finds no memory that another has left and tells its own peak."""

import multiprocessing
import resource
import sys
from collections.abc import Callable
from typing import Any

PEAK = "GiB at most"


def in_a_process(measured: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What a function finds in a new process, with that process's peak memory in GiB under PEAK."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_peak, (measured, arguments))


def _with_peak(measured: Callable[..., dict[str, Any]], arguments: tuple) -> dict[str, Any]:
    found = measured(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**found, PEAK: peak / 2 ** (30 if sys.platform == "darwin" else 20)}
