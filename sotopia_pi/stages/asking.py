"""Asking a language model until its answer can be read: every attempt kept, a named outcome where none can."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sotopia_pi.models.calls import call_record
from sotopia_pi.models.seam import Chat, Message, Outcome, Request, Sampling
from sotopia_pi.stages.judge_answer import UnreadableAnswer, kept_text, stands_alone

T = TypeVar("T")

CUT_SHORT = "it was cut off at the limit of {limit} tokens; keep each reasoning to one short sentence"
FINAL = ("ok", "refused", "api_error")
"""Outcomes after which the same question is not put again in this start."""


@dataclass(frozen=True)
class Question(Generic[T]):
    """What is asked and how the answer is read.

    read: text -> answer, raises UnreadableAnswer; correction: unusable text and what is wrong with it -> the messages
    that follow it when it is asked for again.
    """

    messages: tuple[Message, ...]
    schema: dict[str, Any]
    read: Callable[[str], T]
    correction: Callable[[str, str], tuple[Message, ...]]


async def ask(
    chat: Chat,
    question: Question[Any],
    sampling: Sampling,
    attempts: int,
    item_id: str,
    seed_of: Callable[[int], int],
    kept: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """One record per call, until an answer is readable, it is refused, no answer comes, or the attempts end.

    seed_of: attempt -> seed; kept: what each record holds besides the call, for reading it again.
    """
    messages = question.messages
    records: list[dict[str, Any]] = []
    for attempt in range(attempts):
        seed = seed_of(attempt)
        request = Request(messages, sampling, question.schema, seed, item_id, turn=attempt, role="judge")
        reply = await chat.complete(request)
        call = call_record(reply, request.messages, kept_text(reply.text))
        record = {**call, **kept, "timing": {"latency_s": reply.latency_s}}
        outcome, _, problem = reading(record, question.read, sampling.max_new_tokens)
        records.append(record | {"schema": _schema_state(record, outcome), "problem": problem})
        if outcome in FINAL:
            break
        messages = (*question.messages, *question.correction(record["text"], problem))
    return records


def reading(record: Mapping[str, Any], read: Callable[[str], T], limit: int) -> tuple[Outcome, T | None, str]:
    """Outcome of one call, its answer (None unless it is "ok"), and what is wrong ("" where nothing is).

    A reply that was cut off at `limit` tokens is no answer, however much of it could be read.
    """
    if record["outcome"] == "truncated" or record["finish_reason"] == "length":
        return "truncated", None, CUT_SHORT.format(limit=limit)
    if record["outcome"] in ("refused", "api_error"):
        return record["outcome"], None, record.get("failure") or f"the call's outcome is {record['outcome']}"
    try:
        return "ok", read(record["text"]), ""
    except UnreadableAnswer as error:
        return "invalid", None, str(error)


def _schema_state(record: Mapping[str, Any], outcome: Outcome) -> str:
    """Whether the schema was "honoured", "ignored" (sent, but the reply is something else), or "not sent" (the server
    rejects it, so that the form in the prompt has to do); "unknown" where no reply came that could show it."""
    if "response_format" in record.get("unsupported", ()):
        return "not sent"
    if outcome not in ("ok", "invalid"):
        return "unknown"
    return "honoured" if outcome == "ok" and stands_alone(record["text"]) else "ignored"
