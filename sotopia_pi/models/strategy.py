"""Negotiation by rule: what was offered so far, and which deals to put forward, in one side's own utilities.

Utility u = (value - walk_away) / (best - walk_away): 0 is walking away, 1 the best one hopes for. Everything here is
a function of one side's observation; nothing knows the other's stakes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sotopia_pi.store.items import content_id
from sotopia_pi.world.actions import Turn
from sotopia_pi.world.deals import DealState
from sotopia_pi.world.episode import Observation
from sotopia_pi.world.payoffs import Deal, Issue, SidePayoff
from sotopia_pi.world.reader import Reading, read

EPS = 1e-6
_WHY = re.compile(r"\b(why|reason|what for|how come|what is (it|this|that) (for|about)|what's (it|this|that) (for|about))\b", re.I)


@dataclass(frozen=True)
class Move:
    """One turn as a negotiator hears it.

    offer: the side's complete standing offer after the turn, None where there is none.
    clear: the turn itself named terms or accepted.
    """

    side: int
    offer: Deal | None
    clear: bool


@dataclass(frozen=True)
class History:
    """All turns so far, as moves. agreed: the deal both sides stand on, or None."""

    moves: tuple[Move, ...]
    agreed: Deal | None

    def of(self, side: int) -> list[Move]:
        return [move for move in self.moves if move.side == side]

    def standing(self, side: int) -> Deal | None:
        """The side's latest complete offer."""
        moves = self.of(side)
        return moves[-1].offer if moves else None

    def offers(self, side: int) -> list[Deal]:
        """Every standing offer of a side, turn by turn, repetitions included."""
        return [move.offer for move in self.of(side) if move.offer is not None]


def history(observation: Observation) -> History:
    """The dialogue of an observation as moves, read by the same rules as the payoff judge reads it."""
    state, moves = DealState(observation.issues), []
    for turn in observation.turns:
        state, clear = _heard(state, turn)
        moves.append(Move(turn.side, state.offers[turn.side], clear))
    return History(tuple(moves), state.deal)


def _heard(state: DealState, turn: Turn) -> tuple[DealState, bool]:
    if turn.failed or turn.action.type != "speak":
        return state.step(turn), False
    reading = _read(turn.action.argument, state.issues, turn.side)
    return state.hear(turn.side, reading), bool(reading.terms or reading.accepts)


@lru_cache(maxsize=4096)
def _read(text: str, issues: tuple[Issue, ...], speaker: int) -> Reading:
    return read(text, issues, speaker)


class Menu:
    """Every deal with one side's utility, best first. Deals beyond the hoped-for best are left out."""

    def __init__(self, issues: Sequence[Issue], stakes: SidePayoff):
        self.issues = tuple(issues)
        self.stakes = stakes
        self.deals = sorted(
            ((u, deal) for deal in all_deals(self.issues) if (u := stakes.utility(deal)) <= 1 + EPS),
            key=lambda pair: -pair[0],
        )
        self.levels = sorted({round(u, 6) for u, _ in self.deals}, reverse=True)

    @property
    def best(self) -> Deal:
        return self.deals[0][1]

    def lowest(self) -> float:
        """The least utility that is still better than walking away."""
        return min((level for level in self.levels if level > EPS), default=self.levels[0])

    def below(self, utility: float, drop: float) -> float:
        """The level closest to `utility - drop`, at least one level down, never below `lowest()`."""
        lower = [level for level in self.levels if self.lowest() - EPS <= level < utility - EPS]
        return min(lower, key=lambda level: (abs(level - (utility - drop)), level)) if lower else utility

    def propose(self, least: float, theirs: Sequence[Deal], most: float = 1.0, used: Sequence[Deal] = ()) -> Deal | None:
        """Among the deals worth `least` to `most`, the one the other seems to like most; ties go to one's own gain.

        theirs: the other's offers so far; used: deals that are left out. None where nothing is left.
        """
        fit = [(u, deal) for u, deal in self.deals if least - EPS <= u <= most + EPS and deal not in used]
        liked = ((round(liking(self.issues, deal, theirs), 9), u, deal) for u, deal in fit)
        return max(liked, key=lambda found: found[:2], default=(0, 0, None))[2]


@lru_cache(maxsize=512)
def all_deals(issues: tuple[Issue, ...]) -> tuple[dict[str, int | str], ...]:
    """Every complete deal over these issues, in a fixed order."""
    grids = [[]]
    for issue in issues:
        grids = [[*head, option] for head in grids for option in issue.options]
    return tuple(dict(zip([issue.name for issue in issues], options, strict=True)) for options in grids)


def liking(issues: Sequence[Issue], deal: Deal, theirs: Sequence[Deal]) -> float:
    """How much a side seems to like a deal, judging by its own offers.

    Sum over issues of the share of its offers that asked for that option (what it gave up early weighs little);
    for an amount, the closeness to its latest one.
    """
    if not theirs:
        return 0.0
    total = 0.0
    for issue in issues:
        asked = [offer[issue.name] for offer in theirs]
        if issue.kind == "amount":
            total -= abs(deal[issue.name] - asked[-1]) / (1 + max(issue.options) - min(issue.options))
        else:
            total += asked.count(deal[issue.name]) / len(asked)
    return total


def asks_why(text: str) -> bool:
    """Whether an utterance asks for a reason."""
    return bool(_WHY.search(text)) and "?" in text


def stable_rng(*parts: object) -> np.random.Generator:
    """A generator that depends on these parts only (a task's id, a side, a name), the same in every process."""
    return np.random.default_rng([int(content_id("draw", [str(part) for part in parts]).rsplit("-", 1)[1], 16)])


def need_stakes(observation: Observation, who: str) -> SidePayoff:
    """The observer's stakes; raises ValueError in a task without a payoff, where there is nothing to bargain by rule."""
    if observation.stakes is None or not observation.issues:
        raise ValueError(
            f"task {observation.task_id}: {who} got a task without a payoff; it plays tasks with issues and stakes only. "
            f"Give this task's sides to language models instead."
        )
    return observation.stakes
