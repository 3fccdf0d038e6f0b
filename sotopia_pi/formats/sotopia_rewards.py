"""Sotopia's rewards as ratings and back.

A reward is a pair, the overall score and the scores of the dimensions. Where the judge failed, a bare 0.0 was stored
instead: that is no score, and here it becomes a rating without any. Nothing written here says it that way.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sotopia_pi.store.items import content_id
from sotopia_pi.world.ratings import DIMENSIONS, Rating

OVERALL = "overall_score"
UNRATED = None
"""How a log that was written here says that a side has no rating."""
CLOSE = 0.005
"""A told overall score this near to the mean of the seven is that mean, rounded."""
_SECTION = re.compile(r"^Agent ([12]) comments:[ \t]*$", re.MULTILINE)


def read_reward(reward: Any, episode_id: str, side: int, judge: str, reasoning: str = "", prompt: str = "") -> Rating:
    """The rating of one side; outcome `invalid` without scores where the reward holds none that can be taken over.

    reasons has "judge" where scores are missing, with what came. Scores of dimensions beyond the seven, and an overall
    score that is not their mean, stay in parts; everything as it came stays in raw. prompt: what the judge was asked.
    """
    scores, parts, problem = _scores(reward)
    reasons = reasons_of(reasoning, side)
    return Rating(
        id=content_id("rating", {"episode": episode_id, "side": side, "judge": judge, "reward": reward}),
        episode_id=episode_id,
        side=side,
        judge=judge,
        outcome="invalid" if problem else "ok",
        scores=scores,
        reasons=reasons | {"judge": problem} if problem else reasons,
        parts=parts,
        raw=({"reward": reward, "reasoning": reasoning, "prompt": prompt, "model": judge},),
    )


def reward_of(rating: Rating | None) -> Any:
    """A rating as a reward, None where a side has no score; what was read from a log is told as it came.

    A dimension that the rating lacks is absent. The overall score is the mean of those that are there, of all seven
    where a judge gave them and of what a rule can check otherwise.
    """
    if rating is None:
        return UNRATED
    if _is_from_log(rating) and _scores(rating.raw[0]["reward"])[0] == dict(rating.scores):
        return rating.raw[0]["reward"]
    scores = {name: rating.scores[name] for name in DIMENSIONS if rating.scores.get(name) is not None}
    if rating.outcome != "ok" or not scores:
        return UNRATED
    overall = sum(scores.values()) / len(scores)
    return [overall, {**scores, OVERALL: overall}]


def reasons_of(reasoning: str, side: int) -> dict[str, str]:
    """Reasons by dimension that the judge gave for a side; under "comment" where they are not told apart by side."""
    cut = _SECTION.split(reasoning)
    sections = dict(zip(cut[1::2], cut[2::2], strict=True))
    mine = sections.get(str(side + 1))
    if mine is None:
        return {"comment": reasoning.strip()} if reasoning.strip() else {}
    names = "|".join(DIMENSIONS)
    parts = re.split(rf"^({names}): ", mine.strip(), flags=re.MULTILINE)
    found = {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    return {**({"comment": parts[0].strip()} if parts[0].strip() else {}), **found}


def reasoning_of(ratings: Sequence[Rating | None]) -> str:
    """The reasons of both sides as one text, a section a side; the text they were read from where there is one."""
    came = {_from_log(rating, "reasoning") for rating in ratings if rating} - {None}
    if len(came) == 1:
        return came.pop()
    told = []
    for number, rating in enumerate(ratings, 1):
        lines = _reason_lines(rating.reasons) if rating else []
        if lines:
            told.append("\n".join([f"Agent {number} comments:", *lines]))
    return "\n".join(told)


def prompt_of(ratings: Sequence[Rating | None]) -> str:
    """What the judge was asked, as far as a log told it."""
    return next((prompt for rating in ratings if rating and (prompt := _from_log(rating, "prompt"))), "")


def _from_log(rating: Rating, name: str) -> Any:
    """What the log said from which a rating was read; None for ratings made here."""
    return rating.raw[0].get(name) if _is_from_log(rating) else None


def _is_from_log(rating: Rating) -> bool:
    return bool(rating.raw) and "reward" in rating.raw[0]


def _reason_lines(reasons: Mapping[str, str]) -> list[str]:
    return [f"{name}: {text}" if name in DIMENSIONS else text for name, text in reasons.items()]


def _scores(reward: Any) -> tuple[dict[str, float | None], dict[str, Any], str]:
    """Scores by dimension (None: missing), parts, and "" or why there are no scores."""
    missing: dict[str, float | None] = dict.fromkeys(DIMENSIONS)
    if _is_number(reward):
        failed = "the bare 0.0 of a judge that failed" if reward == 0 else f"only an overall score, {reward}"
        return missing, {} if reward == 0 else {OVERALL: reward}, f"{failed}; no dimension was scored"
    if not (isinstance(reward, Sequence) and len(reward) == 2 and isinstance(reward[1], Mapping)):
        return missing, {}, f"{str(reward)[:80]!r} came, which is not [overall, scores by dimension]"
    overall, told = reward
    scores = {name: told[name] for name in DIMENSIONS if name in told}
    others = {name: score for name, score in told.items() if name not in DIMENSIONS and name != OVERALL}
    parts = {"other_dimensions": others} if others else {}
    wrong = [f"{name} {score!r}" for name, score in scores.items() if not _in_range(name, score)]
    if wrong or not scores:
        allowed = ", ".join(f"{name} {low} to {high}" for name, (low, high) in DIMENSIONS.items())
        return missing, parts, f"{', '.join(wrong) or 'no dimension'} came; allowed: {allowed}"
    mean = sum(scores.values()) / len(scores)
    if len(scores) < len(DIMENSIONS) or not _is_number(overall) or abs(overall - mean) > CLOSE:
        parts[OVERALL] = overall
    return missing | scores, parts, ""


def _in_range(name: str, score: Any) -> bool:
    low, high = DIMENSIONS[name]
    return _is_number(score) and low <= score <= high


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def sides_of(ratings: Iterable[Rating], episode_id: str) -> tuple[Rating | None, Rating | None]:
    """The ratings of side 0 and side 1 of an episode. Raises ValueError where several judges rated it."""
    mine = [rating for rating in ratings if rating.episode_id == episode_id]
    judges = sorted({rating.judge for rating in mine})
    if len(judges) > 1 or len({rating.side for rating in mine}) < len(mine):
        raise ValueError(
            f"episode {episode_id} has {len(mine)} ratings of {', '.join(judges)}; a log holds one a side of one "
            f"judge: pass the ratings of one of them"
        )
    by_side = {rating.side: rating for rating in mine}
    return by_side.get(0), by_side.get(1)
