"""What earlier stages left: tasks, episodes and ratings, read back as objects."""

from collections.abc import Iterable
from dataclasses import dataclass

from sotopia_pi.store.stage import MissingInput, Stage
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import SocialTask


@dataclass(frozen=True)
class Played:
    """Episodes with the ratings of both sides and the tasks they were played on."""

    tasks: dict[str, SocialTask]
    episodes: tuple[Episode, ...]
    ratings: tuple[Rating, ...]

    def of(self, tag: str) -> "Played":
        """The same for the episodes with one tag."""
        episodes = tuple(e for e in self.episodes if e.tag == tag)
        ids = {e.id for e in episodes}
        return Played(self.tasks, episodes, tuple(r for r in self.ratings if r.episode_id in ids))


def read_tasks(stage: Stage, split: str) -> list[SocialTask]:
    """Tasks of one split ("bc", "sr" or "eval") as stage 01 drew them."""
    return [SocialTask.from_dict(t) for t in stage.input("01_social_tasks", "tasks.jsonl") if t["split"] == split]


def tasks_or_why_not(stage: Stage, split: str) -> tuple[list[SocialTask], str]:
    """The same, or none and what to do about it, where stage 01 of this run is not made yet."""
    try:
        return read_tasks(stage, split), ""
    except MissingInput as error:
        return [], str(error)


def read_played(stage: Stage, source: str, tasks: Iterable[SocialTask]) -> Played:
    """Episodes and ratings that stage `source` wrote, restricted to these tasks."""
    by_id = {task.id: task for task in tasks}
    episodes = tuple(Episode.from_dict(e) for e in stage.input(source, "episodes.jsonl") if e["task_id"] in by_id)
    ids = {e.id for e in episodes}
    ratings = tuple(Rating.from_dict(r) for r in stage.input(source, "ratings.jsonl") if r["episode_id"] in ids)
    return Played(by_id, episodes, ratings)
