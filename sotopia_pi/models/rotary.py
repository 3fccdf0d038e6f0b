"""Rotary position embedding on a processor: queries and keys are turned in one pass, in float32 and rounded once.

What is turned lies head by head, as attention reads it, and a gradient comes back token by token, as maps take it, so
that neither is copied between.
"""

import inspect
import sys
from functools import partial, wraps

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from sotopia_pi.models.float_bits import DTYPES, compiled, narrow, shown, wide
from sotopia_pi.models.team import in_team

NAME, ARGUMENTS = "apply_rotary_pos_emb", ["q", "k", "cos", "sin"]
"""What transformers calls it in the modules of its models, and what it takes."""


class _Turn(torch.autograd.Function):
    """`turned`, with its gradient."""

    @staticmethod
    def forward(ctx, x, cos, sin):
        ctx.save_for_backward(cos, sin)
        return turned(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        cos, sin = ctx.saved_tensors
        batch, heads, length, size = gradient.shape
        back = gradient.new_empty(batch, length, heads, size)
        across = -sin.roll(size // 2, -1)  # which turns back
        _turn(*map(shown, (gradient.contiguous(), cos.contiguous(), across, back)), False)
        return back.transpose(1, 2), None, None


def turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """x cos + y sin for x [batch, heads, length, size], where y is x with its halves swapped and the new first negated.

    cos, sin: [batch or 1, length, size].
    """
    found = torch.empty(x.shape, dtype=x.dtype)
    _turn(*map(shown, (x.transpose(1, 2).contiguous(), cos.contiguous(), sin.contiguous(), found)), True)
    return found


def fuse_rotary(model: nn.Module) -> None:
    """Put the above in place of what transformers turns with, in the modules that define the parts of a model.

    Only where it is seen to compute just this; there it still turns what the above does not know.
    """
    for module in {sys.modules[type(part).__module__] for part in model.modules()}:
        plain = getattr(module, NAME, None)
        if plain is not None and not hasattr(plain, "instead_of") and _computes_this(plain):
            instead = wraps(plain)(partial(_rotary, plain))
            instead.instead_of = plain
            setattr(module, NAME, instead)


def _rotary(plain, q, k, cos, sin, *more, **named):
    """Queries and keys [batch, heads, length, size] turned; `plain` turns what is asked for otherwise."""
    known = not more and not named and q.device.type == "cpu" and q.dtype in DTYPES
    alike = q.dtype == k.dtype == cos.dtype == sin.dtype and q.shape[-1] == k.shape[-1] == cos.shape[-1]
    if known and alike and cos.shape == sin.shape and cos.shape[:2] in ((1, q.shape[2]), (len(q), q.shape[2])):
        turning = _Turn.apply if torch.is_grad_enabled() else turned
        return turning(q, cos, sin), turning(k, cos, sin)
    return plain(q, k, cos, sin, *more, **named)


@torch.no_grad()
def _computes_this(plain) -> bool:
    """Whether it turns random numbers as the above does; where it takes other shapes it does not."""
    if list(inspect.signature(plain).parameters)[: len(ARGUMENTS)] != ARGUMENTS:
        return False
    generator = torch.Generator().manual_seed(0)
    q, k, angles = (torch.randn(2, heads, 3, 4, generator=generator) for heads in (3, 1, 1))
    angles = torch.cat([angles[:, 0, :, :2]] * 2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    try:
        asked = plain(q, k, cos, sin)
    except (RuntimeError, TypeError, ValueError):
        return False
    return all(torch.allclose(turned(x, cos, sin), y, atol=1e-5) for x, y in zip((q, k), asked, strict=True))


@compiled
def _turn(x, cos, sin, out, forth):
    tokens = len(x) * (x.shape[1] if forth else x.shape[2])
    in_team(_turn_piece, tokens, x.size, (x, cos, sin, out, forth))


@compiled
def _turn_piece(first, last, x, cos, sin, out, forth):
    """Some tokens. forth: x lies token by token [batch, length, heads, size], `out` head by head; else reversed."""
    length, heads, size = cos.shape[1], (x.shape[2] if forth else x.shape[1]), x.shape[3]
    half = size // 2
    along, across = np.empty(size, np.float32), np.empty(size, np.float32)
    for token in range(first, last):
        batch, at = token // length, token % length
        for d in range(size):
            along[d], across[d] = wide(cos[batch % len(cos), at, d]), wide(sin[batch % len(cos), at, d])
        for head in range(heads):
            row = x[batch, at, head] if forth else x[batch, head, at]
            into = out[batch, head, at] if forth else out[batch, at, head]
            for d in range(half):
                one, other = wide(row[d]), wide(row[d + half])
                into[d] = narrow(one * along[d] - other * across[d], into)
                into[d + half] = narrow(other * along[d + half] + one * across[d + half], into)
