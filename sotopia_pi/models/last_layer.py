"""The last layer of a model, computed only where it is asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

BESIDE_KEYS_AND_VALUES = ("self_attn.q_proj", "self_attn.o_proj", "mlp")
"""What a decoder layer computes row by row, beside keys and values."""


@contextmanager
def only_for(decoder: nn.Module, rows: torch.Tensor) -> Iterator[None]:
    """The decoder answers for these rows of its batch [batch * length]; what it answers for the others means nothing.

    No layer looks at the last one's output, so that of its other rows only keys and values are needed. A decoder whose
    layers have other parts answers for all, and so does one that computes activations again in its backward pass.
    """
    parts = _parts(decoder)
    own = {name: vars(part).get("forward") for name, part in parts.items()}
    try:
        for part in parts.values():
            part.forward = partial(_for_rows, part.forward, rows)
        yield
    finally:
        for name, part in parts.items():
            if own[name] is None:
                vars(part).pop("forward", None)
            else:
                part.forward = own[name]


def _parts(decoder: nn.Module) -> dict[str, nn.Module]:
    """Those parts of the last layer, where it has them all and computes them once."""
    layers = getattr(decoder, "layers", ())
    named = dict(layers[-1].named_modules()) if len(layers) else {}
    if any(getattr(module, "gradient_checkpointing", False) for module in named.values()):
        return {}
    found = {name: named[name] for name in BESIDE_KEYS_AND_VALUES if name in named}
    return found if len(found) == len(BESIDE_KEYS_AND_VALUES) else {}


def _for_rows(
    forward: Callable[..., torch.Tensor], rows: torch.Tensor, x: torch.Tensor, *more, **other
) -> torch.Tensor:
    """What a part answers for some rows of x [batch, length, inputs], and 0 for the others."""
    found = forward(x.flatten(0, 1)[None, rows], *more, **other)[0]
    return found.new_zeros(x.shape[0] * x.shape[1], found.shape[-1]).index_copy(0, rows, found).view(*x.shape[:2], -1)
