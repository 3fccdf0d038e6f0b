"""QLoRA for real, on the CPU: a small model of the Mistral kind in 4 bits (NF4, double quantisation) learns."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_finetune import toy_examples
from toy_mistral import save_mistral
from transformers import AutoModelForCausalLM

from sotopia_pi.models import fused
from sotopia_pi.models.adapters import AdapterError, merged_weights
from sotopia_pi.stages.finetune import train_adapter
from sotopia_pi.stages.lora import LoraSettings, adapter_tensors, base_with_adapter

PAPER = LoraSettings(
    r=8,
    alpha=16,
    dropout=0.05,
    target_modules=("q_proj", "v_proj"),
    lr=2e-2,
    epochs=4,
    batch_size=4,
    dtype="float32",
    quantisation="nf4",
    checkpoint_s=0,
)


class Stops:
    """Progress that raises after some steps, as a kill or a full disk would."""

    def __init__(self, after: int):
        self.left = after

    def advance(self, failed=False, **info):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def mistral(tmp_path_factory) -> Path:
    return save_mistral(tmp_path_factory.mktemp("mistral"), vocab_size=512, context=256)


@pytest.fixture(scope="module")
def trained(mistral, tmp_path_factory):
    folder = tmp_path_factory.mktemp("qlora")
    example = toy_examples(1)[0]
    same = [replace(example, episode_id=f"episode-{i}") for i in range(16)]
    return folder, same, train_adapter(mistral, same, PAPER, folder)


def logits(model, ids) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits


def test_the_base_is_really_held_in_four_bits_twice_quantised(mistral):
    model = base_with_adapter(mistral, PAPER)
    weight = model.get_base_model().model.layers[0].self_attn.q_proj.base_layer.weight
    assert weight.dtype == torch.uint8 and weight.numel() == 64 * 64 // 2
    assert weight.quant_state.quant_type == "nf4" and weight.quant_state.nested
    names = {name.split(".lora_")[0].rsplit(".", 1)[1] for name in adapter_tensors(model)}
    assert names == {"q_proj", "v_proj"} and all(p.dtype == torch.float32 for p in adapter_tensors(model).values())


def test_no_processor_gets_four_bit_weights_in_a_layout_without_gradients(mistral, monkeypatch):
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    flags = [getattr(m, "support_avx512bf16_for_cpu", None) for m in base_with_adapter(mistral, PAPER).modules()]
    assert False in flags and True not in flags, "else the first pass in eval mode would end the learning"


def test_the_loss_falls_and_the_precision_of_the_base_is_recorded(trained):
    folder, _, result = trained
    assert result.loss_last < result.loss_first - 0.2
    assert json.loads((folder / "settings.json").read_text())["settings"]["quantisation"] == "nf4"


def test_the_adapter_read_back_gives_the_same_logits_and_differs_from_the_base(mistral, trained):
    folder, examples, _ = trained
    ids = examples[0].ids
    again = [logits(base_with_adapter(mistral, PAPER, folder / "adapter"), ids) for _ in range(2)]
    assert torch.equal(*again)
    untrained = logits(base_with_adapter(mistral, PAPER), ids)
    assert (again[0] - untrained).abs().max() > 0.1


def test_stopped_and_continued_it_ends_with_the_same_adapter(mistral, trained, tmp_path):
    _, examples, result = trained
    with pytest.raises(KeyboardInterrupt):
        train_adapter(mistral, examples, PAPER, tmp_path, progress=Stops(7))
    assert (tmp_path / "checkpoint.pt").exists()
    assert train_adapter(mistral, examples, PAPER, tmp_path).adapter_digest == result.adapter_digest


def test_recomputed_activations_change_nothing_but_memory(mistral, trained, tmp_path):
    _, examples, result = trained
    careful = train_adapter(mistral, examples, replace(PAPER, gradient_checkpointing=True), tmp_path)
    assert careful.loss_last == pytest.approx(result.loss_last, rel=1e-3)


@pytest.mark.parametrize("quantisation", ["nf4", "none"])
def test_activations_are_recomputed_in_the_papers_arithmetic(mistral, trained, tmp_path, quantisation):
    _, examples, _ = trained
    rounded = replace(PAPER, dtype="bfloat16", dropout=0.05, quantisation=quantisation)
    kept = train_adapter(mistral, examples, rounded, tmp_path / "kept")
    recomputed = train_adapter(mistral, examples, replace(rounded, gradient_checkpointing=True), tmp_path / "again")
    assert recomputed.loss_last == pytest.approx(kept.loss_last, rel=1e-2)


def test_an_adapter_is_never_merged_into_four_bit_weights(mistral, trained):
    folder, _, _ = trained
    quantised = base_with_adapter(mistral, PAPER).unload()
    with pytest.raises(AdapterError, match="never merged"):
        merged_weights(quantised, folder / "adapter")
    whole = AutoModelForCausalLM.from_pretrained(mistral, dtype=torch.float32)
    attention = [layer.self_attn for layer in whole.model.layers]
    assert set(merged_weights(whole, folder / "adapter")) == {
        part for layer in (0, 1) for part in (attention[layer].q_proj, attention[layer].v_proj)
    }


def test_gradients_pass_through_four_bit_layers_as_they_do_in_plain_ones(mistral, monkeypatch):
    """Finding out which parts may be replaced runs 4-bit maps once, which must not pack them for inference alone."""

    def gradients() -> dict[str, torch.Tensor]:
        model = base_with_adapter(mistral, replace(PAPER, dropout=0.0))
        ids = torch.tensor([toy_examples(1)[0].ids])
        model(input_ids=ids, use_cache=False).logits.logsumexp(-1).sum().backward()
        return {name: parameter.grad for name, parameter in adapter_tensors(model).items()}

    found = gradients()
    monkeypatch.setattr(fused, "fuse", lambda model: None)
    for name, plain in gradients().items():
        torch.testing.assert_close(found[name], plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max() + 1e-9))
