"""A tiny local model that never ends, an adapter for it, and how tests ask it."""

import asyncio
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from sotopia_pi.models.seam import Message, Request, Sampling
from sotopia_pi.models.weights import prepare

GREEDY = Sampling(temperature=0, max_new_tokens=12)
TEXTS = ["Hi", "Sell the lamp for $40, will you? " * 3, "I could do $48, if you take it today.", "x" * 90]


def save_talkative(folder: Path) -> Path:
    """The tiny model with larger weights and no wish to end, so that its words depend on all of the prompt."""
    source = prepare("tiny-random")
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def make_adapter(folder: Path, out: Path, seed: int) -> Path:
    """A LoRA adapter that changes the words; drawn by its seed."""
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    carried = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in carried.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    carried.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_talkative(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def adapter(folder, tmp_path_factory):
    return make_adapter(folder, tmp_path_factory.mktemp("adapter"), seed=1)


def ask(model, *texts, sampling=GREEDY, adapter=None, seeds=None):
    """Replies of a LocalModel to texts, asked all at once."""

    async def together():
        chat = model.chat(adapter)
        requests = [
            Request((Message("user", text),), sampling, seed=seed)
            for text, seed in zip(texts, seeds or range(len(texts)), strict=True)
        ]
        return await asyncio.gather(*(chat.complete(request) for request in requests))

    return asyncio.run(together())
