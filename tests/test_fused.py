"""Loops compiled for a processor: what they compute is what the plain operations do, forth and back."""

import subprocess
import sys

import numba
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import silu
from toy_mistral import save_mistral
from transformers import AutoModelForCausalLM

from sotopia_pi.models import float_bits, fused
from sotopia_pi.models.decode_attention import attend_last, keep
from sotopia_pi.models.float_bits import larger, narrow, two_to, wide
from sotopia_pi.models.fused import FusedGate, FusedNorm, causal_softmax, causal_softmax_back, fuse

BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def near(found: torch.Tensor, exact: torch.Tensor, size: float = 1.0) -> None:
    """float32: 1e-5; bfloat16: what rounding once may change."""
    share = 1e-5 if found.dtype == torch.float32 else 2**-8
    torch.testing.assert_close(found.float(), exact.float(), rtol=share, atol=share * size)


def over(function, numbers, found=None):
    """Call a compiled function for each of some numbers, in a compiled loop."""
    found = np.empty(len(numbers), np.float32) if found is None else found

    @numba.njit
    def loop(numbers, found):
        for k in range(len(found)):
            found[k] = function(numbers[k], found)

    loop(numbers, found)
    return found


def test_what_is_stored_is_rounded_as_torch_does_it_and_read_as_it_was():
    ties = torch.tensor([0.0, -0.0, 1 + 2**-8, 1 + 3 * 2**-8])
    numbers = torch.cat([drawn(5000) * 10.0 ** drawn(5000, seed=1), ties])
    stored, read = numba.njit(lambda number, array: narrow(number, array)), numba.njit(lambda number, _: wide(number))
    halves, expected = over(stored, numbers.numpy(), np.empty(len(numbers), np.uint16)), numbers.to(torch.bfloat16)
    assert torch.equal(torch.from_numpy(halves).view(torch.bfloat16), expected)
    assert (over(read, halves) == expected.float().numpy()).all()
    assert (over(stored, numbers.numpy()) == numbers.numpy()).all() and (
        over(read, numbers.numpy()) == numbers.numpy()
    ).all()


def test_powers_of_two_are_near_over_the_whole_range_and_end_at_its_ends():
    raised = numba.njit(lambda power, _: two_to(power))
    powers = np.linspace(-125, 125, 40_001, dtype=np.float32)
    assert np.abs(over(raised, powers) / np.exp2(powers.astype(np.float64)) - 1).max() < 4e-7
    assert (over(raised, np.float32([-1e9, 1e9])) == np.float32([2.0**-126, 2.0**126])).all()
    at_least_one = numba.njit(lambda number, _: larger(number, np.float32(1)))
    assert (over(at_least_one, np.float32([2, -2, 1])) == [2, 1, 1]).all()


@BOTH
def test_a_norm_is_the_plain_one_with_its_gradient(dtype):
    weight = nn.Parameter(drawn(40, seed=2, dtype=dtype), requires_grad=False)
    norm = FusedNorm()
    norm.weight, norm.variance_epsilon = weight, 1e-5
    rows, passed = drawn(2, 3, 40, dtype=dtype), drawn(2, 3, 40, seed=3, dtype=dtype)
    exact = rows.double().requires_grad_()
    plain = exact / (exact.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    learnt = rows.clone().requires_grad_()
    near(norm(rows), plain.detach())
    (back,) = torch.autograd.grad(norm(learnt), learnt, passed)
    near(back, torch.autograd.grad(plain, exact, passed.double())[0])
    assert norm(rows.transpose(0, 1)).shape == (3, 2, 40)


@BOTH
def test_a_gate_is_the_plain_one_with_its_gradients(dtype):
    gate, up, passed = (drawn(3, 50, seed=seed, dtype=dtype) * 4 for seed in range(3))
    exact = [part.double().requires_grad_() for part in (gate, up)]
    plain = silu(exact[0]) * exact[1]
    near(fused._gated(gate, up), plain.detach(), size=16)
    learnt = [part.clone().requires_grad_() for part in (gate, up)]
    backs = torch.autograd.grad(fused._Gate.apply(*learnt), learnt, passed)
    for back, of_plain in zip(backs, torch.autograd.grad(plain, exact, passed.double()), strict=True):
        near(back, of_plain, size=16)
    assert torch.isfinite(fused._gated(torch.full((1, 4), -300.0, dtype=dtype), up[:1, :4])).all()


@BOTH
@pytest.mark.parametrize(("n", "room"), [(1, 1), (4, 4), (3, 9)])
def test_weights_reach_as_far_as_a_query_sees_and_their_gradient_too(dtype, n, room):
    scores = drawn(2, 3 * n, room, dtype=dtype) * 5
    exact = scores.double().requires_grad_()
    hidden = torch.ones(n, room, dtype=torch.bool).triu(room - n + 1).repeat(3, 1)
    plain = torch.softmax((exact * 0.3).masked_fill(hidden, float("-inf")), dim=-1)
    weights, passed = scores.clone(), drawn(2, 3 * n, room, seed=5, dtype=dtype)
    assert causal_softmax(weights, 3, 0.3) == n
    near(weights, plain.detach())
    expected = torch.autograd.grad(plain, exact, passed.double())[0]
    causal_softmax_back(passed, weights, 3, 0.3)
    near(passed, expected, size=4)
    assert not passed[:, hidden].any()


@BOTH
@pytest.mark.parametrize("loop", ["_norm", "_norm_back", "_gate", "_gate_back", "_softmax", "_softmax_back"])
def test_a_piece_is_computed_and_nothing_beside_it(dtype, loop):
    lines = "norm" in loop or "softmax" in loop
    shape, (first, last) = ((30, 8), (10, 17)) if lines else ((240,), (80, 136))
    arrays = [float_bits.shown(drawn(*shape, seed=seed, dtype=dtype)) for seed in range(5)]
    weight, scales = float_bits.shown(drawn(8, dtype=dtype)), np.ones(30, np.float32)
    handed, written = {
        "_norm": ((*arrays[:2], scales, weight, np.float32(1e-5)), (1, 2)),
        "_norm_back": ((*arrays[:3], scales, weight), (2,)),
        "_gate": (arrays[:3], (2,)),
        "_gate_back": (arrays, (3, 4)),
        "_softmax": ((arrays[0], 3, np.float32(0.3)), (0,)),
        "_softmax_back": ((*arrays[:2], 3, np.float32(0.3)), (0,)),
    }[loop]
    before = [handed[place].copy() for place in written]
    getattr(fused, f"{loop}_piece")(first, last, *handed)
    pieces = [handed[place].copy() for place in written]
    for place, was in zip(written, before, strict=True):
        handed[place][:] = was
    getattr(fused, loop)(*handed)
    for place, piece, was in zip(written, pieces, before, strict=True):
        np.testing.assert_allclose(piece[first:last], handed[place][first:last], 1e-5, 1e-6)
        assert (piece[:first] == was[:first]).all() and (piece[last:] == was[last:]).all()
        assert (handed[place] != was)[[0, -1]].any()


@BOTH
@pytest.mark.parametrize(("size", "heads", "group"), [(64, 3, 3), (8, 2, 1), (80, 1, 4)])
def test_each_query_finds_what_its_row_holds_as_far_as_it_goes(dtype, size, heads, group):
    keys, values = drawn(6, heads, 50, size, dtype=dtype), drawn(6, heads, 50, size, seed=1, dtype=dtype)
    query = drawn(1, heads * group, 4, size, seed=2, dtype=dtype)[0].transpose(0, 1)
    rows, lengths = [5, 0, 3, 1], [50, 1, 17, 33]
    found = torch.empty(4, heads * group, size, dtype=dtype)
    attend_last(query, keys, values, np.array(rows), np.array(lengths), 0.2, found)
    for k, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        asked = query[k].double().view(heads, group, size)
        weights = torch.softmax(asked @ keys[row, :, :length].double().transpose(1, 2) * 0.2, dim=-1)
        near(found[k], (weights @ values[row, :, :length].double()).reshape(-1, size))


@BOTH
def test_keys_lie_where_they_are_kept_and_nowhere_else(dtype):
    new = drawn(1, 4, 2 * 8, dtype=dtype).view(1, 4, 2, 8).transpose(1, 2)[0]
    rows, places = np.array([3, 0, 0, 4]), np.array([6, 0, 1, 2])
    plain = torch.zeros(5, 2, 7, 8, dtype=dtype)
    plain[torch.from_numpy(rows), :, torch.from_numpy(places)] = new.transpose(0, 1)
    for lying in (new, new.contiguous(), new.transpose(1, 2).contiguous().transpose(1, 2)):
        store = torch.zeros_like(plain)
        keep(lying, store, rows, places)
        assert torch.equal(store, plain)


def test_only_parts_that_compute_just_this_are_replaced(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(save_mistral(tmp_path / "base", vocab_size=64, context=128)).eval()
    ids = torch.arange(20)[None] % 50
    layer, before = model.model.layers[0], model(ids).logits
    layer.mlp.act_fn = nn.GELU()
    fuse(model)
    kinds = {type(module) for module in model.model.layers[1].modules()}
    assert {FusedNorm, FusedGate} <= kinds and isinstance(model.model.norm, FusedNorm)
    assert not isinstance(layer.mlp, FusedGate), "another activation"
    layer.mlp.act_fn = nn.SiLU()
    near(model(ids).logits, before)


def test_a_dtype_that_the_loops_do_not_know_is_left_alone(tmp_path):
    save_mistral(tmp_path, vocab_size=64, context=128)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64)
    fuse(model)
    assert not any(isinstance(module, FusedGate | FusedNorm) for module in model.modules())


def test_where_nothing_can_be_kept_a_loop_is_compiled_all_the_same(monkeypatch):
    compiling = numba.njit

    def no_folder(*arguments, cache=False, **settings):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compiling(*arguments, **settings)

    monkeypatch.setattr(float_bits.numba, "njit", no_folder)

    @float_bits.compiled
    def doubled(numbers):
        for k in range(len(numbers)):
            numbers[k] *= np.float32(2)

    numbers = np.ones(3, np.float32)
    doubled(numbers)
    assert (numbers == 2).all()


def test_what_a_graphics_card_needs_is_there_without_numba():
    """Such machines often bring libraries of their own."""
    modules = ["sotopia_pi.models.local_model", "sotopia_pi.models.engine_pool", "sotopia_pi.stages.finetune"]
    script = f"import importlib, sys; sys.modules['numba'] = None; [importlib.import_module(m) for m in {modules}]"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
