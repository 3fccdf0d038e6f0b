"""LoRA as one operation: PEFT's numbers, forth and back; layers of another kind stay PEFT's own."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear
from toy_mistral import save_mistral
from transformers import AutoModelForCausalLM

from sotopia_pi.models.fused import FusedGate, FusedNorm
from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.models.packed import PackedLinear, can_pack
from sotopia_pi.models.weights import prepare
from sotopia_pi.stages.fast_lora import FastLora, speed_up
from sotopia_pi.stages.lora import LoraSettings, base_with_adapter

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapted(folder, dtype=torch.float32, **settings):
    """A small model with an adapter that changes something."""
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).requires_grad_(False)
    config = LoraConfig(r=4, lora_alpha=12, **{"target_modules": ALL, **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = get_peft_model(base, config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
    return model


def learnt(model, dtype):
    """Logits, and the gradient of each of the adapter's matrices."""
    ids = torch.arange(2 * 9).reshape(2, 9) % 50
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        logits = model(input_ids=ids, use_cache=False).logits
    logits.float().logsumexp(-1).sum().backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_mistral(tmp_path_factory.mktemp("base"), vocab_size=64, context=128)


@pytest.mark.parametrize(("dtype", "atol", "rtol"), [(torch.float32, 1e-4, 1e-4), (torch.bfloat16, 0.15, 0.1)])
def test_outputs_and_gradients_are_pefts(folder, dtype, atol, rtol):
    logits, gradients = learnt(adapted(folder, dtype), dtype)
    model = adapted(folder, dtype)
    speed_up(model)
    assert sum(isinstance(module, FastLora) for module in model.modules()) == 2 * len(ALL)
    ours, found = learnt(model, dtype)
    torch.testing.assert_close(ours, logits, atol=atol, rtol=rtol)
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert found[name].dtype == torch.float32 and gradient.abs().max() > 0
        torch.testing.assert_close(found[name], gradient, atol=atol * float(gradient.abs().max()), rtol=rtol)


def test_what_lies_below_the_adapter_is_packed_and_what_lies_within_it_still_learns(folder):
    model = adapted(folder, torch.bfloat16, layers_to_transform=[1], target_modules=["q_proj", "down_proj"])
    packs = can_pack(model.get_base_model().lm_head.weight)
    speed_up(model)
    below, above = model.get_base_model().model.layers
    assert all(isinstance(part, PackedLinear) == packs for part in (below.mlp.up_proj, below.self_attn.q_proj))
    assert type(above.mlp.up_proj) is torch.nn.Linear and type(model.get_base_model().lm_head) is torch.nn.Linear
    _, gradients = learnt(model, torch.bfloat16)
    assert len(gradients) == 4 and all(gradient.abs().max() > 0 for gradient in gradients.values())


@pytest.mark.parametrize("settings", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True, "bias": "none"}])
def test_layers_of_another_kind_stay_pefts_own(folder, settings):
    model = adapted(folder, **settings)
    speed_up(model)
    assert not any(isinstance(module, FastLora) for module in model.modules())
    assert any(type(module) is Linear for module in model.modules())


def test_a_training_and_a_player_compute_so(folder):
    """The loops and operations are in the place where they are used; checkpointing recomputes PEFT's own."""
    settings = LoraSettings(r=2, dtype="float32", layers_share=0.5)
    model = base_with_adapter(folder, settings)
    kinds = Counter(type(module) for module in model.modules())
    assert (kinds[FastLora], kinds[FusedGate], kinds[FusedNorm]) == (len(ALL), 2, 5)
    again = base_with_adapter(folder, replace(settings, gradient_checkpointing=True))
    assert not any(isinstance(module, FastLora) for module in again.modules())
    with LocalModel(prepare("tiny-random"), processes=1) as local:
        kinds = Counter(type(module) for module in local._engine.model.modules())
        assert kinds[FusedGate] == local._engine.model.config.num_hidden_layers
