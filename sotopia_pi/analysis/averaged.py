"""Several annotators' ratings of a side as one: the mean of their scores."""

from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from sotopia_pi.world.ratings import DIMENSIONS

PEOPLE = "people"
"""The rater that averaged human ratings stand under."""


def averaged(ratings: Iterable[Mapping[str, Any]], judge: str = PEOPLE) -> list[dict[str, Any]]:
    """One rating a side from those with outcome "ok", in the order in which sides first occur.

    A dimension's score is the mean over the annotators who gave it, missing where none did; overall is the mean of the
    seven, missing when any of them is. Annotators weigh alike.
    """
    sides: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for rating in ratings:
        if rating["outcome"] == "ok":
            sides.setdefault((rating["episode_id"], rating["side"]), []).append(rating)
    return [_mean_rating(episode_id, side, given, judge) for (episode_id, side), given in sides.items()]


def _mean_rating(episode_id: str, side: int, given: list[Mapping[str, Any]], judge: str) -> dict[str, Any]:
    scores = {dimension: _mean(rating["scores"].get(dimension) for rating in given) for dimension in DIMENSIONS}
    whole = all(score is not None for score in scores.values())
    return {
        "id": f"{judge}-{episode_id}-{side}",
        "episode_id": episode_id,
        "side": side,
        "judge": judge,
        "outcome": "ok",
        "scores": scores,
        "overall": fmean(scores.values()) if whole else None,
        "parts": {},
        "n_annotators": len(given),
    }


def _mean(scores: Iterable[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return fmean(known) if known else None
