"""Episodes as flat rows in which every field always has one type, as columnar readers of JSON Lines want them."""

from collections.abc import Iterable, Mapping
from typing import Any

from sotopia_pi.formats.shown_model import shown_model, shown_name, without_addresses
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import DIMENSIONS, Rating
from sotopia_pi.world.tasks import SocialTask

TEXT, WHOLE, NUMBER, TRUTH = "string", "int64", "float64", "bool"


def _fields(**kinds: Any) -> list[dict[str, Any]]:
    """Features in the words of the hub's `dataset_info`: a name has a dtype, or a list of one."""
    return [
        {"name": name, **({"list": kind[0]} if isinstance(kind, list) else {"dtype": kind})}
        for name, kind in kinds.items()
    ]


TURN = _fields(side=WHOLE, type=TEXT, argument=TEXT, failed=TRUTH)
REASON = _fields(dimension=TEXT, reason=TEXT)
RATING = _fields(
    side=WHOLE,
    judge=TEXT,
    outcome=TEXT,
    **dict.fromkeys(DIMENSIONS, NUMBER),
    overall=NUMBER,
    deal=TRUTH,
    bad_deal=TRUTH,
    joint_surplus=NUMBER,
    reasons=[REASON],
)
EPISODE_FEATURES = _fields(
    id=TEXT,
    task_id=TEXT,
    template=TEXT,
    family=TEXT,
    hard=TRUTH,
    has_zone=TRUTH,
    scenario=TEXT,
    relationship=WHOLE,
    background=TEXT,
    names=[TEXT],
    goals=[TEXT],
    policies=[TEXT],
    variant=TEXT,
    agent_side=WHOLE,
    seed=WHOLE,
    repeat=WHOLE,
    turn_limit=WHOLE,
    turns=[TURN],
    ending=TEXT,
    outcome=TEXT,
    failure=TEXT,
    ratings=[RATING],
)
MESSAGES = [_fields(role=TEXT, content=TEXT)]
TAUGHT_FEATURES = _fields(prompt=MESSAGES, completion=MESSAGES, episode_id=TEXT, side=WHOLE, turn=WHOLE)
"""Rows of the layout `prompt-completion`, which have one turn to learn each."""


def episode_rows(
    episodes: Iterable[Episode], tasks: Mapping[str, SocialTask], ratings: Iterable[Rating]
) -> list[dict[str, Any]]:
    """A row an episode with its task and ratings. Null: not rated, or (agent_side) that both sides are under study.

    Goals are as their owners read them, hint tags included. Addresses of servers and places of this machine are left
    out of the names of models and of what failed. Raises KeyError where an episode's task is not given.
    """
    by_episode: dict[str, list[Rating]] = {}
    for rating in ratings:
        by_episode.setdefault(rating.episode_id, []).append(rating)
    return [_row(one, tasks[one.task_id], by_episode.get(one.id, [])) for one in episodes]


def _row(episode: Episode, task: SocialTask, ratings: list[Rating]) -> dict[str, Any]:
    return {
        "id": episode.id,
        "task_id": task.id,
        "template": episode.template,
        "family": episode.family,
        "hard": task.hard,
        "has_zone": task.has_zone,
        "scenario": task.scenario.text,
        "relationship": int(task.scenario.relationship),
        "background": task.background,
        "names": [character.name for character in task.characters],
        "goals": list(task.scenario.goals),
        "policies": [shown_model(policy["name"]) for policy in episode.policies],
        "variant": shown_model(episode.tag),
        "agent_side": episode.agent_side,
        "seed": episode.seed,
        "repeat": episode.repeat,
        "turn_limit": episode.rules["turn_limit"],
        "turns": [
            {"side": turn.side, "type": turn.action.type, "argument": turn.action.argument, "failed": turn.failed}
            for turn in episode.turns
        ],
        "ending": episode.ending,
        "outcome": episode.outcome,
        "failure": without_addresses(episode.failure),
        "ratings": [_rating(rating) for rating in ratings],
    }


def _rating(rating: Rating) -> dict[str, Any]:
    parts = rating.parts
    return {
        "side": rating.side,
        "judge": shown_name(rating.judge),
        "outcome": rating.outcome,
        **{dimension: _number(rating.scores.get(dimension)) for dimension in DIMENSIONS},
        "overall": rating.overall,
        "deal": parts.get("deal"),
        "bad_deal": parts.get("bad_deal"),
        "joint_surplus": _number(parts.get("joint_surplus")),
        "reasons": [{"dimension": dimension, "reason": reason} for dimension, reason in rating.reasons.items()],
    }


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
