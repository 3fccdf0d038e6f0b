"""One local model in a thread of its own: it batches whatever calls are in flight and remembers conversations."""

import asyncio
import math
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from sotopia_pi.models.adapters import adapter_digest
from sotopia_pi.models.engine import ContextTooLong, Engine, Job
from sotopia_pi.models.engine_pool import EnginePool
from sotopia_pi.models.memory import keep_freed_memory
from sotopia_pi.models.packed import pack_linear_maps
from sotopia_pi.models.precision import fast_dtype, own_cores, own_device
from sotopia_pi.models.render import Renderer
from sotopia_pi.models.seam import Reply, Request
from sotopia_pi.models.slots import ATTENTION, Slots
from sotopia_pi.models.weights import weights_digest
from sotopia_pi.store.items import content_id

__all__ = ["ContextTooLong", "LocalChat", "LocalModel"]

SMALLEST, LARGEST = 64 * 1024**2, 2 * 1024**3
"""Bytes of weights between which several processes are worth their start, and each may hold all weights."""

MOST_PROCESSES = 4

ROOM = 4 * 1024**3
"""Bytes of free memory that a process should find: its weights, those of two adapters, and its slots when all are full
of long conversations."""

UNEVEN = 1.25
"""How many times its even share of the slots each of several processes has: conversations go where there is time."""


class LocalModel:
    """A Hugging Face model folder that answers requests, many at a time.

    dtype: "bfloat16", "float32", or "auto" for the one this machine is fast in. max_batch: most sequences of one
    adapter in one step. slots: conversations whose keys and values are kept between turns (default: four times
    max_batch, both sides of twice as many episodes; half as many on a graphics card, where all their room is taken at
    once); play no more at once than this. max_context: most tokens of prompt and reply. adapters: name -> LoRA folder.
    It computes on the graphics card where there is one, else on the CPU.
    exact: fp32, one sequence at a time and nothing remembered, so that a reply is bit-equal whatever else runs;
    otherwise another batch may round differently and sample other words.
    processes: how many compute side by side, each with weights and slots of its own (default: `fastest_processes`);
    max_batch and max_context hold for each. One conversation at a time is answered soonest by one.

    Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        folder: Path | str,
        dtype: str = "auto",
        max_batch: int = 32,
        adapters: Mapping[str, Path | str] | None = None,
        exact: bool = False,
        max_context: int = 2048,
        slots: int | None = None,
        processes: int | None = None,
    ):
        if max_batch < 1:
            raise ValueError(f"max_batch is {max_batch}; it takes at least 1")
        disable_progress_bar()  # a bar per loading would stay in every rendered notebook
        keep_freed_memory()
        self.folder = Path(folder)
        self.dtype = fast_dtype("float32" if exact else dtype)
        self.renderer = Renderer(AutoTokenizer.from_pretrained(self.folder))
        self.device = own_device()
        self.max_context = min(max_context, _longest(AutoConfig.from_pretrained(self.folder)))
        default = (4 if self.device == "cpu" else 2) * max_batch
        rows = 1 if exact else max(slots or default, max_batch)
        self.processes = 1 if exact else processes or fastest_processes(self.folder, self.device)
        self._engine: Engine | EnginePool
        if self.processes == 1:
            batch = 1 if exact else max_batch
            self._engine = Engine(partial(self._open, rows), self.renderer, batch, not exact, self.folder.name)
        else:
            each = {"folder": self.folder, "dtype": self.dtype, "max_batch": max_batch, "max_context": max_context}
            each |= {"slots": math.ceil(UNEVEN * rows / self.processes)}
            self._engine = EnginePool(self.processes, each, self.renderer)
        self._engine.digests[None] = self._digest_with(None)
        for name, adapter in (adapters or {}).items():
            self.add_adapter(name, adapter)

    def __enter__(self) -> "LocalModel":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def chat(self, adapter: str | None = None) -> "LocalChat":
        """A chat that answers with this adapter, or with the bare model (None)."""
        known = [name for name in self._engine.digests if name]
        if adapter is not None and adapter not in known:
            raise ValueError(
                f"adapter {adapter!r} is not loaded; loaded: {', '.join(map(repr, known)) or 'none'}. Call "
                f"add_adapter(name, folder) first"
            )
        return LocalChat(self._engine, adapter)

    def digest(self, adapter: str | None = None) -> str:
        """Digest of weights, dtype and adapter: what decides how this model answers."""
        return self._engine.digests[adapter]

    def add_adapter(self, name: str, folder: Path | str) -> None:
        """Load a LoRA adapter under a name, in the place of an earlier one; waits for the model's thread.

        Raises AdapterError.
        """
        self._engine.add_adapter(name, Path(folder), self._digest_with(Path(folder)))

    def put(self, job: Job) -> None:
        """Hand in a job as `LocalChat` makes them."""
        self._engine.put(job)

    def close(self) -> None:
        """End the thread, or the processes. Requests still in flight get a RuntimeError."""
        self._engine.close()

    def _open(self, rows: int) -> tuple[torch.nn.Module, Slots]:
        """The model, ready to compute, and room for so many conversations."""
        model = AutoModelForCausalLM.from_pretrained(
            self.folder, dtype=getattr(torch, self.dtype), attn_implementation=ATTENTION
        ).eval()
        model.to(self.device)
        pack_linear_maps(model)
        if self.device == "cpu":
            from sotopia_pi.models.fused import fuse  # by numba, which a graphics card does without

            fuse(model)
        return model, Slots(model.config, rows, self.max_context, model.dtype, self.device)

    def _digest_with(self, adapter: Path | None) -> str:
        parts = {"weights": weights_digest(self.folder), "dtype": self.dtype}
        if adapter:
            parts["adapter"] = adapter_digest(adapter)
        return content_id("model", parts)


@dataclass(frozen=True)
class LocalChat:
    """A chat and scorer: the local model under one adapter."""

    engine: Engine | EnginePool
    adapter: str | None

    async def complete(self, request: Request) -> Reply:
        """The model's reply. Raises ContextTooLong, RenderError, and whatever went wrong in the model's thread."""
        return await self._put(request)

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        """The reply's text piece by piece, as it is drawn, and last the whole reply."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        text_of, shown = self.engine.renderer.text_of, ""

        def said(drawn: list[int]) -> None:
            _call(loop, pieces.put_nowait, text_of(drawn))

        reply = self._put(request, said=said)
        reply.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (text := await pieces.get()) is not None:
                if text.startswith(shown) and not text.endswith("\ufffd") and text != shown:
                    yield text[len(shown) :]
                    shown = text
            whole = await reply
            if rest := whole.text[len(shown) :]:
                yield rest
            yield whole
        finally:
            reply.cancel()

    async def choice_logprobs(self, request: Request, choices: Sequence[str]) -> list[float]:
        """Log probability (natural, <= 0) of each choice as the beginning of the reply."""
        return await self._put(request, choices=tuple(choices))

    async def text_logprobs(self, request: Request, choices: Sequence[str]) -> list[float]:
        """Log probability (natural, <= 0) of each choice as what goes on from bare text, without the chat template.

        request: its one message is that text. Raises ValueError for more messages, ContextTooLong.
        """
        if len(request.messages) != 1:
            raise ValueError(
                f"item {request.item_id!r}: {len(request.messages)} messages, but bare text is one; put it into one "
                f"user message, or ask choice_logprobs, which renders a conversation"
            )
        return await self._put(request, choices=tuple(choices), bare=True)

    def _put(self, request: Request, **settings: Any) -> asyncio.Future:
        """Hand a job to the engine; the future lives in the caller's event loop."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            _call(loop, _tell, future, result, error)

        self.engine.put(Job(request, self.adapter, settle, future.cancelled, **settings))
        return future


def _tell(future: asyncio.Future, result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _call(loop: asyncio.AbstractEventLoop, function: Callable, *arguments: Any) -> None:
    """Run a function in the caller's event loop; nobody is left to be told when that loop was closed meanwhile."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)


def fastest_processes(folder: Path, device: str) -> int:
    """How many processes answer many conversations fastest.

    On a processor one a core, up to four: two of one core each played 350 tokens a second where one of two cores played
    287 (SmolLM2-135M, 64 episodes; of 32, 291 and 305 where one played 261 and 243). Fewer where memory is short, one
    on a graphics card, for tiny and for large models, and where OMP_NUM_THREADS was set by hand.
    """
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if device != "cpu" or "OMP_NUM_THREADS" in os.environ or not SMALLEST <= size <= LARGEST:
        return 1
    return max(1, min(own_cores(), MOST_PROCESSES, psutil.virtual_memory().available // ROOM))


def _longest(config: Any) -> int:
    """Most tokens over which every layer attends to all: sliding windows are not modelled here."""
    return min(
        config.max_position_embeddings, getattr(config, "sliding_window", None) or config.max_position_embeddings
    )
