"""Loops compiled by numba, and numbers as they see them: it knows no bfloat16, the upper half of a float32's bits.

What was compiled is kept beside the weights, for the sources that it was compiled from.
"""

from collections.abc import Callable

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

from sotopia_pi.models.weights import cache_folder
from sotopia_pi.store.digest import source_digest

LOOPS = [
    f"sotopia_pi.models.{name}" for name in ("decode_attention", "fast_draw", "float_bits", "fused", "rotary", "team")
]
"""Modules whose code is compiled."""

numba.config.CACHE_DIR = str(cache_folder() / "compiled" / source_digest(*LOOPS))

DTYPES = (torch.bfloat16, torch.float32)
"""What the loops can take."""


LOG2_E = np.float32(1.44269504)


def compiled(loop: Callable[..., None]) -> Callable[..., None]:
    """A loop compiled for the types of what it is first called with, or loaded; it lets other threads run meanwhile."""
    settings = {"nogil": True, "fastmath": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **settings)(loop)
    except RuntimeError:  # there is no folder that it could be kept in
        return numba.njit(**settings)(loop)


def shown(numbers: torch.Tensor) -> np.ndarray:
    """The same memory as an array of float32, or of the bits of bfloat16 as uint16."""
    return (numbers.view(torch.uint16) if numbers.dtype == torch.bfloat16 else numbers).numpy()


@intrinsic
def bits_of(ctx, number):
    """The bits of a float32, as uint32. (Through views of arrays no loop would be vectorised: they share memory.)"""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


@intrinsic
def float_of(ctx, bits):
    """The float32 with these bits, uint32."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def larger(ctx, one, other):
    """The larger of two float32 other than NaN, said so that the largest of many is found by many lanes at once."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), ir.FloatType()])
        maximum = cgutils.get_or_insert_function(builder.module, kind, "llvm.maxnum.f32")
        return builder.call(maximum, arguments, fastmath=("fast",))

    return types.float32(types.float32, types.float32), generate


def wide(number):
    """The float32 of an element of an array, float32 or a bfloat16's bits; in compiled loops only."""


@overload(wide, inline="always")
def _wide(number):
    if number == types.float32:
        return lambda number: number
    return lambda number: float_of(np.uint32(number) << np.uint32(16))


def narrow(number, array):
    """What stands for a float32 other than NaN in such an array: the nearest, and of two as near the even one."""


@overload(narrow, inline="always")
def _narrow(number, array):
    if array.dtype == types.float32:
        return lambda number, array: number

    def rounded(number, array):
        bits = bits_of(number)
        return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))

    return rounded


@numba.njit(nogil=True, fastmath=True, inline="always")
def two_to(power):
    """2 to a power, float32, within 3e-7 of it; powers beyond -126 and 126 are taken for these."""
    power = min(max(power, np.float32(-126)), np.float32(126))
    whole = np.int32(power + (np.float32(0.5) if power > 0 else np.float32(-0.5)))
    x = power - np.float32(whole)
    high = np.float32(9.6181291e-3) + x * (np.float32(1.3333558e-3) + x * np.float32(1.5403530e-4))
    low = np.float32(2.4022651e-1) + x * (np.float32(5.5504109e-2) + x * high)
    near = np.float32(1) + x * (np.float32(6.9314718e-1) + x * low)
    return float_of(bits_of(near) + np.uint32(whole << np.int32(23)))


@numba.njit(nogil=True, fastmath=True, error_model="numpy")
def softmax(scores, n):
    """Of the first n of float32 scores, in place."""
    top = scores[0]
    for t in range(n):
        top = larger(top, scores[t])
    total = np.float32(0)
    for t in range(n):
        scores[t] = two_to((scores[t] - top) * LOG2_E)
        total += scores[t]
    share = np.float32(1) / total
    for t in range(n):
        scores[t] *= share
