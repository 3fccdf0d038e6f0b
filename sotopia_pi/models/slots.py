"""Slots: where the keys and values of conversations stay between turns, and attention over them without copying."""

import math
import mmap
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION = "sotopia_slots"
"""Name under which the attention below is known to transformers."""

SHORT_LOSS = 64
"""A free slot is taken over in place when at most this many of its tokens are lost by it (about one reply); above
that, the shared beginning is copied and the longer conversation stays."""

WORTHWHILE = 16
"""A shared beginning shorter than this many tokens is computed anew rather than copied."""

BLOCK = 128
"""New tokens of one sequence that are attended from together. On a processor with AVX512-BF16, 80 tokens behind 280
took 0.55 of the time of scaled_dot_product_attention, 512 at the beginning 0.29 of it."""

FEW_PIECES = 2
"""Sequences that are stepped together on a graphics card may lie in so many groups of neighbouring rows; in more, they
are moved together. A further group costs a few small operations a layer at every step, a move the copying of a
conversation once. On a processor they are read where they lie."""


@dataclass
class Slot:
    """One row of the store. tokens: ids whose keys and values it holds; owner: digest of the adapter they belong to.

    Keys and values depend on every weight below them, so that nothing is ever shared between adapters.
    """

    row: int
    tokens: list[int] = field(default_factory=list)
    owner: str = ""
    busy: bool = False
    used: int = 0


class Slots:
    """Keys and values of up to `rows` conversations, each with room for `capacity` tokens, preallocated.

    In main memory untouched rows cost nothing: pages become resident when they are first written.
    on_processor: whether attention goes the way that is fastest on a processor, or that on a graphics card.
    """

    def __init__(self, config, rows: int, capacity: int, dtype: torch.dtype, device: str = "cpu"):
        heads = config.num_key_value_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.capacity, self.dtype, self.device = capacity, dtype, device
        self.on_processor = device == "cpu"
        shape = (rows, heads, capacity, size)
        self.keys = [_zeros(shape, dtype, device) for _ in range(config.num_hidden_layers)]
        self.values = [_zeros(shape, dtype, device) for _ in range(config.num_hidden_layers)]
        self.slots = [Slot(row) for row in range(rows)]
        self._clock = 0

    def free(self) -> int:
        """How many slots are not busy."""
        return sum(not slot.busy for slot in self.slots)

    def take(self, ids: Sequence[int], owner: str, reuse: bool = True) -> Slot | None:
        """A slot for a conversation, holding as long a beginning of `ids` as any slot of this owner holds.

        At least one token is always left to compute. None when every slot is busy. Where a slot must be given up it is
        the one not used for longest.
        """
        idle = [slot for slot in self.slots if not slot.busy]
        if not idle:
            return None
        oldest = min(idle, key=lambda slot: (slot.used, slot.row))
        best, shared = self._longest_shared(ids, owner) if reuse else (None, 0)
        if best is None or shared < WORTHWHILE:
            return self._claim(oldest, [], owner)
        if not best.busy and (best is oldest or len(best.tokens) - shared <= SHORT_LOSS):
            return self._claim(best, best.tokens[:shared], owner)
        for layer in (*self.keys, *self.values):
            layer[oldest.row, :, :shared] = layer[best.row, :, :shared]
        return self._claim(oldest, best.tokens[:shared], owner)

    def bring_together(self, slots: Sequence[Slot]) -> None:
        """Exchange rows until these slots lie in neighbouring ones, where that is how they are read and they are
        scattered over several pieces."""
        if self.on_processor:
            return
        rows = sorted(slot.row for slot in slots)
        if sum(b - a > 1 for a, b in pairwise(rows)) < FEW_PIECES:
            return
        n, taken = len(rows), set(rows)
        firsts = range(len(self.slots) - n + 1)
        first = max(firsts, key=lambda row: bisect(rows, row + n - 1) - bisect(rows, row - 1))
        by_row = {slot.row: slot for slot in self.slots}
        room = (by_row[row] for row in range(first, first + n) if row not in taken)
        for row in rows:
            if not first <= row < first + n:
                self._exchange(by_row[row], next(room))

    def _exchange(self, one: Slot, other: Slot) -> None:
        """Let two slots change places."""
        n_one, n_other = len(one.tokens), len(other.tokens)
        for layer in (*self.keys, *self.values):
            kept = layer[other.row, :, :n_other].clone()
            layer[other.row, :, :n_one] = layer[one.row, :, :n_one]
            layer[one.row, :, :n_other] = kept
        one.row, other.row = other.row, one.row

    def release(self, slot: Slot, keep: bool = True) -> None:
        """Give a slot back; what it holds stays for a later request, unless keep is False."""
        self._clock += 1
        slot.busy, slot.used = False, self._clock
        if not keep:
            slot.tokens, slot.owner, slot.used = [], "", 0

    def _claim(self, slot: Slot, tokens: list[int], owner: str) -> Slot:
        slot.tokens, slot.owner, slot.busy = list(tokens), owner, True
        return slot

    def _longest_shared(self, ids: Sequence[int], owner: str) -> tuple[Slot | None, int]:
        best, longest = None, 0
        for slot in self.slots:
            if slot.owner == owner and len(slot.tokens) > longest:
                shared = min(shared_beginning(slot.tokens, ids), len(ids) - 1)
                if shared > longest:
                    best, longest = slot, shared
        return best, longest


@dataclass(frozen=True)
class _Run:
    """Sequences in neighbouring rows that each feed one token: positions first..last of the batch's tokens."""

    tokens: slice
    rows: slice
    length: int
    mask: torch.Tensor


@dataclass(frozen=True)
class _Chunk:
    """One sequence that feeds several tokens. past: tokens in its slot before this step."""

    tokens: slice
    row: int
    past: int


class Step:
    """One forward pass over the tokens of many sequences laid end to end, without padding.

    feeds: (slot, new token ids) for each sequence. `order` says where each sequence's last token lies in the batch.
    Given to the model as its cache: `update` writes the new keys and values into the slots.
    """

    def __init__(self, slots: Slots, feeds: Sequence[tuple[Slot, list[int]]]):
        self._slots = slots
        singles = sorted((k for k, (_, new) in enumerate(feeds) if len(new) == 1), key=lambda k: feeds[k][0].row)
        longer = [k for k, (_, new) in enumerate(feeds) if len(new) > 1]
        ids, rows, positions = [], [], []
        self.last = [0] * len(feeds)
        starts = {}
        for k in (*singles, *longer):
            slot, new = feeds[k]
            starts[k] = len(ids)
            ids += new
            rows += [slot.row] * len(new)
            positions += range(len(slot.tokens), len(slot.tokens) + len(new))
            self.last[k] = len(ids) - 1
        self.ids = torch.tensor([ids], device=slots.device)
        self.positions = torch.tensor([positions], device=slots.device)
        self._index = torch.tensor(rows, device=slots.device)
        self._rows, self._at = np.array(rows), np.array(positions)
        self._last_rows, self._last_lengths = self._rows[: len(singles)], self._at[: len(singles)] + 1
        self._runs = [] if slots.on_processor else list(self._neighbours([feeds[k][0] for k in singles]))
        self._chunks = [
            _Chunk(slice(starts[k], starts[k] + len(feeds[k][1])), feeds[k][0].row, len(feeds[k][0].tokens))
            for k in longer
        ]
        longest = 0 if slots.on_processor else min(BLOCK, max((len(feeds[k][1]) for k in longer), default=0))
        self._later = self._mask(torch.ones(longest, longest, dtype=torch.bool).triu(1))

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_, **__):
        """Write keys and values [1, heads, tokens, size] of one layer; returns that layer's whole store."""
        stores = self._slots.keys[layer], self._slots.values[layer]
        for new, store in zip((keys, values), stores, strict=True):
            if self._slots.on_processor:
                from sotopia_pi.models.decode_attention import keep  # by numba, which a graphics card does without

                keep(new[0], store, self._rows, self._at)
            else:
                store[self._index, :, self.positions[0]] = new[0].transpose(0, 1)
        return stores

    def get_seq_length(self, *_) -> int:
        return 0

    def attend(self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
        """Attention of queries [1, query heads, tokens, size] over a layer's store; [1, tokens, query heads, size].

        Keys and values are read in place and once, by the query heads that share them together.
        """
        _, query_heads, n_tokens, size = query.shape
        heads = keys.shape[1]
        out = query.new_empty(1, n_tokens, query_heads, size)
        if len(self._last_rows) and self._slots.on_processor:
            from sotopia_pi.models.decode_attention import attend_last  # by numba, which a graphics card does without

            last = slice(len(self._last_rows))
            asked = query[0, :, last].transpose(0, 1)
            attend_last(asked, keys, values, self._last_rows, self._last_lengths, scale, out[0, last])
        for run in self._runs:
            asked = query[0, :, run.tokens].transpose(0, 1).reshape(-1, heads, query_heads // heads, size)
            k, v = keys[run.rows, :, : run.length], values[run.rows, :, : run.length]
            out[0, run.tokens] = _attend_few(asked, k, v, run.mask, scale).view(-1, query_heads, size)
        for chunk in self._chunks:
            self._attend_chunk(chunk, query[0], keys[chunk.row], values[chunk.row], scale, out[0])
        return out

    def _attend_chunk(
        self,
        chunk: _Chunk,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scale: float,
        out: torch.Tensor,
    ) -> None:
        """Fill the chunk's part of `out` [tokens, query heads, size], from a row's keys and values [heads, room, size].

        A block of queries at a time, over the keys that they may see, as in training.
        """
        heads, n_queries = keys.shape[0], query.shape[0] // keys.shape[0]
        for first in range(chunk.tokens.start, chunk.tokens.stop, BLOCK):
            tokens = slice(first, min(first + BLOCK, chunk.tokens.stop))
            n, length = tokens.stop - first, chunk.past + tokens.stop - chunk.tokens.start
            asked, k, v = query[:, tokens], keys[:, :length], values[:, :length]
            if self._slots.on_processor:
                from sotopia_pi.models.fused import causal_softmax

                # Copied as it lies: the product would copy it, too, but turned, which takes four times as long.
                scores = torch.bmm(asked.reshape(heads, -1, k.shape[2]), k.contiguous().transpose(1, 2))
                causal_softmax(scores, n_queries, scale)
                found = torch.bmm(scores, v)
            else:
                mask = pad(self._later[:n, :n], (length - n, 0))
                found = scaled_dot_product_attention(
                    asked[None], k[None], v[None], attn_mask=mask, scale=scale, enable_gqa=n_queries > 1
                )
            out[tokens] = found.view(-1, n, k.shape[2]).transpose(0, 1)

    def _neighbours(self, slots: list[Slot]) -> Iterator[_Run]:
        first = 0
        for k in range(1, len(slots) + 1):
            if k == len(slots) or slots[k].row != slots[k - 1].row + 1:
                lengths = torch.tensor([len(slot.tokens) + 1 for slot in slots[first:k]])
                longest = int(lengths.max())
                hidden = torch.arange(longest)[None] >= lengths[:, None]
                yield _Run(
                    slice(first, k),
                    slice(slots[first].row, slots[k - 1].row + 1),
                    longest,
                    self._mask(hidden)[:, None, None],
                )
                first = k

    def _mask(self, hidden: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros(hidden.shape, dtype=self._slots.dtype).masked_fill(hidden, float("-inf"))
        return mask.to(self._slots.device)


def _attend_few(asked, keys, values, mask, scale) -> torch.Tensor:
    """What a few queries [rows, heads, queries, size] find in keys and values [rows, heads, length, size].

    The keys stand on the left of the first product: so they are read once as they lie, where the usual order (and
    scaled_dot_product_attention) first arranges them anew, for three queries as for hundreds.
    mask: added to the scores [rows, heads, queries, length].
    """
    keys, values, queries = (part.flatten(0, 1) for part in (keys, values, asked))
    scores = torch.bmm(keys, queries.transpose(1, 2)).transpose(1, 2).contiguous().mul_(scale)
    weights = torch.softmax(scores.view(*asked.shape[:3], -1).add_(mask), dim=-1)
    return torch.bmm(weights.view_as(scores), values).view(asked.shape)


def _attention(module, query, key, value, attention_mask, scaling=None, slots_step: Step | None = None, **_):
    """The attention function transformers calls; the masks come from the step, not from transformers."""
    if slots_step is None:
        raise RuntimeError(f"attention {ATTENTION!r} was called outside of a step; call the model through LocalModel")
    return slots_step.attend(query, key, value, scaling or query.shape[-1] ** -0.5), None


AttentionInterface.register(ATTENTION, _attention)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> torch.Tensor:
    """Zeros; in main memory such that become resident page by page as they are written, not all of it at once.

    Huge pages are declined, for a few written tokens would make a whole one resident. Zeros they must be: a masked
    position has weight 0, and 0 times whatever lay there before could be NaN.
    """
    if device != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)


def shared_beginning(held: Sequence[int], ids: Sequence[int]) -> int:
    """Length of the common beginning of two id lists."""
    for k, (a, b) in enumerate(zip(held, ids, strict=False)):
        if a != b:
            return k
    return min(len(held), len(ids))
