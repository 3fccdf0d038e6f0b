"""A model of the paper's size on a graphics card: QLoRA with the paper's settings, and play at high concurrency.

The weights are random, of Mistral-7B's shape; only the time they take is looked at. Nothing is downloaded.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, MistralConfig

from sotopia_pi.app.bench.arithmetic import ModelCost
from sotopia_pi.app.bench.limits import measure_limits
from sotopia_pi.app.bench.own_process import in_a_process
from sotopia_pi.app.bench.play import play_episodes
from sotopia_pi.app.bench.sft import cut_examples, fastest_step, most_supervised
from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.models.precision import fast_dtype, own_device
from sotopia_pi.models.weights import prepare
from sotopia_pi.stages.lora import LoraSettings
from sotopia_pi.store.notebook import project_root
from sotopia_pi.store.params import load_preset

MISTRAL_7B = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 32768,
    "sliding_window": None,
}
"""Sizes of mistralai/Mistral-7B-Instruct-v0.1, without its window of 4096 tokens, which no example here fills."""

STEPS, AT_ONCE, TURNS, CONTEXT = 3, (64, 256), 4, 1024
CARD = "GiB of the card"


@dataclass(frozen=True)
class Shape:
    """sizes: of a MistralConfig; vocabulary: tokens, at least those of the tokenizer that comes along."""

    sizes: dict[str, Any]
    vocabulary: int = 32_000


def papers_settings() -> LoraSettings:
    """Those of `params/paper.yaml` for behaviour cloning, for one epoch."""
    preset = load_preset(project_root() / "params" / "paper.yaml")
    return replace(LoraSettings.from_params(preset["03_behavior_cloning"]), epochs=1, keep_epochs=False)


@contextmanager
def random_model(shape: Shape) -> Iterator[Path]:
    """A folder with a model of this shape and a tokenizer; it is gone afterwards (14.5 GB at Mistral-7B's size)."""
    tokenizer = AutoTokenizer.from_pretrained(prepare("tiny-random"))
    config = MistralConfig(vocab_size=shape.vocabulary, eos_token_id=tokenizer.eos_token_id, **shape.sizes)
    folder = Path(tempfile.mkdtemp(prefix="bench-large-"))
    try:
        in_a_process(_write_model, config, folder)
        tokenizer.save_pretrained(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


def qlora(
    shape: Shape = Shape(MISTRAL_7B), settings: LoraSettings | None = None
) -> Iterator[tuple[float, dict[str, float]]]:
    """Tokens per second, share of what the card's product rate allows, and peak memory, at the longest examples.

    settings: by default the paper's.
    """
    settings = settings or papers_settings()
    with random_model(shape) as folder:
        yield settings.max_tokens, in_a_process(_trained, folder, settings)


def generation(
    shape: Shape = Shape(MISTRAL_7B), sizes: tuple[int, ...] = AT_ONCE
) -> Iterator[tuple[float, dict[str, float]]]:
    """Tokens per second and peak memory, by how many episodes are played side by side."""
    with random_model(shape) as folder:
        for episodes in sizes:
            yield episodes, in_a_process(_played, folder, episodes)


def _write_model(config: MistralConfig, folder: Path) -> dict[str, Any]:
    dtype = getattr(torch, fast_dtype())
    with torch.device(own_device()):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.save_pretrained(folder)
    return {}


def _trained(folder: Path, settings: LoraSettings) -> dict[str, float]:
    """The fastest optimiser step on whole-length examples of random tokens."""
    config, length = AutoConfig.from_pretrained(folder), settings.max_tokens
    ids = torch.randint(config.vocab_size, (STEPS * settings.batch_size, length))
    examples = cut_examples(ids.tolist())
    fastest, limits = fastest_step(folder, examples, settings), measure_limits(settings.dtype)
    most = most_supervised(examples, ModelCost.of(config, settings.dtype), limits)
    share = fastest["supervised_tokens"] / most
    return {"tokens/s": fastest["tokens"], "share of the limit": share, **_card()}


def _played(folder: Path, episodes: int) -> dict[str, float]:
    with LocalModel(folder, max_batch=episodes, slots=episodes, max_context=CONTEXT) as model:
        played = play_episodes(model, episodes, TURNS)
    return {"tokens/s": played.tokens / played.seconds, **_card()}


def _card() -> dict[str, float]:
    """Most memory of the graphics card that this process held, where there is one."""
    return {CARD: torch.cuda.max_memory_allocated() / 2**30} if torch.cuda.is_available() else {}
