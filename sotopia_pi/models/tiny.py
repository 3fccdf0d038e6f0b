"""A tiny random Llama with a tokenizer of its own: the whole pipeline in seconds, and words that mean nothing."""

import math
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY = 640
"""Most tokens: 256 bytes, the special tokens, and merges enough that a common word is one to three tokens."""

MEAN_REPLY_TOKENS = 12
"""About how many tokens the untrained model samples before its end marker."""

CONTEXT = 2048
TEXT = (
    "system user assistant You are I am He is She is They are my name is years old a teacher a nurse a farmer. "
    "Your goal is to sell the lamp for as much as you can. Your secret is yours. You want to buy the bicycle. "
    "I can offer $40 for it. How about $55? That is too low for me. I could do $48, if you take it today. "
    "Deal! We have a deal at $48. I accept your offer. Let us meet on Tuesday at 2 pm in the library. "
    "Monday Wednesday Thursday Friday Saturday Sunday morning afternoon evening cafe park office. "
    "You take the book and I take the lamp. Could you please do me a favour? I would rather not say. "
    "The other person speaks first. To close a deal, repeat the terms or say that you accept. "
    "Thank you, that works for me. No, sorry, I have to leave now. [action] [leave] [none] one sentence a turn "
)


def make_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write a two-layer random Llama (fp32, hidden size 64) and its tokenizer as a Hugging Face folder.

    Same seed, same bytes. Every text of any language can be tokenised: all 256 bytes are tokens.
    """
    tokenizer = _tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.convert_tokens_to_ids("<|im_start|>"),
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    _let_it_end(model)
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@torch.no_grad()
def _let_it_end(model: LlamaForCausalLM) -> None:
    """Make the end marker likely enough that random replies end; otherwise hardly one would, and none could be kept.

    Every embedding gets the same large first component, which the output row of the end marker alone listens to:
    that is a constant added to its logit.
    """
    embeddings, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    embeddings[:, 0] = 0.1
    size = embeddings.shape[1]
    first_component = 0.1 / ((0.01 + (size - 1) * 0.02**2) / size) ** 0.5
    head[:, 0] = 0
    head[model.config.eos_token_id] = 0
    head[model.config.eos_token_id, 0] = math.log(embeddings.shape[0] / MEAN_REPLY_TOKENS) / first_component


def _tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(TEXT.split(". "), trainer)
    end_of_text, start, end = SPECIAL_TOKENS
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=start, eos_token=end, pad_token=end_of_text, unk_token=end_of_text
    )
    tokenizer.chat_template = CHATML
    tokenizer.model_max_length = CONTEXT
    return tokenizer
