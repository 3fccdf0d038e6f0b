"""The attention and the loss of a training: the same values and the same gradients as the plain ones."""

import pytest
import torch
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from toy_mistral import save_mistral
from transformers import AutoModelForCausalLM

from sotopia_pi.stages import lora
from sotopia_pi.stages.causal_attention import BLOCK, BLOCKS, _attention, _Blocks
from sotopia_pi.stages.lora import LoraSettings, attention_of
from sotopia_pi.stages.token_loss import ROWS, summed_token_loss


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


@pytest.mark.parametrize("length", [1, 5, BLOCK, BLOCK + 1, 3 * BLOCK - 7])
@pytest.mark.parametrize("heads", [2, 6])
def test_blocks_are_causal_attention_with_its_gradients(length, heads):
    query, key, value = (drawn(2, n, length, 8, seed=n) for n in (heads, 2, 2))
    passed = drawn(2, heads, length, 8, seed=9).detach()
    plain = scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.3, enable_gqa=True)
    ours = _Blocks.apply(query, key, value, 0.3)
    near = {"atol": 2e-5, "rtol": 1e-4}
    torch.testing.assert_close(ours, plain, **near)
    expected = torch.autograd.grad(plain, (query, key, value), passed)
    torch.testing.assert_close(torch.autograd.grad(ours, (query, key, value), passed), expected, **near)


@pytest.mark.parametrize("rows", [1, ROWS, 2 * ROWS + 3])
def test_the_loss_is_cross_entropy_with_its_gradient(rows):
    logits = drawn(rows, 50, dtype=torch.float32)
    targets = torch.arange(rows) % 50
    plain, ours = cross_entropy(logits, targets, reduction="sum"), summed_token_loss(logits, targets)
    torch.testing.assert_close(ours, plain)
    (expected,), (found,) = (torch.autograd.grad(loss / 7, logits) for loss in (plain, ours))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(logits, drawn(rows, 50, dtype=torch.float32), rtol=0, atol=0)


def test_the_loss_of_rounded_logits_is_computed_in_float32():
    logits = (8 * drawn(5, 4000, dtype=torch.float32)).detach().to(torch.bfloat16).requires_grad_()
    targets = torch.tensor([0, 7, 3999, 12, 5])
    plain, ours = cross_entropy(logits.float(), targets, reduction="sum"), summed_token_loss(logits, targets)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(plain, logits))


def test_a_model_computes_the_same_in_blocks(tmp_path):
    folder = save_mistral(tmp_path / "base", vocab_size=64, context=512)
    ids = torch.arange(2 * (BLOCK + 30)).reshape(2, -1) % 50
    blocks, eager = (
        AutoModelForCausalLM.from_pretrained(folder, attn_implementation=name)(input_ids=ids, use_cache=False).logits
        for name in (BLOCKS, "eager")
    )
    torch.testing.assert_close(blocks, eager, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"attention_mask": torch.zeros(1, 1, 4, 4)}, "a mask"),
        ({"dropout": 0.1}, "dropout of attention weights"),
        ({"sliding_window": 3}, "a window of 3 tokens over 4"),
        ({"softcap": 30.0}, "a soft cap"),
    ],
)
def test_what_blocks_do_not_compute_is_refused(asked, words):
    one = torch.zeros(1, 2, 4, 8)
    settings = {"attention_mask": None, "scaling": 1.0, **asked}
    with pytest.raises(ValueError, match=f"{words}; set attention to 'eager' or 'sdpa'"):
        _attention(torch.nn.Identity(), one, one, one, **settings)
    _attention(torch.nn.Identity(), one, one, one, attention_mask=None, scaling=1.0, sliding_window=4)


def test_numbers_that_the_loops_do_not_know_are_refused():
    one = torch.zeros(1, 2, 4, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"numbers of torch.float64 on cpu; set attention to 'eager' or 'sdpa'"):
        _attention(torch.nn.Identity(), one, one, one, attention_mask=None, scaling=1.0)


def test_the_attention_left_open_is_the_devices_fastest(monkeypatch):
    assert attention_of(LoraSettings(attention="eager")) == "eager"
    monkeypatch.setattr(lora, "own_device", lambda: "cpu")
    assert attention_of(LoraSettings()) == "blocks"
    monkeypatch.setattr(lora, "own_device", lambda: "cuda:0")
    assert attention_of(LoraSettings()) == "sdpa"
