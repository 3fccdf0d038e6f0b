"""LoRA on a linear map as one operation: the products that PEFT's layers compute, and nothing between them.

PEFT's way casts, scales and adds the adapter's part in passes of their own over the whole output, and back again; here
each part is added within a matrix product. On a processor that multiplies bfloat16 the frozen matrices lie in memory
as it multiplies them.
"""

import torch
from peft import PeftModel
from peft.tuners.lora import Linear, LoraLayer
from torch import nn
from torch.autograd.function import once_differentiable

from sotopia_pi.models.packed import can_pack, pack_linear_maps, packed, product


class FastLora(Linear):
    """PEFT's layer, computing by one operation. Its base is a frozen linear map without bias; one adapter is active,
    and nothing drops out.

    forth, back: the base's matrix as x, and as the gradient of its output, are multiplied by it; None where they are
    not packed.
    """

    forth: torch.Tensor | None
    back: torch.Tensor | None

    def forward(self, x: torch.Tensor, *_, **__) -> torch.Tensor:
        (name,) = self.active_adapters
        adapter = self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
        return _Product.apply(x, self.base_layer.weight, self.forth, self.back, *adapter)


class _Product(torch.autograd.Function):
    """x W' + scale x A' B' for x [..., inputs], W [outputs, inputs], A [rank, inputs] and B [outputs, rank]."""

    @staticmethod
    def forward(ctx, x, weight, forth, back, low, high, scale):
        rows = x.reshape(-1, x.shape[-1])
        low, high = low.to(rows.dtype), (high * scale).to(rows.dtype)
        inner = rows @ low.t()
        found = rows @ weight.t() if forth is None else product(rows, forth)
        found.addmm_(inner, high.t())
        ctx.save_for_backward(rows, weight, low, high, inner)
        ctx.back, ctx.scale = back, scale
        return found.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        rows, weight, low, high, inner = ctx.saved_tensors
        shape, gradient = gradient.shape, gradient.reshape(len(rows), -1)
        to_inner, to_x = gradient @ high, None
        if ctx.needs_input_grad[0]:
            to_x = gradient @ weight if ctx.back is None else product(gradient, ctx.back)
            to_x = to_x.addmm_(to_inner, low).view(*shape[:-1], -1)
        to_low, to_high = to_inner.t() @ rows, (gradient.t() @ inner) * ctx.scale
        return to_x, None, None, None, to_low.float(), to_high.float(), None


def speed_up(model: PeftModel) -> None:
    """Let a model's adapter compute so, and pack what lies below it: on a processor, where a layer is of that kind."""
    for module in model.modules():
        if type(module) is Linear and _fits(module):
            weight = module.base_layer.weight.detach()
            packs = can_pack(weight)
            module.__class__ = FastLora
            module.forth, module.back = (packed(weight), packed(weight.t().contiguous())) if packs else (None, None)
    for layer in getattr(model.get_base_model().get_decoder(), "layers", ()):
        if any(isinstance(module, LoraLayer) for module in layer.modules()):
            break
        pack_linear_maps(layer)


def _fits(layer: Linear) -> bool:
    base, names = layer.base_layer, layer.active_adapters
    return (
        type(base) is nn.Linear
        and base.weight.device.type == "cpu"
        and base.bias is None
        and len(names) == 1
        and isinstance(layer.lora_dropout[names[0]], nn.Identity)
        and layer.lora_B[names[0]].bias is None
        and not layer.lora_variant
    )
