"""What a layer computes between its matrix products, on a processor: in one pass over the numbers instead of many."""

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from sotopia_pi.models.float_bits import DTYPES, LOG2_E, compiled, narrow, shown, softmax, two_to, wide
from sotopia_pi.models.rotary import fuse_rotary
from sotopia_pi.models.team import in_team


class FusedNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) * weight over the last dimension, in float32 and rounded once.

    It takes the place of a norm with `weight` and `variance_epsilon`; gradients go to x, not to the weight.
    """

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        how = rows, self.weight, self.variance_epsilon
        return _Norm.apply(*how) if _learning(rows) else _normed(*how)[0]


class FusedGate(nn.Module):
    """down(silu(gate(x)) * up(x)), the product in float32 and rounded once.

    It takes the place of a feed-forward part with `gate_proj`, `up_proj` and `down_proj`.
    """

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_proj(rows), self.up_proj(rows)
        return self.down_proj(_Gate.apply(gate, up) if _learning(gate) else _gated(gate, up))


def _learning(numbers: torch.Tensor) -> bool:
    """Whether a gradient is to come back to them."""
    return torch.is_grad_enabled() and numbers.requires_grad


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, weight, eps):
        found, scales = _normed(rows, weight, eps)
        ctx.save_for_backward(rows, weight, scales)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        rows, weight, scales = ctx.saved_tensors
        back = torch.empty_like(rows)
        parts = [shown(part.contiguous().view(len(scales), -1)) for part in (gradient, rows, back)]
        _norm_back(*parts, shown(scales), shown(weight.detach()))
        return back, None, None


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate, up):
        ctx.save_for_backward(gate, up)
        return _gated(gate, up)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        gate, up = ctx.saved_tensors
        to_gate, to_up = torch.empty_like(gate), torch.empty_like(up)
        parts = (gradient.contiguous(), gate, up, to_gate, to_up)
        _gate_back(*(shown(part.view(-1)) for part in parts))
        return to_gate, to_up


def causal_softmax(scores: torch.Tensor, group: int, scale: float) -> int:
    """Softmax of scale * scores, in place, for the n last queries of a sequence; returns n.

    scores: [batch, group * n, tokens seen by the last of them]; the k-th of n queries sees all but the last n - 1 - k
    tokens, and its other weights become 0.
    """
    n = scores.shape[1] // group
    _softmax(shown(scores.view(-1, scores.shape[2])), n, np.float32(scale))
    return n


def causal_softmax_back(gradient: torch.Tensor, weights: torch.Tensor, group: int, scale: float) -> None:
    """Turn the gradient of such weights into that of the scores, in place."""
    parts = (shown(part.view(-1, part.shape[2])) for part in (gradient, weights))
    _softmax_back(*parts, weights.shape[1] // group, np.float32(scale))


def _normed(rows: torch.Tensor, weight: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows normed, and what each was multiplied by, float32."""
    rows = rows.contiguous()
    found, flat = torch.empty_like(rows), rows.view(-1, rows.shape[-1])
    scales = torch.empty(len(flat))
    parts = [shown(flat), shown(found.view_as(flat)), shown(scales)]
    _norm(*parts, shown(weight.detach()), np.float32(eps))
    return found, scales


def _gated(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    found = torch.empty_like(gate)
    _gate(*(shown(part.view(-1)) for part in (gate, up, found)))
    return found


@torch.inference_mode()
def fuse(model: nn.Module) -> None:
    """Put the above, and what `rotary` has, in place of the parts of a model in main memory that compute just this.

    Which ones do is seen by what they answer to random numbers, so that any model may be handed in.
    """
    dtype = next(model.parameters()).dtype
    if dtype not in DTYPES:
        return
    fuse_rotary(model)
    for module in model.modules():
        if instead := _fitting(module, dtype):
            module.__class__ = instead


def _fitting(module: nn.Module, dtype: torch.dtype) -> type[nn.Module] | None:
    """The class above that a part may have instead of its own."""
    if isinstance(getattr(module, "variance_epsilon", None), float) and isinstance(module.weight, nn.Parameter):
        instead, width = FusedNorm, len(module.weight)
    elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
        instead, width = FusedGate, module.gate_proj.in_features
    else:
        return None
    generator = torch.Generator().manual_seed(0)
    rows, exact = torch.randn(1, 4, width, generator=generator).to(dtype), 4 * torch.finfo(dtype).eps
    asked, found = module(rows), instead.forward(module, rows)
    return instead if torch.allclose(found, asked, exact, exact * float(asked.abs().max())) else None


@compiled
def _norm_piece(first, last, rows, out, scales, weight, eps):
    width = len(weight)
    for k in range(first, last):
        total = np.float32(0)
        for d in range(width):
            total += wide(rows[k, d]) * wide(rows[k, d])
        scales[k] = np.float32(1) / np.sqrt(total / np.float32(width) + eps)
        for d in range(width):
            out[k, d] = narrow(wide(rows[k, d]) * scales[k] * wide(weight[d]), out)


@compiled
def _norm(rows, out, scales, weight, eps):
    in_team(_norm_piece, len(rows), rows.size, (rows, out, scales, weight, eps))


@compiled
def _norm_back_piece(first, last, gradient, rows, back, scales, weight):
    width = len(weight)
    for k in range(first, last):
        along = np.float32(0)
        for d in range(width):
            along += wide(gradient[k, d]) * wide(weight[d]) * wide(rows[k, d])
        along *= scales[k] * scales[k] / np.float32(width)
        for d in range(width):
            across = wide(gradient[k, d]) * wide(weight[d]) - along * wide(rows[k, d])
            back[k, d] = narrow(scales[k] * across, back)


@compiled
def _norm_back(gradient, rows, back, scales, weight):
    in_team(_norm_back_piece, len(gradient), gradient.size, (gradient, rows, back, scales, weight))


@compiled
def _gate_piece(first, last, gates, ups, out):
    gates, ups, out = gates[first:last], ups[first:last], out[first:last]  # an index from 0 on is never a negative one
    for d in range(len(gates)):
        gate = wide(gates[d])
        out[d] = narrow(gate * wide(ups[d]) / (np.float32(1) + two_to(-LOG2_E * gate)), out)


@compiled
def _gate(gates, ups, out):
    in_team(_gate_piece, len(gates), gates.size, (gates, ups, out))


@compiled
def _gate_back_piece(first, last, gradient, gates, ups, to_gates, to_ups):
    gradient, gates, ups = gradient[first:last], gates[first:last], ups[first:last]
    to_gates, to_ups = to_gates[first:last], to_ups[first:last]
    for d in range(len(gates)):
        back, gate = wide(gradient[d]), wide(gates[d])
        share = np.float32(1) / (np.float32(1) + two_to(-LOG2_E * gate))
        to_ups[d] = narrow(back * gate * share, to_ups)
        slope = share * (np.float32(1) + gate * (np.float32(1) - share))
        to_gates[d] = narrow(back * wide(ups[d]) * slope, to_gates)


@compiled
def _gate_back(gradient, gates, ups, to_gates, to_ups):
    in_team(_gate_back_piece, len(gradient), gradient.size, (gradient, gates, ups, to_gates, to_ups))


@compiled
def _softmax_piece(first, last, scores, n, scale):
    room = scores.shape[1]
    weights = np.empty(room, np.float32)
    for k in range(first, last):
        seen = room - n + k % n + 1
        for t in range(seen):
            weights[t] = wide(scores[k, t]) * scale
        softmax(weights, seen)
        for t in range(seen):
            scores[k, t] = narrow(weights[t], scores)
        scores[k, seen:] = 0


@compiled
def _softmax(scores, n, scale):
    in_team(_softmax_piece, len(scores), scores.size, (scores, n, scale))


@compiled
def _softmax_back_piece(first, last, gradient, weights, n, scale):
    room = gradient.shape[1]
    for k in range(first, last):
        seen = room - n + k % n + 1
        along = np.float32(0)
        for t in range(seen):
            along += wide(gradient[k, t]) * wide(weights[k, t])
        for t in range(seen):
            back = (wide(gradient[k, t]) - along) * wide(weights[k, t]) * scale
            gradient[k, t] = narrow(back, gradient)
        gradient[k, seen:] = 0


@compiled
def _softmax_back(gradient, weights, n, scale):
    in_team(_softmax_back_piece, len(gradient), gradient.size, (gradient, weights, n, scale))
