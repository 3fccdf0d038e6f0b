"""A work: something we do and a peer does too; both are measured in turns, so that a noisy machine is fair to both."""

import os
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # it needs torch, which a command that measures nothing need not load
    from sotopia_pi.app.bench.limits import Limits


class Skipped(Exception):
    """A work or its peer cannot be run here; the message says what is missing and how to get it."""


class Unequal(AssertionError):
    """What was measured did not do the same as its peer; the message says where they part."""


class Silent:
    """Progress of a stage that nobody watches."""

    def advance(self, failed: bool = False) -> None:
        pass


@dataclass(frozen=True)
class Contest:
    """A work made ready: each call of ours or peer does it once and returns its value in the work's unit.

    check: compares what both did (tokens, logits, choices, losses) and says in words how equal it is; raises Unequal.
    It is called once, after the measurements. limit: the value that the machine's limits would allow for ours.
    peer None: nothing to be measured beside. why_no_peer: said in the row's note then. note: what both did, in figures.
    """

    ours: Callable[[], float]
    peer: Callable[[], float] | None
    check: Callable[[], str]
    limit: "Callable[[Limits], float] | None" = None
    why_no_peer: str = ""
    note: str = ""


@dataclass(frozen=True)
class Work:
    """name: one word. does: the work, and what the peer is, in a sentence. unit: of the values of both.

    better: whether more or less of the unit is better; the ratio is above 1 where ours is better, either way.
    must, moonshot: least ratios; or, with judged="ours", bounds on our own value.
    pairs: measurements of each side. open: makes it ready; raises Skipped. dtype: of the limits it is held against.
    """

    name: str
    does: str
    unit: str
    must: float
    moonshot: float
    open: Callable[[], AbstractContextManager[Contest]]
    pairs: int = 5
    better: Literal["more", "less"] = "more"
    judged: Literal["ratio", "ours"] = "ratio"
    dtype: str = "auto"


@dataclass(frozen=True)
class Row:
    """A line of bench.json. ours, peer: medians, in `unit`; ratio: median of the pairs' ratios; spread: their least and
    largest. limit_share: our share in [0, 1] of what the machine's limits allow for the same, where that can be said.

    met: whether ours is at least as good as `must` asks, None where it could not be judged. correct: how equal the
    results are, in words, or "unequal: ..." or "skipped: ...". load: processes waiting for the CPU before and after
    (the load average of a minute); above the number of cores others were measured as well.
    """

    work: str
    does: str
    unit: str
    ours: float | None
    peer: float | None
    ratio: float | None
    spread: tuple[float, float] | None
    must: float
    moonshot: float
    judged: str
    better: str
    met: bool | None
    limit_share: float | None
    correct: str
    note: str = ""
    pairs: list[tuple[float, float | None]] = field(default_factory=list)
    limits: dict[str, Any] = field(default_factory=dict)
    load: tuple[float, float] = (0.0, 0.0)
    wall_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(work: Work, limits: "Callable[[str], Limits]", pairs: int | None = None) -> Row:
    """Do a work in turns with its peer, ours first, and say how they compare. pairs: instead of the work's own number.

    limits: measures the machine's limits for a dtype; called between opening the work and the first turn.
    """
    started, load = time.monotonic(), os.getloadavg()[0]
    try:
        with work.open() as contest:
            allowed = limits(work.dtype)
            turns = [_turn(contest) for _ in range(pairs or work.pairs)]
            correct = _checked(contest)
            best = contest.limit(allowed) if contest.limit else None
    except Skipped as reason:
        return _row(work, [], None, f"skipped: {reason}")
    row = _row(work, turns, best, correct, contest.note or contest.why_no_peer, allowed.to_dict())
    ended = {"load": (load, os.getloadavg()[0]), "wall_s": time.monotonic() - started}
    return Row(**{**vars(row), **ended})


def _turn(contest: Contest) -> tuple[float, float | None]:
    ours = contest.ours()
    return ours, contest.peer() if contest.peer else None


def _checked(contest: Contest) -> str:
    try:
        return contest.check()
    except Unequal as error:
        return f"unequal: {error}"


def _row(
    work: Work,
    turns: list[tuple[float, float | None]],
    best: float | None,
    correct: str,
    note: str = "",
    limits: dict[str, Any] | None = None,
) -> Row:
    ours = statistics.median(ours for ours, _ in turns) if turns else None
    beside = [(a, b) for a, b in turns if b is not None]
    ratios = [a / b if work.better == "more" else b / a for a, b in beside]
    ratio = statistics.median(ratios) if ratios else None
    return Row(
        work.name,
        work.does,
        work.unit,
        ours,
        statistics.median(b for _, b in beside) if beside else None,
        ratio,
        (min(ratios), max(ratios)) if ratios else None,
        work.must,
        work.moonshot,
        work.judged,
        work.better,
        _met(work, ours, ratio, correct),
        None if best is None or ours is None else (ours / best if work.better == "more" else best / ours),
        correct,
        note,
        turns,
        limits or {},
    )


def _met(work: Work, ours: float | None, ratio: float | None, correct: str) -> bool | None:
    value = ratio if work.judged == "ratio" else ours
    if value is None:
        return None
    less = work.judged == "ours" and work.better == "less"
    return not correct.startswith("unequal") and (value <= work.must if less else value >= work.must)
