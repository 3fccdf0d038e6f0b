"""LoRA adapters of a local model: read with PEFT, kept as the few weight matrices they change."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from sotopia_pi.models.packed import PackedLinear, exchange, packed
from sotopia_pi.store.items import content_id

_DECISIVE = ("peft_type", "r", "lora_alpha", "target_modules", "use_rslora", "rank_pattern", "alpha_pattern")


class AdapterError(ValueError):
    """A folder is no LoRA adapter that this model can carry."""


def adapter_digest(folder: Path | str) -> str:
    """Digest of an adapter: its tensors, and the settings that say how they act (not where its base model lies)."""
    folder = Path(folder)
    try:
        settings = json.loads((folder / "adapter_config.json").read_text())
        tensors = hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise AdapterError(
            f"{folder} is no adapter: {Path(error.filename).name} is missing. An adapter folder holds "
            f"adapter_config.json and adapter_model.safetensors, as the fine-tuning stages write them."
        ) from error
    kept = {key: settings.get(key) for key in _DECISIVE}
    if isinstance(kept["target_modules"], list):
        kept["target_modules"] = sorted(kept["target_modules"])
    return content_id("adapter", {"settings": kept, "tensors": tensors})


def merged_weights(model: torch.nn.Module, folder: Path | str) -> dict[torch.nn.Module, torch.Tensor]:
    """The linear maps of `model` that an adapter changes, each with its matrix and the change added in fp32.

    `model` stays as it was. The matrices are packed where the model's own are.
    Merged bf16 weights answer faster than the adapter's own layers beside the model (on SmolLM2-135M with LoRA on all
    linear layers a step of 32 tokens took 0.71 of the time), and lie about as close to the fp32 model.
    Only full-precision weights may be merged: adding a small change to 4-bit weights would round it away.
    Raises AdapterError for quantised models and for adapters that are more than LoRA on linear layers.
    """
    from peft import PeftModel
    from peft.tuners.lora import Linear, LoraLayer

    if getattr(model.config, "quantization_config", None):
        raise AdapterError(f"adapter {folder}: the model is quantised, and adapters are never merged into such weights")
    carried = PeftModel.from_pretrained(model, str(folder), adapter_name="only")
    try:
        settings = carried.peft_config["only"]
        merged: dict[torch.nn.Module, torch.Tensor] = {}
        for name, module in model.named_modules():
            if not isinstance(module, LoraLayer):
                continue
            if not isinstance(module, Linear) or settings.use_dora or settings.modules_to_save:
                raise AdapterError(f"adapter {folder}: layer {name} is not plain LoRA on a linear layer")
            weight = module.base_layer.weight
            change = module.get_delta_weight("only").float()
            whole = (weight.detach().float() + change).to(weight.dtype)
            merged[module.base_layer] = packed(whole) if isinstance(module.base_layer, PackedLinear) else whole
    finally:
        carried.unload()
    if not merged:
        raise AdapterError(f"adapter {folder} changes no layer of this model; was it trained on another base model?")
    return merged


@contextmanager
def carrying(merged: Mapping[torch.nn.Module, torch.Tensor]) -> Iterator[None]:
    """These linear maps with these matrices, packed where their own are, in place of their own; without copying."""
    own = {}
    try:
        for module, weight in merged.items():
            own[module] = exchange(module, weight)
        yield
    finally:
        for module, weight in own.items():
            exchange(module, weight)
