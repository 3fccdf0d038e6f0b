"""What is kept of a call to a model with the item it was made for, so that its text can be read again."""

from collections.abc import Iterable
from typing import Any

from sotopia_pi.models.failures import ServerReply
from sotopia_pi.models.seam import Message, Reply, messages_hash


def call_record(reply: Reply, messages: Iterable[Message], kept: str | None = None) -> dict[str, Any]:
    """What is kept of one call; of a server's also why it failed, how often it was tried, what it was asked without.

    kept: as much of a long text as is to be kept; `characters` then tells how long it was.
    """
    record = {
        "text": reply.text if kept is None else kept,
        "outcome": reply.outcome,
        "finish_reason": reply.finish_reason,
        "usage": dict(reply.usage),
        "model": reply.model,
        "prompt_hash": messages_hash(messages),
    }
    if kept is not None:
        record["characters"] = len(reply.text)
    if isinstance(reply, ServerReply):
        record |= {"failure": reply.failure, "retries": reply.retries, "unsupported": list(reply.unsupported)}
    return record
