"""Causal attention for training on a processor: a block of queries at a time, over the keys that it may see."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface

BLOCKS = "blocks"
"""Name of the attention below, in settings and for transformers."""

BLOCK = 128
"""Queries in a block. At 400 tokens in bf16, forth and back take a quarter of eager's or sdpa's time; 96 to 200 are
alike, and one block of all takes twice as long."""


DTYPES = (torch.float32, torch.bfloat16)
"""Of what it is computed in."""


class _Blocks(torch.autograd.Function):
    """What queries [batch, heads, length, size] find in keys and values [batch, kv heads, length, size].

    Query heads that share a key-value head are laid behind each other, so that keys and values are never repeated.
    """

    @staticmethod
    def forward(ctx, query, key, value, scale):
        from sotopia_pi.models.fused import causal_softmax  # by numba, which a graphics card does without

        batch, heads, length, size = query.shape
        shape = (batch * key.shape[1], heads // key.shape[1], length, size)
        queries = query.reshape(shape)
        keys, values = key.reshape(shape[0], length, size), value.reshape(shape[0], length, size)
        found, weights = torch.empty_like(queries), []
        for block, seen in _blocks(length):
            weights.append(torch.bmm(_rows(queries, block), _turned(keys[:, seen])))
            n = causal_softmax(weights[-1], shape[1], scale)
            found[:, :, block] = torch.bmm(weights[-1], values[:, seen]).view(*shape[:2], n, size)
        ctx.save_for_backward(queries, keys, values, *weights)
        ctx.shapes, ctx.scale = (query.shape, key.shape), scale
        return found.view(query.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        from sotopia_pi.models.fused import causal_softmax_back

        queries, keys, values, *weights = ctx.saved_tensors
        gradient = gradient.reshape(queries.shape)
        to_queries, to_keys, to_values = (torch.zeros_like(part) for part in (queries, keys, values))
        for (block, seen), share in zip(_blocks(queries.shape[2]), weights, strict=True):
            arriving = _rows(gradient, block)
            to_values[:, seen] += torch.bmm(share.transpose(1, 2), arriving)
            to_scores = torch.bmm(arriving, _turned(values[:, seen]))
            causal_softmax_back(to_scores, share, queries.shape[1], ctx.scale)
            to_queries[:, :, block] = torch.bmm(to_scores, keys[:, seen]).view_as(to_queries[:, :, block])
            to_keys[:, seen] += torch.bmm(to_scores.transpose(1, 2), _rows(queries, block))
        of_query, of_key = ctx.shapes
        return to_queries.view(of_query), to_keys.view(of_key), to_values.view(of_key), None


def _blocks(length: int) -> list[tuple[slice, slice]]:
    """Positions of each block's queries, and of the keys that they may see."""
    ends = [min(length, first + BLOCK) for first in range(0, length, BLOCK)]
    return [(slice(first, end), slice(end)) for first, end in zip(range(0, length, BLOCK), ends, strict=True)]


def _turned(part: torch.Tensor) -> torch.Tensor:
    """Keys or values [n, length, size] as [n, size, length], packed as they lie first: turning is what costs."""
    return part.contiguous().transpose(1, 2)


def _rows(queries: torch.Tensor, block: slice) -> torch.Tensor:
    """Queries of a block [batch * kv heads, query heads a kv head * block, size]."""
    return queries[:, :, block].flatten(1, 2)


def _attention(module, query, key, value, attention_mask, scaling: float, dropout: float = 0.0, **more: Any):
    """The attention function that transformers calls."""
    window = more.get("sliding_window")
    asked = {
        "a mask": attention_mask is not None,
        "a cache": query.shape[2] != key.shape[2],
        "dropout of attention weights": dropout > 0,
        f"a window of {window} tokens over {key.shape[2]}": window is not None and window < key.shape[2],
        "a soft cap": more.get("softcap") is not None,
        f"numbers of {query.dtype} on {query.device}": query.dtype not in DTYPES or query.device.type != "cpu",
    }
    if wanted := [what for what, wants in asked.items() if wants]:
        raise ValueError(
            f"attention {BLOCKS!r} looks at all tokens before and nothing else, on a processor, and "
            f"{type(module).__name__} asks for {', '.join(wanted)}; set attention to 'eager' or 'sdpa'"
        )
    return _Blocks.apply(query, key, value, scaling).transpose(1, 2), None


AttentionInterface.register(BLOCKS, _attention)
