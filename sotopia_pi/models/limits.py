"""Wrappers around any chat that hold it back: how many calls at once, and how much all of them may cost."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from sotopia_pi.models.failures import StopAsking
from sotopia_pi.models.prices import Cost, Price, Prices, most_prompt_tokens, price_of
from sotopia_pi.models.seam import Chat, Reply, Request

SHARE_APART = 0.8
"""Below 1, so that calls can begin more often than answers come and never wait for each other for long."""
LONGEST_APART_S = 0.005
"""Most seconds between two calls that could begin together: slow answers are no reason to begin slowly."""


class BudgetSpent(StopAsking):
    """The next call could cost more than is left."""


class Limited:
    """At most `at_once` calls at a time; the others wait for their turn.

    Calls that could begin together begin a little apart, by SHARE_APART of what spreads `at_once` of them evenly over
    the shortest call so far: in step with each other they would all wait for this process at once, and then it for all
    of them.
    """

    def __init__(self, chat: Chat, at_once: int):
        if at_once < 1:
            raise ValueError(f"at_once is {at_once}; it takes at least 1 call at a time")
        self._chat, self._at_once, self._gate = chat, at_once, asyncio.Semaphore(at_once)
        self._shortest_s, self._last_begun = math.inf, 0.0

    async def complete(self, request: Request) -> Reply:
        async with self._gate:
            await self._apart()
            begun = time.monotonic()
            reply = await self._chat.complete(request)
            self._shortest_s = min(self._shortest_s, time.monotonic() - begun)
            return reply

    async def _apart(self) -> None:
        """Wait until this call is far enough from the one that began before it."""
        now = time.monotonic()
        apart = SHARE_APART * self._shortest_s / self._at_once if self._shortest_s < math.inf else 0.0
        self._last_begun = max(now, self._last_begun + min(LONGEST_APART_S, apart))
        if self._last_begun > now:
            await asyncio.sleep(self._last_begun - now)

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        async with self._gate, aclosing(self._chat.stream(request)) as pieces:
            async for piece in pieces:
                yield piece


class Budget:
    """What all calls of a run may cost together, over all roles.

    max_tokens_spent, max_usd: None = no limit. prices: see `Prices`. already: what earlier sittings spent.
    Counted is what servers reported. What a provider bills for an attempt that got no answer is not known here.
    """

    def __init__(
        self,
        max_tokens_spent: int | None = None,
        max_usd: float | None = None,
        prices: Prices | None = None,
        already: Cost | None = None,
    ):
        for name, limit in (("max_tokens_spent", max_tokens_spent), ("max_usd", max_usd)):
            if limit is not None and limit < 0:
                raise ValueError(f"{name} is {limit}; allowed: 0 and above, or None for no limit")
        self.max_tokens_spent, self.max_usd, self.prices = max_tokens_spent, max_usd, dict(prices or {})
        self.spent, self.reserved, self.calls = already or Cost(), Cost(), 0
        self._settled = asyncio.Event()

    def around(self, chat: Chat, model: str, role: str = "") -> "Budgeted":
        """The chat under this budget. model: its key in the price table.

        Raises ValueError where money is limited and the price is unknown: then nothing could be promised.
        """
        price = price_of(self.prices, model)
        if price is None and self.max_usd is not None:
            raise ValueError(
                f"role {role!r}: model {model!r} has no price, so max_usd = {self.max_usd} cannot be kept. Add it to "
                f"the prices (priced: {', '.join(sorted(self.prices)) or 'none'}; a server of your own may cost 0 and "
                f"0), or limit max_tokens_spent instead."
            )
        return Budgeted(chat, self, price or Price(0, 0), role)

    async def reserve(self, most: Cost, who: str) -> None:
        """Set aside what a call can cost at most; waits for calls in flight where these may leave enough.

        Raises BudgetSpent when the call could cost more than is left and nothing in flight can change that.
        """
        while not self._fits(self.spent + self.reserved + most):
            if not self._fits(self.spent + most):
                raise BudgetSpent(self._message(most, who))
            self._settled.clear()
            await self._settled.wait()
        self.reserved += most

    def settle(self, most: Cost, spent: Cost) -> None:
        """Replace what was set aside by what was spent."""
        self.reserved -= most
        self.spent += spent
        self.calls += 1
        self._settled.set()

    def _fits(self, cost: Cost) -> bool:
        tokens = self.max_tokens_spent is None or cost.tokens <= self.max_tokens_spent
        return tokens and (self.max_usd is None or cost.usd <= self.max_usd + 1e-12)

    def _message(self, most: Cost, who: str) -> str:
        limits = [f"max_tokens_spent = {self.max_tokens_spent:,}"] if self.max_tokens_spent is not None else []
        limits += [f"max_usd = {self.max_usd:g}"] if self.max_usd is not None else []
        return (
            f"{who}: the budget ({', '.join(limits)}) does not cover this call. Spent so far: {self.spent} in "
            f"{self.calls} calls of this sitting; this call could take up to {most}. Raise "
            f"{' or '.join(limit.split(' ')[0] for limit in limits)} and run again: whatever is written stays and is "
            f"not paid for twice."
        )


class Budgeted:
    """A chat that asks its budget first. Made by `Budget.around`."""

    def __init__(self, chat: Chat, budget: Budget, price: Price, role: str):
        self._chat, self._budget, self._price, self._role = chat, budget, price, role

    async def complete(self, request: Request) -> Reply:
        """The reply. Raises BudgetSpent before a call that could exceed the budget."""
        most = await self._reserve(request)
        spent = Cost()
        try:
            reply = await self._chat.complete(request)
            spent = self._spent(reply, most)
        finally:
            self._budget.settle(most, spent)
        return reply

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        """The pieces. A stream reports no usage, so a call that was begun counts with all it could have cost."""
        most = await self._reserve(request)
        try:
            async with aclosing(self._chat.stream(request)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._budget.settle(most, most)

    async def _reserve(self, request: Request) -> Cost:
        most = self._price.cost(most_prompt_tokens(request), request.sampling.max_new_tokens)
        await self._budget.reserve(most, f"role {self._role!r}, item {request.item_id!r}, turn {request.turn}")
        return most

    def _spent(self, reply: Reply, most: Cost) -> Cost:
        """What a reply cost by its usage; the most it can have cost where the server does not say."""
        if reply.outcome == "api_error":
            return Cost()
        if not {"prompt_tokens", "completion_tokens"} <= reply.usage.keys():
            return most
        return self._price.cost(reply.usage["prompt_tokens"], reply.usage["completion_tokens"])
