"""One local model in a thread of its own: it batches whatever calls are in flight and remembers conversations."""

import asyncio
import os
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sotopia_pi.models.adapters import adapter_digest, carrying, merged_weights
from sotopia_pi.models.render import Renderer
from sotopia_pi.models.sampling import draw
from sotopia_pi.models.seam import Reply, Request
from sotopia_pi.models.slots import ATTENTION, Slot, Slots, Step
from sotopia_pi.models.weights import weights_digest
from sotopia_pi.store.items import content_id

STEP_TOKENS = 512
"""Most prompt tokens computed in one step, so that short replies do not wait for a long prompt."""

Settle = Callable[[Reply | None, BaseException | None], None]


class ContextTooLong(ValueError):
    """A conversation does not fit the model's context. Nothing is ever cut off silently."""


@dataclass
class _Sequence:
    """A request on its way. ids: prompt and what was drawn; the slot holds keys and values of the first of them."""

    request: Request
    adapter: str | None
    settle: Settle
    said: Callable[[list[int]], None] | None
    cancelled: Callable[[], bool]
    started: float = field(default_factory=time.monotonic)
    ids: list[int] = field(default_factory=list)
    prompt: int = 0
    cached: int = 0
    slot: Slot | None = None

    def drawn(self) -> list[int]:
        return self.ids[self.prompt :]


class LocalModel:
    """A Hugging Face model folder that answers requests, many at a time.

    dtype: "bfloat16" or "float32". max_batch: most sequences in one step. slots: conversations whose keys and values
    are kept between turns (default: twice max_batch; play no more episodes at once than this). max_context: most
    tokens of prompt and reply. adapters: name -> LoRA folder.
    exact: fp32, one sequence at a time and nothing remembered, so that a reply is bit-equal whatever else runs;
    otherwise another batch may round differently and sample other words.

    Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        folder: Path | str,
        dtype: str = "bfloat16",
        max_batch: int = 32,
        adapters: Mapping[str, Path | str] | None = None,
        exact: bool = False,
        max_context: int = 2048,
        slots: int | None = None,
    ):
        if dtype not in ("bfloat16", "float32"):
            raise ValueError(f"dtype is {dtype!r}; allowed: 'bfloat16' and 'float32'")
        if max_batch < 1:
            raise ValueError(f"max_batch is {max_batch}; it takes at least 1")
        self.folder, self.exact = Path(folder), exact
        self.dtype = "float32" if exact else dtype
        self._max_batch = 1 if exact else max_batch
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.renderer = Renderer(self.tokenizer)
        self.model = AutoModelForCausalLM.from_pretrained(
            self.folder, dtype=getattr(torch, self.dtype), attn_implementation=ATTENTION
        ).eval()
        config = self.model.config
        self.max_context = min(max_context, config.max_position_embeddings, _window(config))
        rows = 1 if exact else max(slots or 2 * max_batch, max_batch)
        self._slots = Slots(config, rows, self.max_context, self.model.dtype)
        self._stops = set(self.renderer.end_ids) | _as_set(self.model.generation_config.eos_token_id)
        self._merged: dict[str | None, dict[str, torch.Tensor]] = {None: {}}
        self._digests: dict[str | None, str] = {None: self._digest_with(None)}
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._waiting: list[_Sequence] = []
        self._running: list[_Sequence] = []
        self._closed = False
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="local-model", daemon=True)
        self._thread.start()
        for name, adapter in (adapters or {}).items():
            self.add_adapter(name, adapter)

    def __enter__(self) -> "LocalModel":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def chat(self, adapter: str | None = None) -> "LocalChat":
        """A chat that answers with this adapter, or with the bare model (None)."""
        if adapter not in self._digests:
            known = ", ".join(repr(name) for name in self._digests if name) or "none"
            raise ValueError(
                f"adapter {adapter!r} is not loaded; loaded: {known}. Call add_adapter(name, folder) first"
            )
        return LocalChat(self, adapter)

    def digest(self, adapter: str | None = None) -> str:
        """Digest of weights, dtype and adapter: what decides how this model answers."""
        return self._digests[adapter]

    def add_adapter(self, name: str, folder: Path | str) -> None:
        """Load a LoRA adapter under a name, in the place of an earlier one; waits for the model's thread."""
        done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._put(partial(self._load_adapter, name, Path(folder), done))
        error = done.get()
        if error is not None:
            raise error

    def close(self) -> None:
        """End the thread. Requests still in flight get a RuntimeError."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._inbox.put(None)
        self._thread.join()

    def submit(self, sequence: _Sequence) -> None:
        self._put(sequence)

    def _put(self, item: Any) -> None:
        with self._gate:
            if self._closed:
                raise RuntimeError(f"the local model {self.folder.name} is closed; open it again to ask it")
            self._inbox.put(item)

    def _digest_with(self, adapter: Path | None) -> str:
        parts = {"weights": weights_digest(self.folder), "dtype": self.dtype}
        if adapter:
            parts["adapter"] = adapter_digest(adapter)
        return content_id("model", parts)

    def _load_adapter(self, name: str, folder: Path, done: queue.SimpleQueue) -> None:
        try:
            digest = self._digest_with(folder)
            self._merged[name] = merged_weights(self.model, folder)
            self._digests[name] = digest
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)

    @torch.inference_mode()
    def _work(self) -> None:
        """The thread: take in what came, give slots, make one step, and again."""
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(len(os.sched_getaffinity(0)))
        while self._take_in():
            self._admit()
            for adapter in dict.fromkeys(s.adapter for s in self._running):
                batch = [s for s in self._running if s.adapter == adapter]
                try:
                    self._step(batch, adapter)
                except Exception as error:
                    for sequence in batch:
                        self._finish(sequence, None, error)
        for sequence in (*self._running, *self._waiting):
            sequence.settle(None, RuntimeError(f"the local model {self.folder.name} was closed before it answered"))

    def _take_in(self) -> bool:
        """Move what was asked to the waiting list; sleep when there is nothing to do. False when it is time to end."""
        while True:
            try:
                item = self._inbox.get(block=not self._running and not self._waiting)
            except queue.Empty:
                return True
            if item is None:
                return False
            if isinstance(item, _Sequence):
                self._waiting.append(item)
            else:
                item()

    def _admit(self) -> None:
        """Give waiting requests a slot, in the order in which they came, as long as there is room."""
        while self._waiting and len(self._running) < self._max_batch:
            sequence = self._waiting.pop(0)
            if sequence.cancelled():
                continue
            try:
                self._begin(sequence)
            except Exception as error:
                sequence.settle(None, error)
            else:
                self._running.append(sequence)

    def _begin(self, sequence: _Sequence) -> None:
        request = sequence.request
        sequence.ids = self.renderer.render(request.messages).ids
        sequence.prompt = len(sequence.ids)
        wanted = sequence.prompt + request.sampling.max_new_tokens
        if wanted > self.max_context:
            raise ContextTooLong(
                f"item {request.item_id!r}, turn {request.turn}: {sequence.prompt} prompt tokens and "
                f"{request.sampling.max_new_tokens} for the reply are more than the {self.max_context} that model "
                f"{self.folder.name} is run with (its own limit: {self.model.config.max_position_embeddings}). Raise "
                f"max_context, or lower turn_limit or max_new_tokens; nothing is cut off"
            )
        sequence.slot = self._slots.take(sequence.ids, self._digests[sequence.adapter], reuse=not self.exact)
        sequence.cached = len(sequence.slot.tokens)

    def _step(self, batch: list[_Sequence], adapter: str | None) -> None:
        """Compute pending tokens of these sequences and draw a token for each whose prompt is then complete."""
        feeds, room = [], STEP_TOKENS
        for sequence in batch:
            pending = sequence.ids[len(sequence.slot.tokens) :]
            fed = pending[: max(1, room)] if len(pending) > 1 else pending
            room -= len(fed)
            feeds.append((sequence.slot, fed))
        step = Step(self._slots, feeds)
        ready = [
            k
            for k, (s, (slot, fed)) in enumerate(zip(batch, feeds, strict=True))
            if len(slot.tokens) + len(fed) == len(s.ids)
        ]
        with carrying(self.model, self._merged[adapter]):
            hidden = self.model.base_model(
                input_ids=step.ids, position_ids=step.positions, past_key_values=step, use_cache=True, slots_step=step
            ).last_hidden_state
            logits = self.model.get_output_embeddings()(hidden[0, [step.last[k] for k in ready]])
        for slot, fed in feeds:
            slot.tokens += fed
        chosen = [batch[k] for k in ready]
        seeds = [(s.request.seed, len(s.ids) - s.prompt) for s in chosen]
        for sequence, token in zip(chosen, draw(logits, [s.request.sampling for s in chosen], seeds), strict=True):
            self._drew(sequence, token)

    def _drew(self, sequence: _Sequence, token: int) -> None:
        sequence.ids.append(token)
        drawn = sequence.drawn()
        stopped = token in self._stops
        if sequence.said and not stopped:
            sequence.said(drawn)
        if sequence.cancelled():
            self._finish(sequence, None, None)
        elif stopped or len(drawn) >= sequence.request.sampling.max_new_tokens:
            self._finish(sequence, self._reply(sequence, drawn, stopped), None)

    def _reply(self, sequence: _Sequence, drawn: list[int], stopped: bool) -> Reply:
        return Reply(
            text=self.renderer.text_of(drawn[:-1] if stopped else drawn),
            token_ids=tuple(drawn),
            outcome="ok" if stopped else "truncated",
            finish_reason="stop" if stopped else "length",
            usage={
                "prompt_tokens": sequence.prompt,
                "cached_tokens": sequence.cached,
                "completion_tokens": len(drawn),
            },
            model=self._digests[sequence.adapter],
            latency_s=time.monotonic() - sequence.started,
        )

    def _finish(self, sequence: _Sequence, reply: Reply | None, error: BaseException | None) -> None:
        self._running.remove(sequence)
        self._slots.release(sequence.slot, keep=error is None)
        sequence.settle(reply, error)


@dataclass(frozen=True)
class LocalChat:
    """A chat with the local model under one adapter."""

    model: LocalModel
    adapter: str | None

    async def complete(self, request: Request) -> Reply:
        """The model's reply. Raises ContextTooLong, RenderError, and whatever went wrong in the model's thread."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self.model.submit(_Sequence(request, self.adapter, _settling(loop, future), None, future.cancelled))
        return await future

    async def stream(self, request: Request) -> AsyncIterator[str]:
        """The reply's text piece by piece, as it is drawn."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        text_of, shown = self.model.renderer.text_of, ""
        future.add_done_callback(lambda _: pieces.put_nowait(None))

        def said(drawn: list[int]) -> None:
            _call(loop, pieces.put_nowait, text_of(drawn))

        self.model.submit(_Sequence(request, self.adapter, _settling(loop, future), said, future.cancelled))
        try:
            while (text := await pieces.get()) is not None:
                if text.startswith(shown) and not text.endswith("\ufffd") and text != shown:
                    yield text[len(shown) :]
                    shown = text
            rest = (await future).text[len(shown) :]
            if rest:
                yield rest
        finally:
            future.cancel()


def _settling(loop: asyncio.AbstractEventLoop, future: asyncio.Future) -> Settle:
    def settle(reply: Reply | None, error: BaseException | None) -> None:
        def tell() -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(reply)

        _call(loop, tell)

    return settle


def _call(loop: asyncio.AbstractEventLoop, function: Callable, *arguments: Any) -> None:
    """Run a function in the caller's event loop; nobody is left to be told when that loop was closed meanwhile."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)


def _window(config: Any) -> int:
    """Most tokens over which every layer attends to all: sliding windows are not modelled here."""
    return getattr(config, "sliding_window", None) or config.max_position_embeddings


def _as_set(ids: int | list[int] | None) -> set[int]:
    return set() if ids is None else {ids} if isinstance(ids, int) else set(ids)
