"""Packed weights: the same products to the bit, with a model's own weights and with an adapter's."""

import pytest
import torch
from torch import nn

from sotopia_pi.models.adapters import carrying
from sotopia_pi.models.packed import PackedLinear, exchange, pack_linear_maps, packed

able = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
pytestmark = pytest.mark.skipif(not able, reason="this processor does not multiply bfloat16")


def bf16(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16)


def two_maps() -> nn.Sequential:
    """One map with a bias, one without."""
    model = nn.Sequential(nn.Linear(48, 80), nn.SiLU(), nn.Linear(80, 33, bias=False)).to(torch.bfloat16).eval()
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter.copy_(bf16(*parameter.shape, seed=seed))
    return model


@torch.inference_mode()
@pytest.mark.parametrize("rows", [1, 3, 32, 200])
def test_a_packed_model_computes_the_same_to_the_bit(rows):
    model, x = two_maps(), bf16(1, rows, 48, seed=9)
    plain = model(x)
    pack_linear_maps(model)
    assert [type(model[k]) for k in (0, 2)] == [PackedLinear, PackedLinear]
    assert torch.equal(model(x), plain)


@torch.inference_mode()
def test_another_matrix_takes_the_place_of_the_packed_one_and_gives_it_back():
    model, x, other = two_maps(), bf16(5, 48, seed=9), bf16(33, 80, seed=8)
    pack_linear_maps(model)
    own = model(x)
    middle = model[1](model[0](x))
    with carrying({model[2]: packed(other)}):
        assert torch.equal(model(x), nn.functional.linear(middle, other))
    assert torch.equal(model(x), own)


def test_float32_and_other_layers_stay_as_they_are():
    model = nn.Sequential(nn.Linear(4, 4), nn.Embedding(4, 4))
    pack_linear_maps(model)
    assert type(model[0]) is nn.Linear
    weight = torch.ones(4, 4)
    before = exchange(model[0], weight)
    assert before.shape == (4, 4) and model[0].weight.data_ptr() == weight.data_ptr()
