"""Listening to a policy while it speaks: the same questions and the same answers, with the words as they come."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from sotopia_pi.models.failures import ServerReply, StreamFailed
from sotopia_pi.models.llm_policy import LLMPolicy
from sotopia_pi.models.seam import Reply, Request
from sotopia_pi.world.episode import Policy

Hear = Callable[[str], None]
"""Told all that a reply says so far, whenever there is more of it; "" where a reply, or a further attempt, begins."""


class Streaming(Protocol):
    """A chat whose stream gives the text piece by piece, and last the whole reply: its token ids and how it ended."""

    def stream(self, request: Request) -> AsyncIterator[str | Reply]: ...


@dataclass(frozen=True)
class Overheard:
    """A chat that asks for streams and tells what it hears; its replies are those of the chat inside."""

    chat: Streaming
    hear: Hear

    async def complete(self, request: Request) -> Reply:
        """The reply, once it is whole. A caller that gives up ends the stream."""
        text = ""
        self.hear(text)
        try:
            async with aclosing(self.chat.stream(request)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Reply):
                        return piece
                    text += piece
                    self.hear(text)
        except StreamFailed as error:
            return ServerReply(text, outcome=error.outcome, finish_reason="error", failure=str(error))
        raise RuntimeError(
            f"item {request.item_id!r}, turn {request.turn}: the stream ended after {len(text)} characters without its "
            f"reply; a chat that is listened to gives the whole Reply as its last piece"
        )


def overheard(policy: Policy, hear: Hear) -> Policy:
    """The same policy under the same digest. A scripted one has its words at once and is not heard before."""
    return replace(policy, chat=Overheard(policy.chat, hear)) if isinstance(policy, LLMPolicy) else policy
