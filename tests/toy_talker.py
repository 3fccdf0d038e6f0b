"""A small model with random weights that says whole sentences all the same: its play can be read, rated and kept."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, MistralConfig, PretrainedConfig, Qwen2Config

from sotopia_pi.models.weights import prepare

JSON_REPLIES = (
    '{"action_type": "speak", "argument": "I could wait until day 9."}',
    '{"action_type": "speak", "argument": "Let us take turns, you first."}',
)
PLAIN_REPLIES = ("I could wait until day 9.", "Let us take turns, you first.")
SURE = 0.25
"""Makes the logit of what is to come next about 16 where all others lie within 2 of nothing."""


def save_talker(folder: Path, kind: type[PretrainedConfig], replies: tuple[str, ...]) -> Path:
    """Write weights and tokenizer. kind: MistralConfig or Qwen2Config. It answers whatever it is asked with one of the
    replies, all alike likely, and ends. Each reply is one token of its vocabulary; what a layer adds hardly counts."""
    tokenizer = AutoTokenizer.from_pretrained(prepare("tiny-random"))
    asked = tokenizer.apply_chat_template([{"role": "user", "content": ""}], add_generation_prompt=True)["input_ids"]
    tokenizer.add_tokens(list(replies))
    said = tokenizer.convert_tokens_to_ids(list(replies))
    config = kind(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8192,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        words, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        words.normal_()
        head[said] = SURE * words[asked[-1]]
        head[tokenizer.eos_token_id] = SURE * words[said].sum(0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def mistral(folder: Path) -> Path:
    """Of Mistral's architecture; its replies are actions in JSON."""
    return save_talker(folder, MistralConfig, JSON_REPLIES)


def qwen(folder: Path) -> Path:
    """Of Qwen2.5's architecture; its replies are plain speech."""
    return save_talker(folder, Qwen2Config, PLAIN_REPLIES)
