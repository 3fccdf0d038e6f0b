"""Negotiation by rule: what was offered so far, and which deals to put forward, in one side's own utilities.

Utility u = (value - walk_away) / (best - walk_away): 0 is walking away, 1 the best one hopes for. Everything here is
a function of one side's observation; nothing knows the other's stakes.
"""

import re
from collections.abc import Mapping, Sequence
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
_WHY = re.compile(
    r"\b(why|reason|what for|how come|what is (it|this|that) (for|about)|what's (it|this|that) (for|about))\b", re.I
)


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
    reading = heard_in(turn.action.argument, state.issues, turn.side)
    return state.hear(turn.side, reading), bool(reading.terms or reading.accepts)


@lru_cache(maxsize=4096)
def heard_in(text: str, issues: tuple[Issue, ...], speaker: int) -> Reading:
    """What one utterance says about these issues."""
    return read(text, issues, speaker)


class Menu:
    """Every deal with one side's utility, best first. Deals beyond the hoped-for best are left out."""

    def __init__(self, issues: Sequence[Issue], stakes: SidePayoff, side: int):
        self.issues, self.side = tuple(issues), side
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

    def propose(self, target: float, theirs: Sequence[Deal], keeping: Deal | None = None) -> Deal:
        """Among the deals worth at least `target`, the one the other seems to like most; ties go to one's own gain.

        theirs: the other's offers so far. keeping: an offer of one's own from which nothing is taken back, where such
        a deal is worth the target.
        """
        fit = [(u, deal) for u, deal in self.deals if u >= target - EPS] or self.deals[:1]
        if keeping is not None:
            fit = [(u, deal) for u, deal in fit if self._only_gives(keeping, deal, set()) and deal != keeping] or fit
        return self._liked(fit, theirs)

    def give(self, last: Deal, drop: float, theirs: Sequence[Deal]) -> Deal:
        """The next offer after `last`: up to `drop` of utility given for what the other asked for, nothing taken back,
        nothing moved on which the two agree by now; one issue at a time where that is possible.

        Of choices one gives the one that costs least, what the other asks for if that is possible at all, whatever
        `drop` says. Where no single gift of items is small enough, a gift against a smaller return ("the lamp for you,
        then the mug for me"); `last` itself where nothing is left to give.
        """
        start, before = self.stakes.utility(last), liking(self.issues, last, theirs, 1 - self.side)
        lower = [(u, deal) for u, deal in self.deals if self.lowest() - EPS <= u < start - EPS]
        agreed = {name for name, option in last.items() if theirs and theirs[-1][name] == option}
        gifts = [(u, deal) for u, deal in lower if self._only_gives(last, deal, agreed)]
        if theirs and any(issue.kind == "choice" for issue in self.issues):
            single = [deal for _, deal in gifts if _n_changed(last, deal) == 1]
            asked = [deal for deal in single if all(o in (last[name], theirs[-1][name]) for name, o in deal.items())]
            return next(iter(asked or single), last)
        within = [(u, deal) for u, deal in gifts if u >= start - drop - EPS]
        fit = [(u, deal) for u, deal in within if _n_changed(last, deal) == 1] or within
        if not fit:
            least = gifts[0][0] if gifts else self.lowest()
            trades = [(u, deal) for u, deal in lower if u >= least - EPS]
            fit = [
                pair for pair in trades if liking(self.issues, pair[1], theirs, 1 - self.side) > before + EPS
            ] or gifts[:1]
        return self._liked(fit, theirs) if fit else last

    def with_gifts(self, mine: Deal, theirs: Deal | None) -> Deal:
        """An own offer with what the other's offer now grants beyond it; choices only."""
        if theirs is None:
            return mine
        choices = {issue.name for issue in self.issues if issue.kind == "choice"}
        return {
            name: theirs[name]
            if name in choices and self._points(name, theirs[name]) > self._points(name, option)
            else option
            for name, option in mine.items()
        }

    def taken_for_granted(self, mine: Deal, theirs: Deal) -> Deal:
        """What of the other's offer an own one may leave unsaid; choices only.

        All of it where the options that differ are by themselves worth more than walking away; else only those worth
        nothing, so that "X, the rest as you wish" is never a bad deal, whatever the rest will be.
        """
        choices = [issue.name for issue in self.issues if issue.kind == "choice"]
        claimed = sum(self._points(name, mine[name]) for name in choices if mine[name] != theirs[name])
        if not choices or claimed > self.stakes.walk_away + EPS:
            return theirs
        return {name: option for name, option in theirs.items() if self._points(name, option) < EPS}

    def _only_gives(self, last: Deal, deal: Deal, agreed: set[str]) -> bool:
        """Whether no issue is worth more to this side than in `last`, and what both ask for stays."""
        return all(
            option == last[name]
            if name in agreed
            else self._points(name, option) <= self._points(name, last[name]) + EPS
            for name, option in deal.items()
        )

    def _points(self, issue: str, option: int | str) -> float:
        table = self.stakes.points.get(issue, 0)
        return table[str(option)] if isinstance(table, Mapping) else table * option

    def _liked(self, fit: Sequence[tuple[float, Deal]], theirs: Sequence[Deal]) -> Deal:
        liked = ((round(liking(self.issues, deal, theirs, 1 - self.side), 9), u, deal) for u, deal in fit)
        return max(liked, key=lambda found: found[:2])[2]


def _n_changed(before: Deal, after: Deal) -> int:
    """How many issues two deals settle differently."""
    return sum(option != after[name] for name, option in before.items())


@lru_cache(maxsize=512)
def all_deals(issues: tuple[Issue, ...]) -> tuple[dict[str, int | str], ...]:
    """Every complete deal over these issues, in a fixed order."""
    grids = [[]]
    for issue in issues:
        grids = [[*head, option] for head in grids for option in issue.options]
    return tuple(dict(zip([issue.name for issue in issues], options, strict=True)) for options in grids)


def liking(issues: Sequence[Issue], deal: Deal, theirs: Sequence[Deal], whose: int) -> float:
    """How much side `whose` seems to like a deal, judging by its own offers.

    Sum over issues of the share of its offers that asked for that option: what it gave up early weighs little. An item
    it does not get counts nothing. For an amount, the closeness to its latest one.
    """
    if not theirs:
        return 0.0
    total = 0.0
    for issue in issues:
        option, asked = deal[issue.name], [offer[issue.name] for offer in theirs]
        if issue.kind == "amount":
            total -= abs(option - asked[-1]) / (1 + max(issue.options) - min(issue.options))
        elif issue.kind == "choice" or option == whose:
            total += asked.count(option) / len(asked)
    return total


def asks_why(text: str) -> bool:
    """Whether an utterance asks for a reason."""
    return bool(_WHY.search(text)) and "?" in text


def stable_rng(*parts: object) -> np.random.Generator:
    """A generator that depends on these parts only (a task's id, a side, a name), the same in every process."""
    return np.random.default_rng([int(content_id("draw", [str(part) for part in parts]).rsplit("-", 1)[1], 16)])


def need_stakes(observation: Observation, who: str) -> SidePayoff:
    """The observer's stakes. Raises ValueError in a task without a payoff, where no rule can bargain."""
    if observation.stakes is None or not observation.issues:
        raise ValueError(
            f"task {observation.task_id}: {who} got a task without a payoff; it plays tasks with issues and stakes "
            f"only. Give this task's sides to language models instead."
        )
    return observation.stakes
