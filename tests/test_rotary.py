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


@pytest.mark.parametrize("forth", [True, False])
def test_a_piece_of_the_tokens_is_turned_and_nothing_beside_it(forth):
    by_token, by_head = drawn(2, 5, 3, 8), drawn(2, 3, 5, 8, seed=1)
    x, before = (by_token, by_head) if forth else (by_head, by_token)
    cos, sin = (part.numpy() for part in angles(1, 5, 8, torch.float32))
    whole, some = before.clone(), before.clone()
    rotary._turn(x.numpy(), cos, sin, whole.numpy(), forth)
    rotary._turn_piece(3, 7, x.numpy(), cos, sin, some.numpy(), forth)
    whole, some, before = ((part.transpose(1, 2) if forth else part).flatten(0, 1) for part in (whole, some, before))
    assert torch.allclose(some[3:7], whole[3:7]) and not (some[3:7] == before[3:7]).all(-1).any()
    assert torch.equal(some[:3], before[:3]) and torch.equal(some[7:], before[7:])


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


@pytest.mark.parametrize(
    "other",
    [
        in_pairs,
        lambda q, k, freqs: (q, k),
        lambda q, k, cos, sin, positions: plainly(q, k, cos[positions], sin[positions]),
        lambda q, k, cos, sin: plainly(q, k, torch.cat([cos, cos], -1), torch.cat([sin, sin], -1)),
    ],
    ids=["neighbours", "other arguments", "one more argument", "half the angles"],
)
def test_what_turns_otherwise_is_left_alone(tmp_path, monkeypatch, other):
    save_mistral(tmp_path, vocab_size=64, context=128)
    monkeypatch.setattr(modeling_mistral, NAME, other)
    fuse_rotary(AutoModelForCausalLM.from_pretrained(tmp_path))
    assert getattr(modeling_mistral, NAME) is other


def test_what_is_asked_for_otherwise_is_left_to_the_plain_function():
    asked = []

    def plain(q, k, cos, sin, unsqueeze_dim=1):
        asked.append(unsqueeze_dim)
        return q, k

    q, (cos, sin) = drawn(1, 2, 5, 8), angles(1, 5, 8, torch.float32)
    assert rotary._rotary(plain, q, q, cos, sin)[0] is not q and not asked
    for x, more in ((q, [2]), (q, [1]), (q.double(), []), (drawn(1, 2, 5, 16), []), (drawn(1, 2, 6, 8), [])):
        assert rotary._rotary(plain, x, x, cos, sin, *more)[0] is x
    assert rotary._rotary(plain, q, q, cos, sin, unsqueeze_dim=2)[0] is q
    assert asked == [2, 1, 1, 1, 1, 2]


def test_it_is_replaced_once(tmp_path, monkeypatch):
    monkeypatch.setattr(modeling_mistral, NAME, plainly)
    save_mistral(tmp_path, vocab_size=64, context=128)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    fuse_rotary(model)
    first = getattr(modeling_mistral, NAME)
    fuse_rotary(model)
    assert getattr(modeling_mistral, NAME) is first and first.instead_of is plainly
