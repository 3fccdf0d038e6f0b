"""Several annotators' ratings of a side as one: the mean of their scores."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from sotopia_pi.store.items import content_id
from sotopia_pi.world.ratings import DIMENSIONS, Rating

PEOPLE = "people"
"""The rater that averaged human ratings stand under."""


def averaged(ratings: Iterable[Rating]) -> list[Rating]:
    """One rating a side, by the judge PEOPLE, from those with outcome "ok", in the order in which sides first occur.

    A dimension's score is the mean over the annotators who gave it, missing where none did. Annotators weigh alike.
    """
    sides: dict[tuple[str, int], list[Rating]] = {}
    for rating in ratings:
        if rating.outcome == "ok":
            sides.setdefault((rating.episode_id, rating.side), []).append(rating)
    return [_mean_rating(episode_id, side, given) for (episode_id, side), given in sides.items()]


def _mean_rating(episode_id: str, side: int, given: Sequence[Rating]) -> Rating:
    scores = {dimension: _mean(rating.scores.get(dimension) for rating in given) for dimension in DIMENSIONS}
    identity = content_id("rating", {"people": sorted(rating.id for rating in given)})
    return Rating(identity, episode_id, side, PEOPLE, "ok", scores)


def _mean(scores: Iterable[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return fmean(known) if known else None
