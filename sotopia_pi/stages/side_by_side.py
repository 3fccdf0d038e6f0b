"""One work over many items, side by side: an item that fails spoils no other, and what is useless to go on ends."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sotopia_pi.models.failures import StopAsking

T = TypeVar("T")


async def side_by_side(
    items: Sequence[T], work: Callable[[T], Awaitable[None]], at_once: int, what: str, path: Path
) -> None:
    """Do the work for every item, at most `at_once` at a time. The work writes its own result to `path`.

    StopAsking (a wrong key, a spent budget) is raised as it came: what has begun ends, nothing more begins. Any other
    error is raised once the rest is done, as a RuntimeError that says how many failed ("3 of 40 episodes could not be
    played") and how to go on. what: "episodes could not be played".
    """
    gate = asyncio.Semaphore(at_once)
    stop: list[StopAsking] = []

    async def one(item: T) -> None:
        async with gate:
            if stop:
                return
            try:
                await work(item)
            except StopAsking as error:
                stop.append(error)

    results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    if stop:
        raise stop[0]
    errors = [error for error in results if isinstance(error, BaseException)]
    if errors:
        raise RuntimeError(
            f"{len(errors)} of {len(items)} {what}; the others are written to {path}. Run the same command again to do "
            f"what is missing. First error: {errors[0]!r}"
        ) from errors[0]
