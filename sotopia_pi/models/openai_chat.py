"""The client of every server that speaks the OpenAI chat protocol: OpenAI itself, vLLM, SGLang, Ollama, llama.cpp …

The SDK sends and receives; retries, waiting and what a failure means are decided here, so that they are counted.
"""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import httpx2
import numpy as np
import openai
from pydantic import ValidationError

from sotopia_pi.models.failures import ModelMisconfigured, ServerReply, StreamFailed
from sotopia_pi.models.openai_wire import (
    Completion,
    Dialect,
    Piece,
    Trouble,
    UnusableAnswer,
    check_length,
    completion_reply,
    request_body,
    streamed_reply,
    trouble_of,
)
from sotopia_pi.models.roles import OPENAI_KEY, OPENAI_URL
from sotopia_pi.models.seam import Request
from sotopia_pi.store.items import content_id
from sotopia_pi.store.params import SECRET_VALUE

SCRUBBED = "[key removed]"
SHORTEST_SECRET = 8
"""Characters from which a key is worth hiding; dummies of local servers ("EMPTY") are ordinary words."""

LONGEST_REASON = 300
"""Most characters of a server's own words that are kept as a reason."""
MASKED_KEY = re.compile(r"\b[A-Za-z]{2,5}[-_][\w-]*\*{3,}[\w-]*")
"""How a server shows a key that it turned down: the beginning, stars, the end."""

T = TypeVar("T")
FAILURES = (openai.APIError, ValidationError, ValueError, TimeoutError)
"""What an attempt may raise: the SDK's errors, an answer of another shape, broken JSON, and a deadline."""


@dataclass(frozen=True)
class Retries:
    """How often and how patiently an attempt that failed is made again.

    times: further attempts; the n-th waits `first_wait_s` * 2**n seconds, less up to half of it by a seeded draw, and
    never less than the server's `Retry-After`, plus up to a quarter so that not all come back at once. longest_wait_s:
    most seconds of the doubling wait, and most that a server may ask for: one that asks for more is not waited for.
    """

    times: int = 5
    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0
    seed: int = 0

    def __post_init__(self):
        if self.times < 0 or self.first_wait_s < 0 or self.longest_wait_s < self.first_wait_s:
            raise ValueError(
                f"retries {self.times}, first_wait_s {self.first_wait_s}, longest_wait_s {self.longest_wait_s}; "
                f"allowed: times and first_wait_s from 0, longest_wait_s at least first_wait_s"
            )

    def wait_s(self, request: Request, attempt: int, asked: float | None) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 0). asked: what the server asked for."""
        item = int(content_id("wait", [request.item_id, request.turn, request.seed]).rsplit("-", 1)[1], 16)
        jitter = np.random.default_rng([self.seed, item, attempt]).random()
        own = min(self.longest_wait_s, self.first_wait_s * 2**attempt) * (1 - jitter / 2)
        return own if asked is None else max(own, asked * (1 + jitter / 4))


@dataclass(frozen=True)
class _Asked(Generic[T]):
    """How asking ended: an answer, or the trouble of the last attempt."""

    retries: int
    dialect: Dialect
    answer: T | None = None
    trouble: Trouble = field(default=Trouble("final", ""))


class OpenAIChat:
    """A chat over HTTP; one object serves one event loop.

    model: name as the server knows it. base_url: address up to and with `/v1`. key_env: name of the environment
    variable that holds the key, read at every call and kept nowhere; None for a server without one. role: whose
    words it gives, for messages. timeout_s: seconds an attempt may take as a whole; of a stream, until its next piece.

    Replies never raise for what one call met: after the retries the outcome is `api_error`, with the reason in
    `failure`. What no call can get past (a key, a name, an address, an empty account) raises ModelMisconfigured.
    """

    def __init__(
        self,
        model: str,
        base_url: str = OPENAI_URL,
        key_env: str | None = OPENAI_KEY,
        role: str = "",
        timeout_s: float = 120.0,
        retries: Retries | None = None,
    ):
        if timeout_s <= 0:
            raise ValueError(f"role {role!r}, model {model!r}: timeout_s is {timeout_s}; allowed: above 0 seconds")
        self.model, self.base_url, self.key_env, self.role = model, base_url, key_env, role
        self.timeout_s, self.retries = timeout_s, retries or Retries()
        # Servers other than OpenAI's may ignore the newer spelling without a word, and then nothing limits a reply.
        self._dialect = Dialect() if base_url == OPENAI_URL else Dialect(limits=("max_tokens", "max_completion_tokens"))
        self._client: openai.AsyncOpenAI | None = None

    def __repr__(self) -> str:
        return f"OpenAIChat({self.model!r}, {self.base_url!r}, key from {self.key_env or 'nowhere'})"

    async def complete(self, request: Request) -> ServerReply:
        """The server's reply, or why there is none. Raises ModelMisconfigured."""
        started = time.monotonic()

        async def once(body: dict[str, Any], headers: dict[str, Any]) -> ServerReply:
            client, options = self._opened(), {"headers": headers}
            async with asyncio.timeout(self.timeout_s):
                # As `completions.create` does, without its walk over the body, which cost as much as all the rest.
                raw = await client.post("/chat/completions", cast_to=httpx2.Response, body=body, options=options)
            reply = completion_reply(Completion.model_validate_json(raw.content))
            check_length(len(reply.text), request)
            return reply

        asked = await self._ask(request, once)
        reply = asked.answer or ServerReply(
            "",
            outcome="refused" if asked.trouble.verdict == "refused" else "api_error",
            finish_reason="error",
            model=self.model,
            failure=asked.trouble.reason,
        )
        return replace(
            reply,
            text=self._without_key(reply.text),
            model=self._without_key(reply.model) or self.model,
            latency_s=time.monotonic() - started,
            retries=asked.retries,
            unsupported=asked.dialect.left_out(request),
        )

    async def stream(self, request: Request) -> AsyncIterator[str | ServerReply]:
        """The reply's text piece by piece, and last the whole reply; attempts are repeated until the first piece came.

        Streams carry no usage. Raises StreamFailed when there is no reply, or none to its end, and ModelMisconfigured.
        """
        started = time.monotonic()

        async def once(body: dict[str, Any], headers: dict[str, Any]) -> tuple[str | ServerReply, AsyncIterator]:
            pieces = self._pieces(request, body, headers)
            return await anext(pieces), pieces

        asked = await self._ask(request, once)
        if asked.answer is None:
            outcome = "refused" if asked.trouble.verdict == "refused" else "api_error"
            raise StreamFailed(self._named(request, f"no reply: {asked.trouble.reason}"), outcome)
        piece, pieces = asked.answer
        length = 0
        async with aclosing(pieces):
            while not isinstance(piece, ServerReply):
                length += len(piece)
                yield piece
                try:
                    piece = await anext(pieces)
                except FAILURES as error:
                    reason = self._scrubbed(trouble_of(error)).reason
                    message = self._named(request, f"the reply broke off after {length} characters: {reason}")
                    raise StreamFailed(message, "api_error") from None
        yield replace(
            piece,
            text=self._without_key(piece.text),
            model=self._without_key(piece.model) or self.model,
            latency_s=time.monotonic() - started,
            retries=asked.retries,
            unsupported=asked.dialect.left_out(request),
        )

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _ask(self, request: Request, once: Callable[[dict, dict], Awaitable[T]]) -> _Asked[T]:
        """Make attempts until one succeeds, nothing is left to try, or trying is useless."""
        begun = dialect = self._dialect
        retries = 0
        while True:
            headers = self._headers()
            body = request_body(request, self.model, dialect)
            try:
                answer = await once(body, headers)
            except FAILURES as error:
                trouble = trouble_of(error)
            else:
                if dialect != begun:
                    self._dialect = self._dialect.meet(dialect)
                return _Asked(retries, dialect, answer)
            other = dialect.without(body, trouble.reason) if trouble.verdict == "rejected" else None
            if other is not None:
                dialect = other
                continue
            trouble = self._worth_waiting(self._scrubbed(trouble))
            if trouble.verdict == "misconfigured":
                raise self._misconfigured(trouble)
            if trouble.verdict != "again" or retries == self.retries.times:
                return _Asked(retries, dialect, trouble=trouble)
            await asyncio.sleep(self.retries.wait_s(request, retries, trouble.wait_s))
            retries += 1

    async def _pieces(
        self, request: Request, body: dict[str, Any], headers: dict[str, Any]
    ) -> AsyncIterator[str | ServerReply]:
        """Text of one streamed attempt, then all of it. Raises FAILURES, and StreamFailed for a refusal."""
        completions = self._opened().chat.completions
        async with asyncio.timeout(self.timeout_s):
            stream = await completions.create(**body, stream=True, extra_headers=headers)
        text, finish, model = "", None, ""
        async with stream:
            while (chunk := await self._next_chunk(stream)) is not None:
                piece = Piece.model_validate(chunk)
                model = piece.model or model
                for choice in piece.choices:
                    if choice.delta.refusal or choice.finish_reason == "content_filter":
                        raise StreamFailed(self._named(request, "the model declined to answer"), "refused")
                    finish = choice.finish_reason or finish
                    text += choice.delta.content or ""
                    check_length(len(text), request)
                    if choice.delta.content:
                        yield choice.delta.content
        if finish is None:
            raise UnusableAnswer("the stream stopped without saying that it was at its end")
        yield streamed_reply(text, finish, model)

    async def _next_chunk(self, stream: openai.AsyncStream) -> Any:
        async with asyncio.timeout(self.timeout_s):
            return await anext(stream, None)

    def _opened(self) -> openai.AsyncOpenAI:
        """The SDK's client. It is given no key: every call brings its own."""
        if self._client is None:
            self._client = openai.AsyncOpenAI(
                api_key="not used", base_url=self.base_url, max_retries=0, timeout=self.timeout_s
            )
        return self._client

    def _headers(self) -> dict[str, Any]:
        return {"Authorization": f"Bearer {self._key()}" if self.key_env else openai.Omit()}

    def _key(self) -> str:
        """The key, from the environment. Raises ModelMisconfigured when it is not there or cannot be one."""
        key = os.environ.get(self.key_env or "", "").strip()
        if self.key_env and not key:
            raise ModelMisconfigured(
                f"role {self.role!r}, model {self.model!r}: the environment variable {self.key_env} is not set. Export "
                f"it before you start, or append ?key=NAME to the model to read another one (?key= for a server "
                f"without a key)."
            )
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ModelMisconfigured(
                f"role {self.role!r}, model {self.model!r}: the environment variable {self.key_env} holds blanks or "
                f"characters outside ASCII, which no key has. Set it again, without quotes around it."
            )
        return key

    def _worth_waiting(self, trouble: Trouble) -> Trouble:
        longest = self.retries.longest_wait_s
        if trouble.verdict != "again" or trouble.wait_s is None or trouble.wait_s <= longest:
            return trouble
        asked = f"it asks to wait {trouble.wait_s:.0f} s, longer than longest_wait_s ({longest:g})"
        return replace(trouble, verdict="final", reason=f"{trouble.reason}; {asked}")

    def _misconfigured(self, trouble: Trouble) -> ModelMisconfigured:
        source = f"the environment variable {self.key_env}" if self.key_env else "nowhere (no key is sent)"
        match trouble.status:
            case 404:
                todo = (
                    f"Check the model's name (the server lists its models under {self.base_url}/models) and the "
                    f"address, which mostly ends in /v1."
                )
            case 429:
                todo = f"The account behind the key from {source} has no credit left: add some, or use another key."
            case _:
                todo = f"The key comes from {source}: set a valid one, or append ?key=NAME to read another variable."
        return ModelMisconfigured(
            f"role {self.role!r}, model {self.model!r} at {self.base_url}: the server answered {trouble.reason}. {todo}"
        )

    def _named(self, request: Request, what: str) -> str:
        return f"role {self.role!r}, model {self.model!r}, item {request.item_id!r}, turn {request.turn}: {what}"

    def _scrubbed(self, trouble: Trouble) -> Trouble:
        """The trouble with a short reason that holds neither the key nor anything that looks like one."""
        reason = MASKED_KEY.sub(SCRUBBED, SECRET_VALUE.sub(SCRUBBED, self._without_key(trouble.reason)))
        return replace(trouble, reason=reason[:LONGEST_REASON])

    def _without_key(self, text: str) -> str:
        """The text without the key, should a server repeat it."""
        key = os.environ.get(self.key_env or "", "").strip()
        return text.replace(key, SCRUBBED) if len(key) >= SHORTEST_SECRET else text
