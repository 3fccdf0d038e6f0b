"""How much arithmetic a language model's work takes, whoever does it: the measure of the machine's limit."""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class ModelCost:
    """What one token costs in a model of the Llama kind. An addition and a multiplication are two operations.

    layers: operations of all linear maps of the layers. attended: per token of context looked at, in all layers.
    head: of the output layer. weights: bytes of all that is multiplied. kept: bytes of keys and values of one token.
    """

    layers: float
    attended: float
    head: float
    weights: float
    kept: float

    @classmethod
    def of(cls, config: Any, dtype: str) -> "ModelCost":
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        queries, keys = config.num_attention_heads * size, config.num_key_value_heads * size
        maps = config.hidden_size * (2 * queries + 2 * keys + 3 * config.intermediate_size) * config.num_hidden_layers
        head = config.hidden_size * config.vocab_size
        width = getattr(torch, dtype).itemsize
        return cls(
            layers=2.0 * maps,
            attended=4.0 * queries * config.num_hidden_layers,
            head=2.0 * head,
            weights=float(width * (maps + head)),
            kept=float(2 * width * keys * config.num_hidden_layers),
        )

    def reading(self, start: int, end: int) -> float:
        """Operations of the layers for the tokens at positions start..end-1 of a conversation."""
        return (end - start) * self.layers + self.attended * _looked_at(start, end)


def _looked_at(start: int, end: int) -> float:
    """Context of all tokens at positions start..end-1 together: each looks at those before it and at itself."""
    return (end * (end + 1) - start * (start + 1)) / 2
