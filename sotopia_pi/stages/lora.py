"""LoRA: settings of a fine-tuning, and base weights with an adapter on them."""

import json
import math
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.helpers import disable_input_dtype_casting
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.utils import logging

from sotopia_pi.models.adapters import adapter_digest
from sotopia_pi.models.precision import fast_dtype, own_device
from sotopia_pi.stages.causal_attention import BLOCKS
from sotopia_pi.stages.fast_lora import speed_up
from sotopia_pi.store.items import write_atomically

# PEFT asks for an attribute that transformers renames; the reader of a stage's page can do nothing about it.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)

Schedule = Literal["cosine", "linear", "constant"]
Dtype = Literal["float32", "bfloat16"]
Quantisation = Literal["none", "nf4"]
Attention = Literal["auto", "blocks", "eager", "sdpa"]

PARAMETER_NAMES = {"lora_r": "r", "lora_alpha": "alpha", "lora_dropout": "dropout", "learning_rate": "lr"}
"""What a stage's parameters call a setting, where one letter would say too little there."""
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The seven linear maps of a layer in models of the Llama kind (Mistral, Qwen and SmolLM among them)."""


@dataclass(frozen=True)
class LoraSettings:
    """All that determines a fine-tuning, besides base weights and examples.

    r: rank of the adapter. alpha: its scale is alpha / r. dropout: share in [0, 1) dropped before the adapter.
    target_modules: names of the linear maps that get an adapter. layers_share: share in (0, 1] of the layers, counted
    from the top, that get one; below them nothing is learnt and the backward pass ends.
    lr: highest learning rate. schedule: how it falls after the warm-up. warmup_ratio: share in [0, 1) of the steps.
    weight_decay: AdamW's. gradient_clip: largest norm of the gradient, 0 = none.
    batch_size: examples per optimiser step. micro_tokens: most tokens, padding included, in one forward pass; it
    changes memory and speed, and the result only by rounding. epochs: times every example is seen.
    max_tokens: longest example; longer ones raise an error, nothing is cut. validation_share: share in [0, 1) of the
    examples that is held out and scored after each epoch.
    dtype: of the base weights and the computing; the adapter and its optimiser are always float32.
    quantisation: `nf4` holds the base in 4 bits (QLoRA, with double quantisation). attention: `blocks` is fastest on a
    CPU, `sdpa` on a GPU, `auto` chooses so; the result changes only by rounding. gradient_checkpointing: recompute
    activations, less memory for a third more time. checkpoint_s: seconds between checkpoints, 0 = after every step.
    keep_epochs: keep the adapter after each epoch as well. report_to: trackers to report to (`trackers.py`).
    Sources: r 8, alpha 16, dropout 0.05, q_proj and v_proj, lr 5e-5, warm-up 0.03, batch 4, max_tokens 4096 in
    Sotopia-π; the defaults here suit SmolLM2-135M on two cores.
    """

    r: int = 16
    alpha: float = 32
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ALL_LINEAR
    layers_share: float = 1.0
    lr: float = 1e-3
    schedule: Schedule = "cosine"
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    gradient_clip: float = 1.0
    batch_size: int = 8
    micro_tokens: int = 2048
    epochs: int = 1
    max_tokens: int = 4096
    validation_share: float = 0.0
    seed: int = 0
    dtype: Dtype = "bfloat16"
    quantisation: Quantisation = "none"
    attention: Attention = "auto"
    gradient_checkpointing: bool = False
    checkpoint_s: float = 60.0
    keep_epochs: bool = False
    report_to: tuple[str, ...] = ()

    def __post_init__(self):
        for name in ("target_modules", "report_to"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, allowed in (
            ("schedule", Schedule),
            ("dtype", Dtype),
            ("quantisation", Quantisation),
            ("attention", Attention),
        ):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed: {', '.join(get_args(allowed))}")
        for name in ("r", "batch_size", "micro_tokens", "epochs", "max_tokens", "lr", "alpha"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("dropout", "warmup_ratio", "validation_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a share in [0, 1)")
        if not 0 < self.layers_share <= 1:
            raise ValueError(f"layers_share is {self.layers_share}; it is a share in (0, 1]")
        if not self.target_modules:
            raise ValueError("target_modules is empty; name at least one linear map, such as 'q_proj'")

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "target_modules": list(self.target_modules), "report_to": list(self.report_to)}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "LoraSettings":
        """The settings among a stage's parameters, which have these names, or longer ones: see PARAMETER_NAMES.

        `dtype` may be "auto" there: what this machine is fast in.
        """
        known = {f.name for f in fields(cls)}
        named = {PARAMETER_NAMES.get(name, name): value for name, value in params.items()}
        chosen = {name: value for name, value in named.items() if name in known}
        return cls(**{**chosen, "dtype": fast_dtype(chosen.get("dtype", "auto"))})

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "LoraSettings":
        unknown = sorted(set(record) - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(
                f"unknown LoRA settings: {', '.join(unknown)}; known: {', '.join(f.name for f in fields(cls))}"
            )
        return cls(**record)


def base_with_adapter(folder: Path | str, settings: LoraSettings, start_from: Path | str | None = None) -> PeftModel:
    """Base weights with an adapter to train: one freshly drawn from the settings' seed, or that of `start_from`.

    Raises ValueError where the settings ask for another shape than the adapter in `start_from` has.
    """
    base = _load_base(Path(folder), settings)
    if start_from is not None:
        model = PeftModel.from_pretrained(base, start_from, is_trainable=True, autocast_adapter_dtype=True)
        _check_shape(model.peft_config["default"], settings, _adapted_layers(base, settings), start_from)
    else:
        config = LoraConfig(
            r=settings.r,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=list(settings.target_modules),
            layers_to_transform=_adapted_layers(base, settings),
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = get_peft_model(base, config, autocast_adapter_dtype=True)
    if settings.gradient_checkpointing:
        base.gradient_checkpointing_enable({"use_reentrant": False})
        base.enable_input_require_grads()
    else:
        speed_up(model)
    return model


@contextmanager
def without_casts(model: PeftModel, settings: LoraSettings) -> Iterator[None]:
    """Let the adapter take activations as they come; see `fast_arithmetic`. For a whole step: a backward pass that
    recomputes activations must find them as the forward pass did."""
    with nullcontext() if settings.dtype == "float32" else disable_input_dtype_casting(model):
        yield


@contextmanager
def fast_arithmetic(model: PeftModel, settings: LoraSettings) -> Iterator[None]:
    """Compute in the base's dtype while the adapter stays float32; a fifth less time than PEFT's own way in bf16.

    PEFT casts every activation to the adapter's dtype and back; autocast rounds the small adapter matrices instead.
    With a float32 base nothing changes.
    """
    if settings.dtype == "float32":
        yield
        return
    device = next(model.parameters()).device.type
    with torch.autocast(device, getattr(torch, settings.dtype)), without_casts(model, settings):
        yield


def adapter_tensors(model: PeftModel) -> dict[str, torch.Tensor]:
    """The parameters that are trained, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def save_adapter(model: PeftModel, folder: Path, base_name: str) -> str:
    """Write the adapter in PEFT's format, whole or not at all, and return its digest.

    The same adapter gives the same bytes: what PEFT writes in the order of a set is sorted, and the base is named
    instead of the place where it lies.
    """
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(beside, save_embedding_layers=False)
    (beside / "README.md").unlink(missing_ok=True)
    config_file = beside / "adapter_config.json"
    config = json.loads(config_file.read_text())
    config["base_model_name_or_path"] = base_name
    config["target_modules"] = sorted(config["target_modules"])
    write_atomically(config_file, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
    if folder.exists():
        shutil.rmtree(folder)
    beside.replace(folder)
    return adapter_digest(folder)


def _load_base(folder: Path, settings: LoraSettings) -> torch.nn.Module:
    dtype = getattr(torch, settings.dtype)
    quantised = None
    if settings.quantisation == "nf4":
        quantised = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    logging.disable_progress_bar()
    base = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation=attention_of(settings),
        device_map=own_device(),
        quantization_config=quantised,
    )
    base.requires_grad_(False)
    _keep_differentiable(base)  # before anything computes, as fuse does
    if own_device() == "cpu":
        from sotopia_pi.models.fused import fuse  # by numba, which a graphics card does without

        fuse(base)
    return base


def _keep_differentiable(base: torch.nn.Module) -> None:
    """Keep 4-bit weights in the layout that gradients pass through.

    On a CPU with AVX512-BF16, bitsandbytes (0.50) packs them for inference at the first forward pass in eval mode and
    never unpacks them: a loss on held-out examples would end the learning without a word.
    """
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def attention_of(settings: LoraSettings) -> Attention:
    """The attention that the settings ask for; where they leave it open, the fastest on this device."""
    if settings.attention != "auto":
        return settings.attention
    return BLOCKS if own_device() == "cpu" else "sdpa"


def lr_share(step: int, total: int, settings: LoraSettings) -> float:
    """Share in (0, 1] of the highest learning rate at a step (0-based): linear warm-up, then the schedule."""
    warmup = math.ceil(settings.warmup_ratio * total)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    gone = (step - warmup) / max(1, total - warmup)
    match settings.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * gone))
        case "linear":
            return 1 - gone
        case _:
            return 1.0


def check_gradient(norm: float, settings: LoraSettings, where: str) -> None:
    """Raise FloatingPointError for a gradient of norm 0: such a step would be taken in silence and teach nothing."""
    if norm == 0:
        raise FloatingPointError(
            f"{where}: no gradient reached the adapter, so that nothing would be learnt; the base (quantisation "
            f"{settings.quantisation!r}, {settings.dtype}) lets none through on this device"
        )


def _adapted_layers(base: torch.nn.Module, settings: LoraSettings) -> list[int] | None:
    """Indices of the layers that get an adapter, None for all."""
    n = base.config.num_hidden_layers
    taken = max(1, round(settings.layers_share * n))
    return None if taken == n else list(range(n - taken, n))


def _check_shape(config: Any, settings: LoraSettings, layers: list[int] | None, start_from: Path | str) -> None:
    found = (
        config.r,
        config.lora_alpha,
        config.lora_dropout,
        sorted(config.target_modules),
        config.layers_to_transform,
    )
    asked = (settings.r, settings.alpha, settings.dropout, sorted(settings.target_modules), layers)
    if found != asked:
        raise ValueError(
            f"the adapter in {start_from} has (r, alpha, dropout, target_modules, layers) = {found}, the settings "
            f"ask for {asked}; training that continues an adapter takes that adapter's shape"
        )
