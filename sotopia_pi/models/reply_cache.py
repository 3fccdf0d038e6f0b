"""Replies that were paid for, kept: the same question about the same item is asked once, also after a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from sotopia_pi.models.failures import ServerReply
from sotopia_pi.models.seam import Chat, Reply, Request, messages_hash
from sotopia_pi.store.items import NOT_COMPARED, ItemFile, content_id

KEPT = ("ok", "truncated", "refused")
"""Outcomes that are the model's answer. A call that failed is asked again at the next start."""


class Cached:
    """A chat that looks into an items file first and appends what it had to ask.

    model: what decides how the chat answers (a digest, or name and address). Two repeats of one task differ in seed
    or item, so each has a reply of its own. Streams pass through unseen.
    """

    def __init__(self, chat: Chat, file: ItemFile, model: str):
        self._chat, self._file, self._model = chat, file, model
        self._kept: dict[str, Reply] | None = None
        self._asking: dict[str, asyncio.Task[Reply]] = {}

    async def complete(self, request: Request) -> Reply:
        """The kept reply, or a new one; equal questions at the same time are asked once."""
        key = request_key(request, self._model)
        if key in self._known():
            return self._known()[key]
        if key not in self._asking:
            task = asyncio.create_task(self._ask(key, request))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key))
        # A caller that gives up does not take the reply from the others, nor from the file.
        return await asyncio.shield(self._asking[key])

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        async with aclosing(self._chat.stream(request)) as pieces:
            async for piece in pieces:
                yield piece

    async def _ask(self, key: str, request: Request) -> Reply:
        reply = await self._chat.complete(request)
        if reply.outcome in KEPT:
            self._file.append(_record(key, request, self._model, reply))
            self._known()[key] = reply
        return reply

    def _known(self) -> dict[str, Reply]:
        if self._kept is None:
            self._kept = {item["id"]: _reply(item) for item in self._file.read()}
        return self._kept


def request_key(request: Request, model: str) -> str:
    """Id of a question: everything that is asked, of whom, about which item, at which turn and attempt."""
    body = {
        "model": model,
        "messages": [[message.role, message.content, message.token_ids] for message in request.messages],
        "sampling": request.sampling.to_dict(),
        "schema": request.schema,
        "seed": request.seed,
        "item": request.item_id,
        "turn": request.turn,
        "role": request.role,
    }
    return content_id("reply", body)


def _record(key: str, request: Request, model: str, reply: Reply) -> dict[str, Any]:
    said = {name: value for name, value in vars(reply).items() if name != "latency_s"}
    return {
        "schema": "reply/1",
        "id": key,
        "asked": model,
        "item_id": request.item_id,
        "turn": request.turn,
        "role": request.role,
        "seed": request.seed,
        "prompt_hash": messages_hash(request.messages),
        "reply": said,
        NOT_COMPARED: {"latency_s": reply.latency_s},
    }


def _reply(item: dict[str, Any]) -> Reply:
    said = item["reply"]
    kind = ServerReply if "retries" in said else Reply
    return kind(**said, latency_s=item[NOT_COMPARED]["latency_s"])
