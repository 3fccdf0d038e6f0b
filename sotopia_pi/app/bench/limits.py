"""What this machine can do at most: its matrix-product rate and the rate at which it copies memory."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from sotopia_pi.models.precision import fast_dtype, own_device

SIDE = 2048
"""Rows, columns and depth of the products timed: where the rate no longer grows with them."""

COPIED_BYTES = 2**28
BEST_OF = 7


@dataclass(frozen=True)
class Limits:
    """flops: of matrix products, operations per second (an addition and a multiplication are two); copy: bytes per
    second of a large copy, read and written bytes both counted. Each is the best of several, for it is a limit.

    dtype: what the products were in. threads: of the CPU. device: "cpu" or "cuda:0".
    """

    flops: float
    copy: float
    dtype: str
    threads: int
    device: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def seconds(self, operations: float, moved: float = 0.0) -> float:
        """The least time that work takes here: its operations at the product rate, or the bytes it must move (each
        read or written once) at the copy's rate, whichever is longer."""
        return max(operations / self.flops, moved / self.copy)


def measure_limits(dtype: str = "auto", side: int = SIDE, copied: int = COPIED_BYTES) -> Limits:
    """Time products of two square matrices (both as the library likes them best) and copies of a large tensor."""
    name, device = fast_dtype(dtype), own_device()
    a, b = (torch.randn(side, side, device=device).to(getattr(torch, name)) for _ in range(2))
    source = torch.ones(copied // 4, device=device)
    target = torch.empty_like(source)
    return Limits(
        flops=2 * side**3 / _least_time(lambda: a @ b, device),
        copy=2 * copied / _least_time(lambda: target.copy_(source), device),
        dtype=name,
        threads=torch.get_num_threads(),
        device=device,
    )


def _least_time(act: Callable[[], Any], device: str) -> float:
    """Seconds of the fastest of several goes; the first, which also sets things up, is not counted."""
    times = []
    for _ in range(BEST_OF + 1):
        started = time.perf_counter()
        act()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])
