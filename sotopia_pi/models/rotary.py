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
        batch, heads, length, size = gradient.shape
        back = gradient.new_empty(batch, length, heads, size)
        _turn_back(*(shown(part.contiguous()) for part in (gradient, *ctx.saved_tensors, back)))
        return back.transpose(1, 2), None, None


def turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """x cos + y sin for x [batch, heads, length, size], where y is x with its halves swapped and the new first negated.

    cos, sin: [batch or 1, length, size].
    """
    found = torch.empty(x.shape, dtype=x.dtype)
    _turn(shown(x.transpose(1, 2).contiguous()), shown(cos.contiguous()), shown(sin.contiguous()), shown(found))
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


def _rotary(plain, q, k, cos, sin, unsqueeze_dim=1, **more):
    """Queries and keys [batch, heads, length, size] turned."""
    known = unsqueeze_dim == 1 and not more and q.device.type == "cpu" and q.dtype in DTYPES
    alike = q.dtype == k.dtype == cos.dtype == sin.dtype and q.shape[-1] == k.shape[-1] == cos.shape[-1]
    if known and alike and cos.shape == sin.shape and cos.shape[:2] in ((1, q.shape[2]), (len(q), q.shape[2])):
        turning = _Turn.apply if torch.is_grad_enabled() else turned
        return turning(q, cos, sin), turning(k, cos, sin)
    return plain(q, k, cos, sin, unsqueeze_dim=unsqueeze_dim, **more)


@torch.no_grad()
def _computes_this(plain) -> bool:
    """Whether it turns random numbers as the above does."""
    if list(inspect.signature(plain).parameters)[: len(ARGUMENTS)] != ARGUMENTS:
        return False
    generator = torch.Generator().manual_seed(0)
    q, k, angles = (torch.randn(2, heads, 3, 4, generator=generator) for heads in (3, 1, 1))
    angles = torch.cat([angles[:, 0, :, :2]] * 2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return all(
        torch.allclose(turned(part, cos, sin), asked, atol=1e-5)
        for part, asked in zip((q, k), plain(q, k, cos, sin), strict=True)
    )


@compiled
def _turn(x, cos, sin, out):
    in_team(_turn_piece, len(x) * x.shape[1], x.size, (x, cos, sin, out))


@compiled
def _turn_piece(first, last, x, cos, sin, out):
    length, heads, size = x.shape[1:]
    half = size // 2
    along, across = np.empty(size, np.float32), np.empty(size, np.float32)
    for token in range(first, last):
        batch, at = token // length, token % length
        for d in range(size):
            along[d], across[d] = wide(cos[batch % len(cos), at, d]), wide(sin[batch % len(cos), at, d])
        for head in range(heads):
            for d in range(half):
                one, other = wide(x[batch, at, head, d]), wide(x[batch, at, head, d + half])
                out[batch, head, at, d] = narrow(one * along[d] - other * across[d], out)
                out[batch, head, at, d + half] = narrow(other * along[d + half] + one * across[d + half], out)


@compiled
def _turn_back(gradient, cos, sin, back):
    in_team(_turn_back_piece, len(back) * back.shape[1], back.size, (gradient, cos, sin, back))


@compiled
def _turn_back_piece(first, last, gradient, cos, sin, back):
    length, heads, size = back.shape[1:]
    half = size // 2
    along, across = np.empty(size, np.float32), np.empty(size, np.float32)
    for token in range(first, last):
        batch, at = token // length, token % length
        for d in range(size):
            along[d], across[d] = wide(cos[batch % len(cos), at, d]), wide(sin[batch % len(cos), at, d])
        for head in range(heads):
            for d in range(half):
                one, other = wide(gradient[batch, head, at, d]), wide(gradient[batch, head, at, d + half])
                back[batch, at, head, d] = narrow(one * along[d] + other * across[d + half], back)
                back[batch, at, head, d + half] = narrow(other * along[d + half] - one * across[d], back)
