"""The loop in which a local model computes: it takes in requests, gives them slots, and steps them together."""

import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sotopia_pi.models.adapters import carrying, merged_weights
from sotopia_pi.models.last_layer import only_for
from sotopia_pi.models.render import Renderer
from sotopia_pi.models.sampling import fastest_draw
from sotopia_pi.models.seam import Reply, Request
from sotopia_pi.models.slots import Slot, Slots, Step, shared_beginning

STEP_TOKENS = 512
"""Most prompt tokens computed in one step, so that short replies do not wait for a long prompt."""

FEW = 4
"""An adapter with less than a FEWth of the fullest batch waits for company..."""
PATIENCE = 8
"""...for at most so many steps of the others: a step of two rows takes half the time of one of thirty."""
WORTH_WAITING = 64
"""Tokens of a shared beginning for which a request waits until another has read them."""


class ContextTooLong(ValueError):
    """A conversation does not fit the model's context. Nothing is ever cut off silently."""


@dataclass
class Job:
    """A request on its way through the engine.

    settle(result, error) is called once, said(drawn ids) after each token, both in the engine's thread. choices: texts
    to score instead of drawing any; the result is then a log probability each, otherwise a Reply. bare: the request's
    one message is read as it is, without the chat template, and a choice goes on in the middle of its last line.
    ids: prompt and what was drawn so far; the slot holds keys and values of the first of them.
    """

    request: Request
    adapter: str | None
    settle: Callable[[Any, BaseException | None], None]
    cancelled: Callable[[], bool]
    said: Callable[[list[int]], None] | None = None
    choices: tuple[str, ...] = ()
    bare: bool = False
    started: float = field(default_factory=time.monotonic)
    ids: list[int] = field(default_factory=list)
    scoring: "Scoring | None" = None
    logprobs: list[float] = field(default_factory=list)
    prompt: int = 0
    cached: int = 0
    slot: Slot | None = None

    def drawn(self) -> list[int]:
        return self.ids[self.prompt :]

    def score(self, choices: Sequence[Sequence[int]]) -> "Scoring":
        """Add up the log probabilities of token sequences behind the prompt; takes those of the next token, again and
        again, and sets `ids` to what has to be computed for the following ones.

        Choices of one token each, such as letters, are all answered by the first distribution.
        """
        shares = yield
        self.logprobs = [float(shares[choice[0]]) for choice in choices]
        for k, choice in enumerate(choices):
            for position, token in enumerate(choice[1:], 1):
                end = self.prompt + position - 1
                del self.ids[end:], self.slot.tokens[end:]
                self.ids.append(choice[position - 1])
                shares = yield
                self.logprobs[k] += float(shares[token])


Scoring = Generator[None, torch.Tensor, None]


class Engine:
    """Runs in one thread, which alone touches the model, the tokenizer and the slots.

    Continuous batching: a request joins at the next step, whatever the others are at. Each step runs one adapter, for
    at most max_batch requests.
    opening: loads the model and lays out its slots; what it raises, the constructor raises. It is called in the
    engine's thread, for in a process where two threads have computed with several cores, the cores sleep between any
    two operations (OpenMP's way with more workers than cores), and a step takes half as long again.
    remember False: nothing is reused between requests. merged: per adapter name the linear maps it changes.
    """

    model: torch.nn.Module

    def __init__(
        self,
        opening: Callable[[], tuple[torch.nn.Module, Slots]],
        renderer: Renderer,
        max_batch: int,
        remember: bool,
        name: str,
    ):
        self.renderer, self.name = renderer, name
        self.merged: dict[str | None, dict[torch.nn.Module, torch.Tensor]] = {None: {}}
        self.digests: dict[str | None, str] = {}
        self._max_batch, self._remember = max_batch, remember
        self._inbox: queue.SimpleQueue[Job | Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._passed: Counter[str | None] = Counter()
        self._closed = False
        self._gate = threading.Lock()
        opened: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=(opening, opened), name="local-model", daemon=True)
        self._thread.start()
        if error := opened.get():
            raise error

    def put(self, item: Job | Callable[[], None]) -> None:
        """Hand in a job, or a function to call in the engine's thread. Raises RuntimeError when it is closed."""
        with self._gate:
            if self._closed:
                raise RuntimeError(f"the local model {self.name} is closed; open it again to ask it")
            self._inbox.put(item)

    def add_adapter(self, name: str, folder: Path, digest: str) -> None:
        """Load a LoRA adapter under a name, and wait for it. Raises AdapterError."""
        done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self.put(partial(self._load_adapter, name, folder, digest, done))
        if error := done.get():
            raise error

    def close(self) -> None:
        """End the thread; jobs still in flight get a RuntimeError."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._inbox.put(None)
        self._thread.join()

    def _work(
        self,
        opening: Callable[[], tuple[torch.nn.Module, Slots]],
        opened: queue.SimpleQueue[BaseException | None],
    ) -> None:
        if "OMP_NUM_THREADS" not in os.environ:
            # One sequence at a time is exact play with a small model: there a second thread only costs.
            torch.set_num_threads(len(os.sched_getaffinity(0)) if self._max_batch > 1 else 1)
        try:
            self.model, self._slots = opening()
            self._draw = fastest_draw(self._slots.on_processor)
        except Exception as error:  # noqa: BLE001 (raised again in the constructor)
            opened.put(error)
            return
        end = self.model.generation_config.eos_token_id
        self._stops = self.renderer.end_ids | set([end] if isinstance(end, int) else end or [])
        opened.put(None)
        self._answer()

    @torch.inference_mode()
    def _answer(self) -> None:
        while self._take_in():
            self._admit()
            for adapter in self._due():
                batch = [job for job in self._running if job.adapter == adapter]
                try:
                    self._step(batch, adapter)
                except Exception as error:  # noqa: BLE001 (raised again in the callers)
                    for job in batch:
                        if job in self._running:
                            self._finish(job, None, error)
        for job in (*self._running, *self._waiting):
            job.settle(None, RuntimeError(f"the local model {self.name} was closed before it answered"))

    def _load_adapter(self, name: str, folder: Path, digest: str, done: queue.SimpleQueue) -> None:
        try:
            self.merged[name] = merged_weights(self.model, folder)
            self.digests[name] = digest
        except Exception as error:  # noqa: BLE001 (raised again in the caller's thread)
            done.put(error)
        else:
            done.put(None)

    def _due(self) -> list[str | None]:
        """The adapters whose turn it is to step."""
        running = Counter(job.adapter for job in self._running)
        fullest = max(running.values(), default=0)
        due = [a for a, n in running.items() if FEW * n >= fullest or self._passed[a] >= PATIENCE]
        self._passed = Counter({a: self._passed[a] + 1 for a in running if a not in due})
        return due

    def _take_in(self) -> bool:
        """Move what was asked to the waiting list; sleep when there is nothing to do. False when it is time to end."""
        while True:
            try:
                item = self._inbox.get(block=not self._running and not self._waiting)
            except queue.Empty:
                return True
            if item is None:
                return False
            if not isinstance(item, Job):
                item()
                continue
            try:
                self._look_at(item)
            except Exception as error:  # noqa: BLE001 (raised again in the caller)
                item.settle(None, error)
            else:
                self._waiting.append(item)

    def _admit(self) -> None:
        """Give waiting requests a slot, in the order in which they came, as long as there is room.

        The room is counted by adapter, so that two that take turns both step full batches.
        """
        running = Counter(job.adapter for job in self._running)
        for job in tuple(self._waiting):
            if job.cancelled():
                self._waiting.remove(job)
                continue
            if running[job.adapter] >= self._max_batch or not self._slots.free() or self._is_read_for(job):
                continue
            self._waiting.remove(job)
            self._begin(job)
            self._running.append(job)
            running[job.adapter] += 1

    def _is_read_for(self, job: Job) -> bool:
        """Whether a running request has yet to read much of what this one begins with, too: then it is waited for."""
        return self._remember and any(
            other.adapter == job.adapter
            and shared_beginning(other.ids[: other.prompt], job.ids) >= len(other.slot.tokens) + WORTH_WAITING
            for other in self._running
            if len(other.slot.tokens) < other.prompt
        )

    def _look_at(self, job: Job) -> None:
        """Put a job's prompt and choices into tokens. Raises what is wrong with them."""
        request = job.request
        job.ids, choices = self._ids_of(job)
        job.prompt = len(job.ids)
        if not all(choices):
            raise ValueError(f"item {request.item_id!r}: an empty choice has no probability; give it words")
        most = max(map(len, choices)) if choices else request.sampling.max_new_tokens
        if job.prompt + most > self._slots.capacity:
            raise ContextTooLong(
                f"item {request.item_id!r}, turn {request.turn}: {job.prompt} prompt tokens and {most} for the "
                f"reply are more than the {self._slots.capacity} that model {self.name} is run with (its own limit: "
                f"{self.model.config.max_position_embeddings}). Raise max_context, or lower turn_limit or "
                f"max_new_tokens; nothing is cut off"
            )
        if choices:
            job.scoring = job.score(choices)
            next(job.scoring)

    def _begin(self, job: Job) -> None:
        job.slot = self._slots.take(job.ids, self.digests[job.adapter], reuse=self._remember)
        job.cached = len(job.slot.tokens)

    def _ids_of(self, job: Job) -> tuple[list[int], list[tuple[int, ...]]]:
        """Token ids of a job's prompt, and of each of its choices.

        The trap of bare text: a choice is what the tokenizer adds when it reads prompt and choice as one text (as
        evaluation harnesses do); read by itself it may begin with another token.
        """
        messages, renderer = job.request.messages, self.renderer
        if not job.bare:
            return renderer.render(messages).ids, [renderer.content_ids(choice) for choice in job.choices]
        text = messages[0].content
        prompt, *whole = (
            renderer.tokenizer(text + choice, split_special_tokens=True)["input_ids"] for choice in ("", *job.choices)
        )
        return list(prompt), [tuple(ids[len(prompt) :]) for ids in whole]

    def _step(self, batch: list[Job], adapter: str | None) -> None:
        """Compute pending tokens of these jobs, and draw a token for each whose prompt is then complete."""
        feeds, ready, chosen, room = [], [], [], STEP_TOKENS
        for job in batch:
            pending = job.ids[len(job.slot.tokens) :]
            fed = pending if len(pending) == 1 else pending[: max(0, room)]
            room -= len(fed)
            if fed and len(fed) == len(pending):
                ready.append(len(feeds))
                chosen.append(job)
            if fed:
                feeds.append((job.slot, fed))
        self._slots.bring_together([slot for slot, fed in feeds if len(fed) == 1])
        logits = self._compute(Step(self._slots, feeds), ready, adapter)
        for slot, fed in feeds:
            slot.tokens += fed
        seeds = [(job.request.seed, len(job.ids) - job.prompt) for job in chosen]
        tokens = self._draw(logits, [job.request.sampling for job in chosen], seeds)
        for row, (job, token) in enumerate(zip(chosen, tokens, strict=True)):
            if job.scoring:
                self._score(job, torch.log_softmax(logits[row].float(), dim=-1))
            else:
                self._add(job, token)

    def _score(self, job: Job, shares: torch.Tensor) -> None:
        """Hand the next token's log probabilities [vocabulary] to a job that scores choices."""
        try:
            job.scoring.send(shares)
        except StopIteration:
            self._finish(job, job.logprobs, None)
        else:
            if job.cancelled():
                self._finish(job, None, None)

    def _compute(self, step: Step, ready: list[int], adapter: str | None) -> torch.Tensor:
        """Logits [ready jobs, vocabulary], in main memory, behind the last token each of them feeds."""
        decoder, last = self.model.base_model, [step.last[k] for k in ready]
        rows = torch.tensor(last, dtype=torch.long, device=step.ids.device)
        partly = only_for(decoder, rows) if 0 < len(rows) < step.ids.numel() else nullcontext()
        with carrying(self.merged[adapter]), partly:
            hidden = decoder(
                input_ids=step.ids, position_ids=step.positions, past_key_values=step, use_cache=True, slots_step=step
            ).last_hidden_state
            return self.model.get_output_embeddings()(hidden[0, rows]).cpu()

    def _add(self, job: Job, token: int) -> None:
        job.ids.append(token)
        drawn = job.drawn()
        stopped = token in self._stops
        if job.said and not stopped:
            job.said(drawn)
        if job.cancelled():
            self._finish(job, None, None)
        elif stopped or len(drawn) >= job.request.sampling.max_new_tokens:
            self._finish(job, self._reply(job, drawn, stopped), None)

    def _reply(self, job: Job, drawn: list[int], stopped: bool) -> Reply:
        return Reply(
            text=self.renderer.text_of(drawn[:-1] if stopped else drawn),
            token_ids=tuple(drawn),
            outcome="ok" if stopped else "truncated",
            finish_reason="stop" if stopped else "length",
            usage={"prompt_tokens": job.prompt, "cached_tokens": job.cached, "completion_tokens": len(drawn)},
            model=self.digests[job.adapter],
            latency_s=time.monotonic() - job.started,
        )

    def _finish(self, job: Job, result: Any, error: BaseException | None) -> None:
        self._running.remove(job)
        self._slots.release(job.slot, keep=error is None)
        job.settle(result, error)
