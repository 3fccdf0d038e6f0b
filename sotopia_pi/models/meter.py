"""What was asked: calls, tokens, cost, failures and retries by role, counted around any chat."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from sotopia_pi.models.failures import ServerReply, StreamFailed
from sotopia_pi.models.prices import Price, Prices, price_of
from sotopia_pi.models.seam import Chat, Reply, Request


@dataclass(frozen=True)
class Tally:
    """What one role asked for so far.

    outcomes: replies by outcome; calls = their sum. retries: attempts beyond the first. tokens as servers report them,
    which they do not for streams. usd: None where the model has no price, and before the first call. latency_s: sum
    over the replies, in seconds.
    """

    model: str
    outcomes: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    latency_s: float = 0.0

    @property
    def calls(self) -> int:
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        """Calls without a usable reply: refused, invalid or failed at the server."""
        return sum(n for outcome, n in self.outcomes.items() if outcome not in ("ok", "truncated"))

    def plus(self, reply: Reply, price: Price | None) -> "Tally":
        prompt, completion = reply.usage.get("prompt_tokens", 0), reply.usage.get("completion_tokens", 0)
        return replace(
            self,
            outcomes={**self.outcomes, reply.outcome: self.outcomes.get(reply.outcome, 0) + 1},
            retries=self.retries + (reply.retries if isinstance(reply, ServerReply) else 0),
            prompt_tokens=self.prompt_tokens + prompt,
            cached_tokens=self.cached_tokens + reply.usage.get("cached_tokens", 0),
            completion_tokens=self.completion_tokens + completion,
            usd=None if price is None else (self.usd or 0.0) + price.cost(prompt, completion).usd,
            latency_s=self.latency_s + reply.latency_s,
        )

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "outcomes": dict(self.outcomes)}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Tally":
        return cls(**record)


class Meter:
    """Counts calls, tokens, cost, failures and retries by role; `tallies` holds a Tally a role."""

    def __init__(self, prices: Prices | None = None):
        self.prices = dict(prices or {})
        self.tallies: dict[str, Tally] = {}

    def around(self, chat: Chat, model: str, role: str, free: bool = False) -> "Metered":
        """The chat with its calls counted under `role`. model: its key in the price table; free: it costs nothing."""
        self.tallies.setdefault(role, Tally(model))
        return Metered(chat, self, role, Price(0, 0) if free else price_of(self.prices, model))

    def note(self, role: str, reply: Reply, price: Price | None) -> None:
        self.tallies[role] = self.tallies[role].plus(reply, price)

    @property
    def usd(self) -> float:
        """US dollars over all models that have a price."""
        return sum(tally.usd or 0.0 for tally in self.tallies.values())

    @property
    def unpriced(self) -> list[str]:
        """Models that were asked and have no price; `usd` does not hold what they cost."""
        return sorted({tally.model for tally in self.tallies.values() if tally.calls and tally.usd is None})

    def __str__(self) -> str:
        """One line for a progress bar."""
        tallies = self.tallies.values()
        calls, failed = sum(t.calls for t in tallies), sum(t.failed for t in tallies)
        tokens = sum(t.prompt_tokens + t.completion_tokens for t in tallies)
        unknown = f" (price unknown: {', '.join(self.unpriced)})" if self.unpriced else ""
        return f"{calls:,} calls, {failed:,} failed, {tokens:,} tokens, ${self.usd:,.2f}{unknown}"

    def to_dict(self) -> dict[str, Any]:
        """For the run card: a tally by role."""
        return {role: tally.to_dict() for role, tally in self.tallies.items()}


class Metered:
    """A chat whose calls a meter counts. Made by `Meter.around`."""

    def __init__(self, chat: Chat, meter: Meter, role: str, price: Price | None):
        self._chat, self._meter, self._role, self._price = chat, meter, role, price

    async def complete(self, request: Request) -> Reply:
        reply = await self._chat.complete(request)
        self._meter.note(self._role, reply, self._price)
        return reply

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        """The pieces; counted is the reply at their end, else that there was a call and how it ended."""
        counted = Reply("")
        try:
            async with aclosing(self._chat.stream(request)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Reply):
                        counted = piece
                    yield piece
        except StreamFailed as error:
            counted = Reply("", outcome=error.outcome)
            raise
        finally:
            self._meter.note(self._role, counted, self._price)
