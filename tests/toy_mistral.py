"""A small model of Mistral's architecture with random weights: grouped queries, gated layers, no bias."""

from pathlib import Path

import torch
from transformers import MistralConfig, MistralForCausalLM


def save_mistral(folder: Path, vocab_size: int, context: int, **more) -> Path:
    """Write config and weights, always the same ones. context: most positions; more: settings of its configuration."""
    config = MistralConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=context,
        **more,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MistralForCausalLM(config).save_pretrained(folder)
    return folder
