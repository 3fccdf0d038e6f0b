"""The OpenAI chat protocol: what is sent, what comes back, and what an error means for the next attempt."""

import email.utils
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import openai
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sotopia_pi.models.failures import ServerReply
from sotopia_pi.models.seam import Request

MOST_CHARACTERS_PER_TOKEN = 128
"""Length of the longest token in the vocabularies of OpenAI's chat models (cl100k_base: 128 spaces)."""
FILTERED = {"content_filter", "content_policy_violation"}
"""Error codes of a server that will not answer this prompt (OpenAI, Azure OpenAI)."""

Verdict = Literal["again", "rejected", "refused", "misconfigured", "final"]


@dataclass(frozen=True)
class Dialect:
    """Which of the protocol's newer fields a server takes.

    limits: spellings of the token limit that are left to try, the first in use. seed, schema: whether they are sent.
    """

    limits: tuple[str, ...] = ("max_completion_tokens", "max_tokens")
    seed: bool = True
    schema: bool = True

    def without(self, body: Mapping[str, Any], said: str) -> "Dialect | None":
        """The dialect to try next after a server rejected `body`, or None when nothing is left to leave out.

        said: the server's words. A server that names none of the fields is asked once without the schema.
        """
        named = [field for field in ("seed", "response_format", *self.limits[:1]) if _names(said, field)]
        named = [field for field in named if field in body] or ["response_format"]
        after = self
        if "seed" in named:
            after = replace(after, seed=False)
        if "response_format" in named and "response_format" in body:
            after = replace(after, schema=False)
        if self.limits[0] in named and len(self.limits) > 1:
            after = replace(after, limits=self.limits[1:])
        return None if after == self else after

    def meet(self, other: "Dialect") -> "Dialect":
        """What is left of both, where two calls learnt different things at the same time."""
        limits = min(self.limits, other.limits, key=len)
        return Dialect(limits, self.seed and other.seed, self.schema and other.schema)

    def left_out(self, request: Request) -> tuple[str, ...]:
        """Fields that this request has and the server is not told."""
        dropped = () if self.schema or request.schema is None else ("response_format",)
        return dropped if self.seed else (*dropped, "seed")


def request_body(request: Request, model: str, dialect: Dialect) -> dict[str, Any]:
    """The JSON body that asks for one reply."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        dialect.limits[0]: sampling.max_new_tokens,
    }
    if dialect.seed:
        body["seed"] = request.seed
    if request.schema is not None and dialect.schema:
        schema = {"name": "reply", "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


class _Part(BaseModel):
    """A part of an answer, read from JSON or from the SDK's own objects."""

    model_config = ConfigDict(from_attributes=True)


class _Message(_Part):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Part):
    message: _Message
    finish_reason: str | None = None


class _PromptDetails(_Part):
    cached_tokens: int | None = None


class _Usage(_Part):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _PromptDetails | None = None


class Completion(_Part):
    """The part of a server's answer that is read; everything else may be there or not."""

    model: str = ""
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def completion_reply(completion: Completion) -> ServerReply:
    """The first choice as a reply; refusals and cut-off texts are named as what they are."""
    choice = completion.choices[0]
    refusal, text = choice.message.refusal, choice.message.content or ""
    common = {"usage": _counted(completion.usage), "model": completion.model}
    if refusal or choice.finish_reason == "content_filter":
        failure = "the model declined" if refusal else "the server's content filter stopped the reply"
        return ServerReply(refusal or text, outcome="refused", finish_reason="error", failure=failure, **common)
    if choice.finish_reason == "length":
        return ServerReply(text, outcome="truncated", finish_reason="length", **common)
    return ServerReply(text, **common)


class _Delta(_Part):
    content: str | None = None
    refusal: str | None = None


class _PieceChoice(_Part):
    delta: _Delta
    finish_reason: str | None = None


class Piece(_Part):
    """The part of a streamed chunk that is read; the last one may have no choices."""

    model: str = ""
    choices: list[_PieceChoice]


def streamed_reply(text: str, finish_reason: str, model: str) -> ServerReply:
    """All that a stream said, as a reply. finish_reason: the server's word for why it stopped."""
    if finish_reason == "length":
        return ServerReply(text, outcome="truncated", finish_reason="length", model=model)
    return ServerReply(text, model=model)


class UnusableAnswer(ValueError):
    """An answer came, but cannot be taken for a reply; the message is the reason."""


def check_length(length: int, request: Request) -> None:
    """Raises UnusableAnswer for a text of more characters than the asked tokens can hold."""
    if length > MOST_CHARACTERS_PER_TOKEN * request.sampling.max_new_tokens:
        raise UnusableAnswer(
            f"{length} characters came, more than {request.sampling.max_new_tokens} tokens can hold; the server "
            f"ignores the limit"
        )


@dataclass(frozen=True)
class Trouble:
    """Why an attempt gave no reply, and what that means for the next one.

    verdict: "again" may pass by itself; "rejected" = the body was not taken as it is; "refused" = not this prompt;
    "misconfigured" = no call can succeed; "final" = not this one. wait_s: seconds the server asked to wait.
    """

    verdict: Verdict
    reason: str
    status: int | None = None
    wait_s: float | None = None


def trouble_of(error: Exception) -> Trouble:
    """What a failed attempt means. Its reason holds whatever the server said; scrub it before it is kept."""
    if isinstance(error, openai.APIStatusError):
        return Trouble(_verdict(error), _status_reason(error), error.status_code, retry_after_s(error.response.headers))
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return Trouble("again", "no answer in time")
    if isinstance(error, openai.APIConnectionError):
        return Trouble("again", f"the connection failed ({_cause(error)})")
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return Trouble("again", f"the answer is no chat completion: {first['loc']}: {first['msg']}")
    if isinstance(error, UnusableAnswer):
        return Trouble("again", str(error))
    return Trouble("again", f"the answer cannot be read: {type(error).__name__}: {error}")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds a server asks to wait, at least 0; None where it does not say so. A date counts from now."""
    for header, seconds in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(header, "")
        try:
            wait = float(value) * seconds
        except ValueError:
            continue
        return max(0.0, wait) if math.isfinite(wait) else None
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, date.timestamp() - time.time())


def _verdict(error: openai.APIStatusError) -> Verdict:
    codes = {error.code, error.type}
    if codes & FILTERED:
        return "refused"
    if error.status_code in (401, 403, 404) or (error.status_code == 429 and "insufficient_quota" in codes):
        return "misconfigured"
    if error.status_code in (400, 422):
        return "rejected"
    return "again" if error.status_code in (408, 409, 429) or error.status_code >= 500 else "final"


def _status_reason(error: openai.APIStatusError) -> str:
    said = error.body
    if isinstance(said, Mapping):
        said = said.get("message") or said.get("detail") or said
    words = " ".join(str(said or "").split())
    named = f" (parameter {error.param})" if error.param else ""
    return f"HTTP {error.status_code}{named}: {words}"


def _cause(error: Exception) -> str:
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}"


def _counted(usage: _Usage | None) -> dict[str, int]:
    if usage is None:
        return {}
    details = usage.prompt_tokens_details
    return {
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": (details.cached_tokens if details else None) or 0,
        "completion_tokens": usage.completion_tokens,
    }


def _names(said: str, field: str) -> bool:
    words = rf"\b{field}\b" + (r"|\bjson_schema\b|structured output" if field == "response_format" else "")
    return bool(re.search(words, said, re.IGNORECASE))
