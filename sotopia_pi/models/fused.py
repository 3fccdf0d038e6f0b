"""What a layer computes between its matrix products, on a processor: in one pass over the numbers instead of many."""

from collections.abc import Callable
from functools import cache

import numba
import numpy as np
import torch
from torch import nn

from sotopia_pi.models.float_bits import ELEMENTS, rounded, shown, two_to, widened

class FusedNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) * weight over the last dimension, in float32 and rounded once; without gradients.

    It takes the place of a norm with `weight` and `variance_epsilon`.
    """

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        rows, width = rows.contiguous(), rows.shape[-1]
        found = torch.empty_like(rows)
        norm, eps = _norm(ELEMENTS[rows.dtype]), np.float32(self.variance_epsilon)
        norm(shown(rows.view(-1, width)), shown(self.weight.detach()), eps, shown(found.view(-1, width)))
        return found


class FusedGate(nn.Module):
    """down(silu(gate(x)) * up(x)), the product in float32 and rounded once; without gradients.

    It takes the place of a feed-forward part with `gate_proj`, `up_proj` and `down_proj`.
    """

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_proj(rows), self.up_proj(rows)
        _gate(ELEMENTS[gate.dtype])(shown(gate.view(-1)), shown(up.view(-1)))
        return self.down_proj(gate)


@torch.inference_mode()
def fuse(model: nn.Module) -> None:
    """Put the above in place of the parts of a model that compute just this, where it lies in main memory.

    Which ones do is seen by what a part of each class answers to random numbers, so that any model may be handed in.
    """
    weight = next(model.parameters())
    if weight.device.type != "cpu" or weight.dtype not in ELEMENTS:
        return
    fitting: dict[type, type[nn.Module] | None] = {}
    for module in model.modules():
        kind = type(module)
        if kind not in fitting:
            fitting[kind] = _fitting(module)
        module.__class__ = fitting[kind] or kind


def _fitting(module: nn.Module) -> type[nn.Module] | None:
    """The class above that a part may have instead of its own."""
    if isinstance(getattr(module, "variance_epsilon", None), float) and isinstance(module.weight, nn.Parameter):
        instead, width = FusedNorm, len(module.weight)
    elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
        instead, width = FusedGate, module.gate_proj.in_features
    else:
        return None
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1, 4, width, generator=generator).to(next(module.parameters()).dtype)
    exact = 4 * torch.finfo(rows.dtype).eps
    asked = module(rows)
    return instead if torch.allclose(instead.forward(module, rows), asked, exact, exact * float(asked.abs().max())) else None


@cache
def _norm(element: str) -> Callable[..., None]:
    half = element == "uint16"

    @numba.njit(f"void({element}[:, ::1], {element}[::1], float32, {element}[:, ::1])", nogil=True, fastmath=True, error_model="numpy")
    def norm(rows, weight, eps, out):
        n, width = rows.shape
        factor = np.empty(width, np.float32)
        for d in range(width):
            factor[d] = widened(weight[d]) if half else weight[d]
        for k in range(n):
            total = np.float32(0)
            for d in range(width):
                number = widened(rows[k, d]) if half else rows[k, d]
                total += number * number
            scale = np.float32(1) / np.sqrt(total / np.float32(width) + eps)
            for d in range(width):
                number = (widened(rows[k, d]) if half else rows[k, d]) * scale * factor[d]
                out[k, d] = rounded(number) if half else number

    return norm


@cache
def _gate(element: str) -> Callable[..., None]:
    half = element == "uint16"

    @numba.njit(f"void({element}[::1], {element}[::1])", nogil=True, fastmath=True, error_model="numpy")
    def gate(gates, ups):
        """silu(gates) * ups, in the place of the gates."""
        for d in range(len(gates)):
            number = widened(gates[d]) if half else gates[d]
            up = widened(ups[d]) if half else ups[d]
            number *= up / (np.float32(1) + two_to(number * np.float32(-1.44269504)))
            gates[d] = rounded(number) if half else number

    return gate
