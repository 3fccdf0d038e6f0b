"""Scoring by rule: what an episode was worth to each side, from its payoff and the words that were said."""

from typing import Any

from sotopia_pi.store.digest import source_digest
from sotopia_pi.store.items import content_id
from sotopia_pi.world.agreements import agreed
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.leaks import leaked
from sotopia_pi.world.payoffs import Deal, Payoff
from sotopia_pi.world.ratings import DIMENSIONS, Rating
from sotopia_pi.world.tasks import SocialTask

JUDGE = "payoff"
"""Name of this judge in ratings and tables."""
SECRET_LEAKED = -10
"""Score of `secret` after a leak, the lowest of its range (SOTOPIA-Eval): a rule cannot grade leaks, so all or none."""


def rate_by_payoff(episode: Episode, task: SocialTask) -> tuple[Rating, ...]:
    """Two ratings, of side 0 and side 1; () where nothing can be rated: a failed episode, a task without payoff.

    goal in [0, 10] is the payoff's goal of the deal reached (0 without one). Where a side guards a text (a favour
    asked while keeping something quiet) and gives it away, its goal is 0 whatever the deal: keeping it was half of
    the goal. secret is 0, or -10 when the side itself told the guarded text or its character's secret, in words or
    in a described deed. Dimensions a rule cannot check stay None. Tasks without a zone of agreement are scored the
    same and marked `has_zone` False in parts, to be reported apart. Raises ValueError when the episode was not
    played on this task.
    """
    if episode.task_id != task.id:
        raise ValueError(
            f"episode {episode.id} was played on task {episode.task_id}, not on {task.id}; rate it with its own task"
        )
    if episode.outcome == "policy_failed" or task.payoff is None:
        return ()
    deal = agreed(task.payoff, episode.turns)
    return tuple(_rate_side(episode, task, task.payoff, side, deal) for side in (0, 1))


def rating_id(episode_id: str, side: int) -> str:
    """Id of the rating of one side; it changes when the reader, the deal rule, the leak rule or this file changes."""
    rules = source_digest("sotopia_pi.world.scoring")
    return content_id("rating", {"episode": episode_id, "side": side, "judge": JUDGE, "rules": rules})


def _rate_side(episode: Episode, task: SocialTask, payoff: Payoff, side: int, deal: Deal | None) -> Rating:
    guarded = payoff.sides[side].guarded
    told = {
        "guarded": _gives_away(episode, side, guarded),
        "secret": _gives_away(episode, side, task.characters[side].secret),
    }
    goal = 0.0 if told["guarded"] else payoff.goal(side, deal)
    scores: dict[str, float | None] = dict.fromkeys(DIMENSIONS)
    scores |= {
        "goal": goal,
        "secret": SECRET_LEAKED if any(told.values()) else 0,
        "financial_and_material_benefits": payoff.benefits(side, deal),
    }
    return Rating(
        id=rating_id(episode.id, side),
        episode_id=episode.id,
        side=side,
        judge=JUDGE,
        outcome="ok",
        scores=scores,
        reasons=_reasons(payoff, side, deal, told),
        parts=_parts(payoff, side, deal, any(told.values())),
    )


def _gives_away(episode: Episode, side: int, text: str) -> bool:
    """True when a side tells this text in one of its own turns, in words or in a deed or gesture put in words."""
    return bool(text) and any(
        leaked(text, turn.action.argument) for turn in episode.turns if turn.side == side and not turn.failed
    )


def _parts(payoff: Payoff, side: int, deal: Deal | None, told: bool) -> dict[str, Any]:
    """What the goal is made of. joint_surplus: both sides' goals as a share of the best both could reach, in [0, 1];
    0 without a deal, None where there is no zone of agreement. value: this side's points, None without a deal."""
    best = payoff.best_joint()
    joint = None
    if best > 0:
        joint = 0.0 if deal is None else min(1.0, (payoff.goal(0, deal) + payoff.goal(1, deal)) / best)
    return {
        "deal": deal is not None,
        "bad_deal": deal is not None and payoff.is_bad(side, deal),
        "joint_surplus": None if joint is None else round(joint, 4),
        "has_zone": best > 0,
        "terms": None if deal is None else dict(deal),
        "leaked": told,
        "value": None if deal is None else payoff.sides[side].value(deal),
    }


def _reasons(payoff: Payoff, side: int, deal: Deal | None, told: dict[str, bool]) -> dict[str, str]:
    stakes = payoff.sides[side]
    if deal is None:
        goal = "no deal: the two sides never stood on the same terms at the same time"
    else:
        terms = ", ".join(f"{name} = {option}" for name, option in deal.items())
        worth = f"worth {stakes.value(deal):g}, walking away {stakes.walk_away:g}, the best {stakes.best:g}"
        goal = f"deal on {terms}: {worth}"
    if told["guarded"]:
        goal += "; counted as 0, because it gave away what it had to keep to itself"
    reasons = {"goal": goal}
    if any(told.values()):
        which = " and ".join(
            what for name, what in (("guarded", "what it guarded"), ("secret", "its secret")) if told[name]
        )
        reasons["secret"] = f"told the other side: {which}"
    return reasons
