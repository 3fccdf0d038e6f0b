"""Measuring in a process or a thread of its own, which finds nothing that slows it down and leaves nothing."""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sotopia_pi.store.peak_memory import peak_rss_mib

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
    done: Future[T] = Future()

    def measure() -> None:
        try:
            done.set_result(measured(*arguments))
        except BaseException as error:  # noqa: BLE001 (raised again in the caller)
            done.set_exception(error)

    threading.Thread(target=measure, daemon=True).start()  # a daemon: whoever stops the command need not wait for it
    return done.result()


def _with_peak(measured: Callable[..., dict[str, Any]], arguments: tuple) -> dict[str, Any]:
    found = measured(*arguments)
    return {**found, PEAK: peak_rss_mib() / 1024}
