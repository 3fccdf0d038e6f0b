"""A judge's answers for tests: a whole one, failed ones, and a chat that thinks of one for every episode."""

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Any

from synthetic_run import episode, task

from sotopia_pi.models.seam import Reply, Request
from sotopia_pi.stages.judge import Judge
from sotopia_pi.world.tasks import SocialTask

SCORES = {
    "believability": (9, 3),
    "relationship": (1, -2),
    "knowledge": (4, 0),
    "secret": (0, -10),
    "social_rules": (-1, 0),
    "financial_and_material_benefits": (-3, 5),
    "goal": (8, 2),
}
"""Dimension -> scores of side 0 and side 1; no two sides alike, so that a swap shows."""


def answer(task: SocialTask) -> dict[str, Any]:
    """An answer with SCORES that every rule of reading accepts."""
    names = [f"side_{side}: {person.name}" for side, person in enumerate(task.characters)]
    return {
        f"side_{side}": {
            "who": names[side],
            **{d: {"reasoning": f"{d} of {names[side]}.", "score": both[side]} for d, both in SCORES.items()},
        }
        for side in (0, 1)
    }


def changed(task: SocialTask, change: Callable[[dict[str, Any]], Any]) -> str:
    """The text of an answer after a change to it."""
    said = copy.deepcopy(answer(task))
    change(said)
    return json.dumps(said)


class Thinker:
    """Answers each request by `reply_to`, after a turn of the event loop; keeps what it was asked."""

    def __init__(self, reply_to: Callable[[Request], str | Reply]):
        self.reply_to = reply_to
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        await asyncio.sleep(0)
        reply = self.reply_to(request)
        return Reply(reply, model="thinker-1") if isinstance(reply, str) else reply

    async def stream(self, request: Request):
        yield (await self.complete(request)).text


TASK = task(1, "lamp")
EPISODE = episode(TASK, "BC", 0)
GOOD = json.dumps(answer(TASK))
REFUSED = Reply("I cannot rate this.", outcome="refused")
CUT = Reply(GOOD[:500], outcome="truncated", finish_reason="length")
DOWN = Reply("", outcome="api_error", finish_reason="error")


def judge(chat: Any, **settings: Any) -> Judge:
    """A judge that asks this chat."""
    return Judge(chat, "gpt-4", "model-1", **settings)


def score(value: Any, dimension: str = "goal") -> Callable[[dict[str, Any]], None]:
    """A change to an answer: this score for side 1."""
    return lambda said: said["side_1"][dimension].update(score=value)
