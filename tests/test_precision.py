"""The dtype is a property of the machine, and what was asked for is what is used."""

import pytest
import torch

from sotopia_pi.models.precision import fast_dtype


def test_what_was_asked_for_is_used():
    assert fast_dtype("float32") == "float32" and fast_dtype("bfloat16") == "bfloat16"


@pytest.mark.parametrize(
    ("able", "dtype"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, "float32"),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ({"neon": True}, "float32"),
    ],
)
def test_auto_takes_bfloat16_only_where_the_processor_multiplies_it(able, dtype, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert fast_dtype() == dtype


def test_an_unknown_dtype_is_refused_with_what_is_allowed():
    with pytest.raises(ValueError, match="allowed: auto, bfloat16, float32"):
        fast_dtype("fp8")
