"""Attention of one new token in each of many conversations, on a processor: keys and values are read once, in place.

A matrix product of three queries with hundreds of keys first copies the keys, and takes every conversation to be as
long as the longest. Here each is read where it lies, as far as it goes, and what comes next is fetched meanwhile, so
that a step takes little more than the reading: 32 conversations of 300 tokens in 30 layers 12 ms instead of 24 (one
thread, bfloat16; where four of 1,200 tokens are among them, 16 instead of 105).
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from sotopia_pi.models.float_bits import compiled, narrow, shown, softmax, wide

AHEAD = 16
"""Keys whose memory is asked for before they are used."""

_FAST = ("fast",)
_INDEX, _FLOAT = ir.IntType(64), ir.FloatType()


def attend_last(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    rows: np.ndarray,
    lengths: np.ndarray,
    scale: float,
    out: torch.Tensor,
) -> None:
    """Fill `out` [n, query heads, size] with what the queries, of the same shape, find in a store.

    keys, values: [rows, heads, room, size], without gaps; query heads that share a head lie side by side. The k-th
    query looks at the first lengths[k] (at least one) of row rows[k]; both int64. Weights and sums are float32,
    whatever the dtype, one of bfloat16 and float32. It computes in the thread that calls it.
    """
    heads, size = keys.shape[1], keys.shape[3]
    kernel = _kernel(size, query.shape[1] // heads, keys.dtype == torch.bfloat16)
    kernel(shown(query.contiguous()), shown(keys), shown(values), rows, lengths, np.float32(scale), shown(out))


def keep(new: torch.Tensor, store: torch.Tensor, rows: np.ndarray, places: np.ndarray) -> None:
    """Write keys or values [heads, tokens, size] into a store [rows, heads, room, size], each token at its place.

    rows, places: int64 [tokens].
    """
    by_token = new.transpose(0, 1)
    if by_token.is_contiguous():
        _keep_by_token(shown(by_token), shown(store), rows, places)
    else:
        _keep_by_head(shown(new.contiguous()), shown(store), rows, places)


@compiled
def _keep_by_token(new, store, rows, places):
    for k in range(len(rows)):
        row, place = rows[k], places[k]  # as the loop cannot know that what it writes is not one of these
        for head in range(new.shape[1]):
            for d in range(new.shape[2]):
                store[row, head, place, d] = new[k, head, d]


@compiled
def _keep_by_head(new, store, rows, places):
    for k in range(len(rows)):
        row, place = rows[k], places[k]
        for head in range(len(new)):
            for d in range(new.shape[2]):
                store[row, head, place, d] = new[head, k, d]


@cache
def _kernel(size: int, group: int, half: bool) -> Callable[..., None]:
    """The loop over conversations for heads of this size, `group` query heads to each, and elements of two bytes."""

    @compiled
    def attend(query, keys, values, rows, lengths, scale, out):
        heads, room = keys.shape[1], keys.shape[2]
        asked, found = np.empty((group, size), np.float32), np.empty((group, size), np.float32)
        scores = np.empty((group, room), np.float32)
        for k in range(len(rows)):
            for head in range(heads):
                for g in range(group):
                    for d in range(size):
                        asked[g, d] = wide(query[k, head * group + g, d]) * scale
                own_keys, own_values = keys[rows[k], head].ctypes.data, values[rows[k], head].ctypes.data
                following = k if head + 1 < heads else min(k + 1, len(rows) - 1)
                next_keys = keys[rows[following], (head + 1) % heads].ctypes.data
                _products(
                    own_keys, asked.ctypes.data, scores.ctypes.data, lengths[k], room, own_values, half, size, group
                )
                for g in range(group):
                    softmax(scores[g], lengths[k])
                _sums(own_values, found.ctypes.data, scores.ctypes.data, lengths[k], room, next_keys, half, size, group)
                for g in range(group):
                    for d in range(size):
                        out[k, head * group + g, d] = narrow(found[g, d], out)

    return attend


@intrinsic(prefer_literal=True)
def _products(ctx, keys, queries, scores, length, room, values, half, size, group):
    """scores[g, t] = queries[g] · keys[t] for t < length, by addresses; the values are fetched meanwhile."""

    def generate(context, builder, signature, arguments):
        keys, queries, scores, length, room, values = arguments[:6]
        wide = ir.VectorType(_FLOAT, size.literal_value)
        asked = [_row(builder, queries, _INDEX(g), types.literal(False), size) for g in range(group.literal_value)]
        kind = ir.FunctionType(_FLOAT, [_FLOAT, wide])
        total = cgutils.get_or_insert_function(
            builder.module, kind, f"llvm.vector.reduce.fadd.v{size.literal_value}f32"
        )
        with cgutils.for_range(builder, length) as loop:
            _fetch(builder, keys, builder.add(loop.index, _INDEX(AHEAD)), half, size)
            _fetch(builder, values, loop.index, half, size)
            key = _row(builder, keys, loop.index, half, size)
            for g, query in enumerate(asked):
                product = builder.fmul(key, query, flags=_FAST)
                score = builder.call(total, [_FLOAT(0.0), product], fastmath=_FAST)
                builder.store(score, _score(builder, scores, g, room, loop.index))
        return context.get_dummy_value()

    return types.void(keys, queries, scores, types.int64, types.int64, values, half, size, group), generate


@intrinsic(prefer_literal=True)
def _sums(ctx, values, sums, weights, length, room, following, half, size, group):
    """sums[g] = sum over t < length of weights[g, t] * values[t], by addresses; what follows is fetched meanwhile."""

    def generate(context, builder, signature, arguments):
        values, sums, weights, length, room, following = arguments[:6]
        n = size.literal_value
        wide = ir.VectorType(_FLOAT, n)
        so_far = [cgutils.alloca_once(builder, wide) for _ in range(group.literal_value)]
        for one in so_far:
            builder.store(wide([0.0] * n), one)
        with cgutils.for_range(builder, length) as loop:
            _fetch(builder, following, loop.index, half, size)
            value = _row(builder, values, loop.index, half, size)
            for g, one in enumerate(so_far):
                weight = builder.load(_score(builder, weights, g, room, loop.index))
                lane = builder.insert_element(wide(ir.Undefined), weight, ir.IntType(32)(0))
                everywhere = builder.shuffle_vector(lane, lane, ir.VectorType(ir.IntType(32), n)([0] * n))
                part = builder.fmul(everywhere, value, flags=_FAST)
                builder.store(builder.fadd(builder.load(one), part, flags=_FAST), one)
        for g, one in enumerate(so_far):
            builder.store(builder.load(one), _place(builder, sums, _INDEX(g), n * 4, wide), align=4)
        return context.get_dummy_value()

    return types.void(values, sums, weights, types.int64, types.int64, following, half, size, group), generate


def _row(builder, address, index, half, size):
    """The row at an index of a matrix at an address, as float32."""
    n, halves = size.literal_value, half.literal_value
    wide, bits = ir.VectorType(_FLOAT, n), ir.VectorType(ir.IntType(32), n)
    if not halves:
        return builder.load(_place(builder, address, index, 4 * n, wide), align=4)
    row = builder.load(_place(builder, address, index, 2 * n, ir.VectorType(ir.IntType(16), n)), align=2)
    return builder.bitcast(builder.shl(builder.zext(row, bits), bits([16] * n)), wide)


def _fetch(builder, address, index, half, size):
    """Ask for the memory of such a row; past the end of a store this does nothing."""
    n_bytes, line = size.literal_value * (2 if half.literal_value else 4), 64
    number, byte = ir.IntType(32), ir.IntType(8)
    kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), number, number, number])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    for offset in range(0, n_bytes, line):
        at = _place(builder, builder.add(address, _INDEX(offset)), index, n_bytes, byte)
        builder.call(prefetch, [at, number(0), number(3), number(1)])


def _score(builder, scores, g, room, index):
    """Where scores[g, index] lies."""
    return _place(builder, scores, builder.add(builder.mul(room, _INDEX(g)), index), 4, _FLOAT)


def _place(builder, address, index, n_bytes, of):
    """Pointer to the index-th item of `n_bytes` bytes. In bytes, for LLVM pads vectors such as one of 80 numbers."""
    return builder.inttoptr(builder.add(address, builder.mul(index, _INDEX(n_bytes))), of.as_pointer())
