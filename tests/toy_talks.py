"""Small talks for tests: hand-made tasks over a price or items, policies that read out lines, and what came of it."""

import asyncio
from collections.abc import Sequence

from synthetic_run import character

from sotopia_pi.world.actions import Action
from sotopia_pi.world.deals import follow
from sotopia_pi.world.episode import Decision, Episode, EpisodePlan, Observation, Policy, Rules, play
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff
from sotopia_pi.world.tasks import Scenario, SocialTask


def price_task(low: int = 100, high: int = 200, step: int = 10, seller: int = 0, limits: tuple = ()) -> SocialTask:
    """A price between `low` (the buyer's hope) and `high` (the seller's). limits: (seller's, buyer's); default each
    other's hope."""
    seller_limit, buyer_limit = limits or (low, high)
    sides = [SidePayoff({"price": 1}, seller_limit, high), SidePayoff({"price": -1}, -buyer_limit, -low)]
    issue = Issue("price", "amount", tuple(range(low, high + 1, step)), unit="$")
    return toy_task(Payoff("bargaining", (issue,), tuple(sides if seller == 0 else sides[::-1]), material=True))


def items_task(first: dict[str, int], second: dict[str, int], walk_away: int = 2) -> SocialTask:
    """Items with private points; each side's points add up to 10."""
    sides = []
    for side, worth in enumerate((first, second)):
        points = {name: {str(side): value, str(1 - side): 0} for name, value in worth.items()}
        sides.append(SidePayoff(points, walk_away, 10))
    issues = tuple(Issue(name, "item", (0, 1)) for name in first)
    return toy_task(Payoff("division", issues, tuple(sides)))


def favour_task(cover: str = "my bike is broken", secret: str = "I lost my licence after a race") -> SocialTask:
    """Side 0 asks side 1 for days; 2 to 8 are possible."""
    asker = SidePayoff({"amount": 1}, 2, 8, guarded=secret)
    giver = SidePayoff({"amount": -1}, -7, -1)
    goal = f"Borrow the car. The true reason is: {secret}. Never say it; you may say: {cover}."
    payoff = Payoff("favour", (Issue("amount", "amount", tuple(range(1, 9)), unit="days"),), (asker, giver))
    return toy_task(payoff, (goal, "Help, but for as few days as you can."))


def toy_task(payoff: Payoff, goals: tuple[str, str] = ("Get much.", "Give little.")) -> SocialTask:
    scenario = Scenario("toy", "toy", "test", "Two people talk.", goals, 0)
    people = (character("Ada", "Ash", "She hums."), character("Ben", "Birch", "He naps."))
    return SocialTask(scenario, people, payoff=payoff)


class Lines:
    """Reads out its lines in order, then repeats the last one. A line may be an Action."""

    name = "lines"

    def __init__(self, *lines: str | Action):
        self.lines = lines
        self.digest = repr(lines)

    async def act(self, observation: Observation, seed: int) -> Decision:
        own = sum(turn.side == observation.side for turn in observation.turns)
        line = self.lines[min(own, len(self.lines) - 1)]
        return Decision(line if isinstance(line, Action) else Action("speak", line))


def talk(task: SocialTask, first: Policy, second: Policy, turn_limit: int = 20, seed: int = 0) -> Episode:
    return asyncio.run(play(EpisodePlan(task, (first, second), Rules(turn_limit=turn_limit), seed)))


def deal_of(task: SocialTask, episode: Episode):
    return follow(task.payoff.issues, episode.turns).deal


def offers_of(task: SocialTask, episode: Episode, side: int) -> list:
    """A side's standing terms after each of its turns, repetitions left out."""
    found = []
    for turn in episode.turns:
        offer = follow(task.payoff.issues, episode.turns[: turn.index + 1]).offers[side]
        if turn.side == side and offer is not None and (not found or found[-1] != offer):
            found.append(offer)
    return found


def prices(task: SocialTask, episode: Episode, side: int) -> list[int]:
    return [offer["price"] for offer in offers_of(task, episode, side)]


def said_by(episode: Episode, side: int) -> Sequence[str]:
    return [turn.action.argument for turn in episode.turns if turn.side == side and turn.action.type == "speak"]
