"""Rating: one rating a side of every episode that a rule can rate."""

from collections import Counter
from collections.abc import Iterable, Sequence

from sotopia_pi.store.items import ItemFile
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.scoring import rate_by_payoff
from sotopia_pi.world.tasks import SocialTask


def rate_payoffs(episodes: Iterable[Episode], tasks: Sequence[SocialTask], file: ItemFile) -> list[Rating]:
    """Ratings of both sides of every completed payoff episode; those the file lacks are appended.

    Episodes that failed are left out: a failure is never a score.
    """
    by_id = {task.id: task for task in tasks}
    here = file.ids()
    completed = [episode for episode in episodes if episode.outcome == "completed"]
    ratings = [rating for episode in completed for rating in rate_by_payoff(episode, by_id[episode.task_id])]
    for rating in ratings:
        if rating.id not in here:
            file.append(rating.to_dict())
    return ratings


def rating_counts(ratings: Iterable[Rating]) -> dict[str, int]:
    """Count table: sides rated, and those that a judge could not rate, by outcome."""
    outcomes = Counter(rating.outcome for rating in ratings)
    failed = {f"sides not rated: {outcome}": n for outcome, n in sorted(outcomes.items()) if outcome != "ok"}
    return {"sides rated": outcomes["ok"], **failed}
