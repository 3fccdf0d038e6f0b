"""Whom to talk to in tests: chats that stream prepared replies, policies around them, and a company of these."""

import asyncio
from collections.abc import Callable, Iterable

from sotopia_pi.models.failures import StreamFailed
from sotopia_pi.models.llm_policy import LLMPolicy
from sotopia_pi.models.seam import Reply
from sotopia_pi.store.params import ParameterError
from sotopia_pi.world.episode import Episode, Policy
from sotopia_pi.world.scoring import rate_by_payoff


class Telling:
    """A chat that streams its replies word by word, in order.

    An exception in the place of a reply is raised after its first word; `hold` keeps every reply back after its first
    word until `release` was called. requests: what it was asked; given_up: streams that their caller closed.
    """

    def __init__(self, replies: Iterable[str | Reply | Exception], hold: bool = False):
        self.replies = [Reply(r, model="telling") if isinstance(r, str) else r for r in replies]
        self.requests, self.given_up = [], 0
        self._held = asyncio.Event()
        if not hold:
            self._held.set()

    def release(self) -> None:
        self._held.set()

    async def stream(self, request):
        self.requests.append(request)
        reply = self.replies[len(self.requests) - 1]
        text = "well" if isinstance(reply, Exception) else reply.text
        first, *rest = text.split(" ")
        try:
            yield first
            await self._held.wait()
            if isinstance(reply, Exception):
                raise reply
            for word in rest:
                yield f" {word}"
                await asyncio.sleep(0)
            yield reply
        except (GeneratorExit, asyncio.CancelledError):
            self.given_up += 1
            raise

    async def complete(self, request) -> Reply:
        whole = [piece async for piece in self.stream(request)][-1]
        assert isinstance(whole, Reply)
        return whole


def away() -> StreamFailed:
    return StreamFailed("role 'agent': no reply: the connection failed", "api_error")


def telling(*replies: str | Reply | Exception, name: str = "BC", hold: bool = False, **settings) -> LLMPolicy:
    """A language-model policy that says these, one a turn."""
    return LLMPolicy(Telling(replies, hold), name, f"model-{name}", **settings)


class ToyCompany:
    """policies: name -> whom one can talk to, or the exception that opening them raises; judge: who rates."""

    def __init__(self, judge: Callable[[Episode], tuple] | None = None, **policies: Policy | Exception):
        self.policies, self.names, self.latest = policies, tuple(policies), next(iter(policies))
        self.absent = {"SR": "not trained: too few conversations were kept"}
        self._judge = judge

    async def policy(self, name: str) -> Policy:
        await asyncio.sleep(0)
        found = self.policies.get(name, ParameterError(f"role 'agent': {name!r} names no model"))
        if isinstance(found, Exception):
            raise found
        return found

    async def rate(self, episode, task):
        return self._judge(episode) if self._judge else rate_by_payoff(episode, task)


async def until(condition: Callable[[], object], what: str, seconds: float = 5.0) -> None:
    """Let the event loop run until something is so."""
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"waited {seconds} s for {what}")
