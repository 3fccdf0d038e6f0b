"""Queries and keys are turned as transformers turns them, forth and back, and only where it does just this."""

import pytest
import torch
from test_fused import BOTH, drawn, near
from toy_mistral import save_mistral
from transformers import AutoModelForCausalLM
from transformers.models.llama.modeling_llama import rotate_half
from transformers.models.mistral import modeling_mistral

from sotopia_pi.models import rotary
from sotopia_pi.models.fused import fuse
from sotopia_pi.models.rotary import NAME, fuse_rotary, turned


def plainly(q, k, cos, sin, unsqueeze_dim=1):
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


def in_pairs(q, k, cos, sin, unsqueeze_dim=1):
    """Neighbours are turned together, as some models do it."""
    halves = [torch.cat([part[..., ::2], part[..., 1::2]], dim=-1) for part in (q, k)]
    return plainly(*halves, cos, sin, unsqueeze_dim)


def angles(batch: int, length: int, size: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    both = drawn(batch, length, size, seed=7) * 3
    return both.cos().to(dtype), both.sin().to(dtype)


@BOTH
@pytest.mark.parametrize("of_angles", [1, 3])
def test_what_is_turned_is_the_plain_one_with_its_gradient(dtype, of_angles):
    lying = drawn(3, 5, 2, 16, dtype=dtype)
    cos, sin = angles(of_angles, 5, 16, dtype)
    exact = lying.transpose(1, 2).double().requires_grad_()
    plain, _ = plainly(exact, exact, cos.double(), sin.double())
    near(turned(lying.transpose(1, 2), cos, sin), plain.detach(), size=4)
    passed = drawn(3, 2, 5, 16, seed=3, dtype=dtype)
    learnt = lying.clone().requires_grad_()
    found = rotary._Turn.apply(learnt.transpose(1, 2), cos, sin)
    (back,) = torch.autograd.grad(found, learnt, passed)
    (expected,) = torch.autograd.grad(plain, exact, passed.double())
    near(back.transpose(1, 2), expected, size=4)
    assert found.is_contiguous() and back.is_contiguous()
    near(turned(lying.transpose(1, 2).contiguous(), cos, sin), plain.detach(), size=4)


def test_a_piece_of_the_tokens_is_turned_and_nothing_beside_it():
    x, out = drawn(2, 5, 3, 8).numpy(), drawn(2, 3, 5, 8, seed=1)
    cos, sin = (part.numpy() for part in angles(1, 5, 8, torch.float32))
    whole, before, back = out.clone(), out.clone(), torch.zeros(2, 5, 3, 8)
    rotary._turn(x, cos, sin, whole.numpy())
    rotary._turn_piece(3, 7, x, cos, sin, out.numpy())
    by_token = [part.transpose(1, 2).flatten(0, 1) for part in (out, whole, before)]
    assert torch.allclose(by_token[0][3:7], by_token[1][3:7])
    assert torch.equal(by_token[0][:3], by_token[2][:3]) and torch.equal(by_token[0][7:], by_token[2][7:])
    rotary._turn_back_piece(3, 7, out.numpy(), cos, sin, back.numpy())
    assert back.flatten(0, 1).any(-1).any(-1).tolist() == [3 <= k < 7 for k in range(10)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_answers_as_before(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(modeling_mistral, NAME, plainly)
    save_mistral(tmp_path, vocab_size=64, context=128)
    model, ids = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype).eval(), torch.arange(20)[None] % 50
    before = model(ids).logits
    fuse(model)
    known = dtype == torch.float32
    assert hasattr(getattr(modeling_mistral, NAME), "instead_of") == known
    assert torch.allclose(model(ids).logits, before, atol=1e-4)


def test_what_turns_otherwise_is_left_alone_and_so_is_what_is_not_known(tmp_path, monkeypatch):
    save_mistral(tmp_path, vocab_size=64, context=128)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    for other in (in_pairs, lambda q, k, freqs: (q, k)):
        monkeypatch.setattr(modeling_mistral, NAME, other)
        fuse_rotary(model)
        assert getattr(modeling_mistral, NAME) is other
    asked = []
    monkeypatch.setattr(modeling_mistral, NAME, lambda q, k, cos, sin, unsqueeze_dim=1: asked.append(q) or (q, k))
    assert not rotary._computes_this(getattr(modeling_mistral, NAME))
    cos, sin = angles(1, 5, 8, torch.float32)
    q = drawn(1, 2, 5, 16)  # only the first half of it would be turned
    asked.clear()
    assert rotary._rotary(getattr(modeling_mistral, NAME), q, q, cos, sin)[0] is q and len(asked) == 1
    fuse_rotary(model)
    assert not hasattr(getattr(modeling_mistral, NAME), "instead_of")


def test_it_is_replaced_once(tmp_path, monkeypatch):
    monkeypatch.setattr(modeling_mistral, NAME, plainly)
    save_mistral(tmp_path, vocab_size=64, context=128)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    fuse_rotary(model)
    first = getattr(modeling_mistral, NAME)
    fuse_rotary(model)
    assert getattr(modeling_mistral, NAME) is first and first.instead_of is plainly
