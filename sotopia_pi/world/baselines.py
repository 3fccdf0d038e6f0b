"""Trivial policies: what a benchmark must not let win. Plain fixed wording, and no idea of the other side.

Four gate every result (always-accept, never-concede, stall-then-accept, random-valid); two more are there for the
sceptic and are only reported (step-conceder, split-the-difference).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sotopia_pi.store.digest import source_digest
from sotopia_pi.store.items import content_id
from sotopia_pi.world.actions import Action
from sotopia_pi.world.deals import DealState, follow
from sotopia_pi.world.episode import Decision, Observation
from sotopia_pi.world.payoffs import Deal, Payoff
from sotopia_pi.world.reader_agreement import announces_leaving
from sotopia_pi.world.wording import spoken_terms

EPS = 1e-6
STALL_TURNS = 6
"""Own turns that stall-then-accept repeats itself at most."""
LATE = 3
"""Turns before the end, both sides together, at which stall-then-accept gives in."""
ACCEPT_SHARE = 0.25
"""Probability with which random-valid takes an offer that is not worse than walking away."""
GOOD_ENOUGH = 0.3
"""Least utility that split-the-difference takes (the scale runs from 0, walking away, to 1, the best)."""
STEP = 0.1
"""Utility that step-conceder gives up every turn."""


@dataclass(frozen=True)
class Situation:
    """What a trivial policy looks at. offers: standing complete terms per side, or None."""

    observation: Observation
    state: DealState

    @property
    def side(self) -> int:
        return self.observation.side

    @property
    def theirs(self) -> Deal | None:
        return self.state.offers[1 - self.side]

    @property
    def mine(self) -> Deal | None:
        return self.state.offers[self.side]

    @property
    def own_turns(self) -> int:
        return sum(turn.side == self.side for turn in self.observation.turns)

    def utility(self, deal: Deal) -> float:
        return self.observation.stakes.utility(deal)

    def menu(self) -> list[Deal]:
        """Every deal not above the hoped-for best, best first."""
        stakes = self.observation.stakes
        deals = Payoff("", self.observation.issues, (stakes, stakes)).deals()
        return sorted((d for d in deals if self.utility(d) <= 1 + EPS), key=self.utility, reverse=True)


Rule = Callable[[Situation, np.random.Generator], tuple[str, Deal]]
"""What a trivial policy is: ("accept" | "offer", the terms)."""


class TrivialPolicy:
    """A rule as a policy; leaves once there is a deal."""

    def __init__(self, name: str, rule: Rule):
        self.name, self.rule = name, rule
        self.digest = content_id("policy", {"name": name, "code": source_digest("sotopia_pi.world.baselines")})

    async def act(self, observation: Observation, seed: int) -> Decision:
        if observation.stakes is None or not observation.issues:
            raise ValueError(
                f"task {observation.task_id}: {self.name} got a task without a payoff; it plays tasks with issues and "
                f"stakes only. Give this task's sides to language models instead."
            )
        situation = Situation(observation, follow(observation.issues, observation.turns))
        if situation.state.deal is not None:
            return Decision(Action("leave"))
        intent, deal = self.rule(situation, np.random.default_rng(seed))
        terms = spoken_terms(observation.issues, deal, observation.side)
        return Decision(Action("speak", f"I accept: {terms}." if intent == "accept" else f"My offer: {terms}."))


def _always_accept(situation: Situation, rng: np.random.Generator) -> tuple[str, Deal]:
    if situation.theirs is not None:
        return "accept", situation.theirs
    return "offer", situation.menu()[0]


def _never_concede(situation: Situation, rng: np.random.Generator) -> tuple[str, Deal]:
    return "offer", situation.menu()[0]


def _stall_then_accept(situation: Situation, rng: np.random.Generator) -> tuple[str, Deal]:
    turns = situation.observation.turns
    warned = any(t.side != situation.side and announces_leaving(t.action.argument) for t in turns)
    late = situation.observation.turn_limit - len(turns) <= LATE or situation.own_turns >= STALL_TURNS
    if situation.theirs is not None and (warned or late):
        return "accept", situation.theirs
    return "offer", situation.menu()[0]


def _random_valid(situation: Situation, rng: np.random.Generator) -> tuple[str, Deal]:
    theirs = situation.theirs
    if theirs is not None and situation.utility(theirs) >= -EPS and rng.random() < ACCEPT_SHARE:
        return "accept", theirs
    valid = [deal for deal in situation.menu() if situation.utility(deal) >= -EPS]
    return "offer", valid[int(rng.integers(len(valid)))]


def _step_conceder(situation: Situation, rng: np.random.Generator) -> tuple[str, Deal]:
    target = max(0.0, 1.0 - STEP * situation.own_turns)
    valid = [deal for deal in situation.menu() if situation.utility(deal) >= target - EPS]
    offer = valid[-1]
    if situation.theirs is not None and situation.utility(situation.theirs) >= situation.utility(offer) - EPS:
        return "accept", situation.theirs
    return "offer", offer


def _split_the_difference(situation: Situation, rng: np.random.Generator) -> tuple[str, Deal]:
    menu, theirs = situation.menu(), situation.theirs
    if theirs is None or situation.mine is None:
        return "offer", menu[0]
    if situation.utility(theirs) > GOOD_ENOUGH:
        return "accept", theirs
    middle = max(0.0, (situation.utility(situation.mine) + situation.utility(theirs)) / 2)
    return "offer", min(menu, key=lambda deal: abs(situation.utility(deal) - middle))


def always_accept() -> TrivialPolicy:
    """Takes the other's latest offer at once; offers its own best while there is none."""
    return TrivialPolicy("always-accept", _always_accept)


def never_concede() -> TrivialPolicy:
    """Repeats its best forever."""
    return TrivialPolicy("never-concede", _never_concede)


def stall_then_accept() -> TrivialPolicy:
    """Repeats its best until the other announces leaving or time runs out, then takes the latest offer."""
    return TrivialPolicy("stall-then-accept", _stall_then_accept)


def random_valid() -> TrivialPolicy:
    """Offers a random deal that is not worse than walking away, and takes one such with probability 1/4."""
    return TrivialPolicy("random-valid", _random_valid)


def step_conceder() -> TrivialPolicy:
    """Comes down one fixed step a turn, whatever the other does. Reported, never a gate."""
    return TrivialPolicy("step-conceder", _step_conceder)


def split_the_difference() -> TrivialPolicy:
    """Opens at its best, then names the middle, and takes anything above 0.3. Reported, never a gate."""
    return TrivialPolicy("split-the-difference", _split_the_difference)


def trivial_policies() -> tuple[TrivialPolicy, ...]:
    """The four that every result must beat, in the order of every table."""
    return always_accept(), never_concede(), stall_then_accept(), random_valid()
