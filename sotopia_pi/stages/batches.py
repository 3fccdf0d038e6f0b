"""Batches: which examples make up each optimiser step, how they are padded, and the loss on them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import pad

from sotopia_pi.models.last_layer import only_for
from sotopia_pi.stages.examples import SFTExample
from sotopia_pi.stages.lora import LoraSettings
from sotopia_pi.stages.token_loss import summed_token_loss

BUCKET_STEPS = 16
"""Steps whose examples are sorted by length together: enough that neighbours are nearly equally long, few enough
that every part of an epoch sees long and short examples."""

_SPLIT, _ORDER = 1, 2


@dataclass(frozen=True)
class Split:
    """Examples to train on, and those held out."""

    train: tuple[SFTExample, ...]
    held_out: tuple[SFTExample, ...]


def split(examples: Sequence[SFTExample], settings: LoraSettings) -> Split:
    """Hold out `validation_share` of the episodes (both sides of one together, at least one), drawn by the seed."""
    episodes = sorted({e.episode_id for e in examples})
    n = round(settings.validation_share * len(episodes))
    if settings.validation_share and not 0 < n < len(episodes):
        n = min(1, len(episodes) - 1)
    held = {episodes[i] for i in np.random.default_rng([settings.seed, _SPLIT]).permutation(len(episodes))[:n]}
    return Split(
        tuple(e for e in examples if e.episode_id not in held), tuple(e for e in examples if e.episode_id in held)
    )


def n_steps(n_examples: int, settings: LoraSettings) -> int:
    """Optimiser steps of a whole training on this many examples (without those held out)."""
    return settings.epochs * -(-n_examples // settings.batch_size)


def steps_of_epoch(examples: Sequence[SFTExample], settings: LoraSettings, epoch: int) -> list[list[SFTExample]]:
    """The examples of each step: shuffled by seed and epoch, then gathered by length, so that little is padded."""
    generator = np.random.default_rng([settings.seed, _ORDER, epoch])
    shuffled = [examples[i] for i in generator.permutation(len(examples))]
    size = settings.batch_size
    steps: list[list[SFTExample]] = []
    for start in range(0, len(shuffled), BUCKET_STEPS * size):
        bucket = sorted(shuffled[start : start + BUCKET_STEPS * size], key=lambda e: len(e.ids))
        steps += [bucket[i : i + size] for i in range(0, len(bucket), size)]
    return [steps[i] for i in generator.permutation(len(steps))]


def micro_batches(examples: Sequence[SFTExample], micro_tokens: int) -> Iterator[list[SFTExample]]:
    """The examples in parts of at most `micro_tokens` tokens, padding included (at least one example a part)."""
    part: list[SFTExample] = []
    for example in sorted(examples, key=lambda e: len(e.ids)):
        if part and (len(part) + 1) * len(example.ids) > micro_tokens:
            yield part
            part = []
        part.append(example)
    if part:
        yield part


def summed_loss(model: torch.nn.Module, examples: Sequence[SFTExample]) -> torch.Tensor:
    """Sum over the supervised tokens of -log p, in nats; divide by their number to compare.

    Padding stands on the right, where no real token looks under causal attention, so no attention mask is needed.
    The output layer, the largest matrix of a small model, runs only where the next token is supervised; so does most of
    the last decoder layer.
    """
    device = next(model.parameters()).device
    ids, own = padded(examples)
    ids, own = ids.to(device), own.to(device)
    causal_lm = model.get_base_model() if hasattr(model, "get_base_model") else model
    learnt = own[:, 1:]
    rows = pad(learnt, (0, 1)).flatten().nonzero()[:, 0]
    decoder = causal_lm.get_decoder()
    with only_for(decoder, rows):
        hidden = decoder(input_ids=ids, use_cache=False).last_hidden_state
    logits = causal_lm.get_output_embeddings()(hidden.flatten(0, 1)[rows])
    return summed_token_loss(logits, ids[:, 1:][learnt])


def padded(examples: Sequence[SFTExample]) -> tuple[torch.Tensor, torch.Tensor]:
    """ids (n, longest) int64 and own (n, longest) bool, filled up on the right with 0 and False."""
    longest = max(len(e.ids) for e in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.int64)
    own = torch.zeros(len(examples), longest, dtype=torch.bool)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        own[row, : len(example.own)] = torch.tensor(example.own, dtype=torch.bool)
    return ids, own


@torch.no_grad()
def check_output_layer(model: torch.nn.Module, example: SFTExample) -> None:
    """Raise ValueError where a model does more to its logits than its output layer does (scaling, soft caps)."""
    model.eval()
    device = next(model.parameters()).device
    ids = torch.tensor([example.ids[:8]], device=device)
    causal_lm = model.get_base_model() if hasattr(model, "get_base_model") else model
    short = causal_lm.get_output_embeddings()(causal_lm.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state)
    whole = causal_lm(input_ids=ids, use_cache=False).logits
    if not torch.allclose(short.float(), whole.float(), atol=1e-2, rtol=1e-2):
        raise ValueError(
            f"{type(causal_lm).__name__} changes its logits after the output layer (by "
            f"{(short - whole).abs().max().item():.3g}); the loss here does not, so such models cannot be trained yet"
        )
