"""One person's sitting: what to rate next, from wherever the person stopped, and saving it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sotopia_pi.stages.assignment import Datapoint, Plan, annotator_name
from sotopia_pi.stages.human_ratings import Entry, HumanRatings, Judgement
from sotopia_pi.stages.qualification import Qualification


@dataclass(frozen=True)
class Progress:
    """How far a person is. left: datapoints that are still to be rated; qualified: passed the first item."""

    done: int
    left: int
    qualified: bool


class RatingSession:
    """The items of one annotator in the order of the plan; every answer is on the disk before the next is shown.

    Raises ValueError for a name that the plan refuses.
    """

    def __init__(self, annotator: str, plan: Plan, ratings: HumanRatings, first: Qualification):
        self.annotator = annotator_name(annotator)
        self.order = plan.order(self.annotator)
        self._ratings, self._first = ratings, first

    def next_id(self) -> str | None:
        """Episode to rate now: the qualification item until it is passed, then the first open one; None at the end."""
        if not self.progress().qualified:
            return self._first.episode.id
        return next((point.episode_id for point in self._open()), None)

    def progress(self) -> Progress:
        mine = self._mine()
        done = sum(point.episode_id in mine for point in self.order)
        return Progress(done, len(self._open()), is_qualified(self.annotator, self._ratings, self._first))

    def save(self, episode_id: str, sides: Sequence[Judgement], seconds: float) -> list[str]:
        """Save both sides of an episode; returns what to read again where it was the qualification item."""
        times = {"seconds": round(seconds, 1), "saved_at": datetime.now(UTC).isoformat(timespec="seconds")}
        first, second = (
            Entry(self.annotator, episode_id, side, judgement, times=times) for side, judgement in enumerate(sides)
        )
        self._ratings.save(first, second)
        return self._first.missed(sides) if episode_id == self._first.episode.id else []

    def _open(self) -> list[Datapoint]:
        """What is left for this person: not rated by them, and, where whoever comes may rate, not by enough others."""
        raters = Counter(episode_id for _, episode_id in self._ratings.counting())
        mine = self._mine()
        return [
            point
            for point in self.order
            if point.episode_id not in mine and (point.annotators or raters[point.episode_id] < point.raters)
        ]

    def _mine(self) -> set[str]:
        return {episode_id for name, episode_id in self._ratings.counting() if name == self.annotator}


def is_qualified(annotator: str, ratings: HumanRatings, first: Qualification) -> bool:
    """Whether the last answer of this person to the qualification item is as expected."""
    answer = ratings.counting().get((annotator, first.episode.id))
    return answer is not None and not first.missed([Entry.of(rating).judgement for rating in answer])
