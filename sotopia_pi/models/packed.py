"""Packed weights: linear maps whose matrices lie in memory as the processor multiplies them, arranged once for all."""

import torch
from torch import nn


class PackedLinear(nn.Linear):
    """A linear map in bfloat16 on a processor that multiplies it in hardware; without gradients.

    The ordinary one arranges its weights anew at every call, which for the few rows of a step takes longer than the
    product. The results are the same to the bit. `weight` stays beside `packed`: adapters are merged from it.
    """

    packed: torch.Tensor

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return product(rows, self.packed, self.bias)


def pack_linear_maps(model: nn.Module) -> None:
    """Pack the linear maps of a model in place, where this machine gains by it; elsewhere they stay as they are.

    A second copy of their weights is held from then on.
    """
    for module in model.modules():
        if type(module) is nn.Linear and can_pack(module.weight):
            module.__class__ = PackedLinear
            module.packed = packed(module.weight.detach())


def can_pack(weight: torch.Tensor) -> bool:
    """Whether a matrix is one that this machine multiplies faster packed."""
    supported = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported and (weight.dtype, weight.device.type) == (torch.bfloat16, "cpu")


def packed(weight: torch.Tensor) -> torch.Tensor:
    """A matrix [outputs, inputs] as PackedLinear multiplies it."""
    return torch.ops.mkldnn._reorder_linear_weight(weight, None)


def product(rows: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """The outputs [..., outputs] of a packed matrix for rows [..., inputs]; without gradients."""
    return torch.ops.mkldnn._linear_pointwise(rows, matrix, bias, "none", [], "")


def exchange(module: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """Let a linear map compute with another matrix, by pointer and without copying; returns the one it had.

    Both are packed where the map is a PackedLinear.
    """
    if isinstance(module, PackedLinear):
        own = vars(module)  # a module looks its attributes up slowly, and a step exchanges hundreds
        before, own["packed"] = own["packed"], weight
    else:
        module.weight.data, before = weight, module.weight.data
    return before
