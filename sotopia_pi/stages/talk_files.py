"""The talks of a run on the disk: only ever added to, like people's ratings, and safe from every further start.

Several people may talk at a time. A talk that has not ended lies in a file of its own until it has.
"""

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock

from sotopia_pi.stages.played import Played
from sotopia_pi.stages.talk import Unfinished
from sotopia_pi.store.items import ItemFile, read_as, write_atomically, write_items
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import SocialTask

TASKS, EPISODES, RATINGS, COMPARISONS = "tasks.jsonl", "episodes.jsonl", "ratings.jsonl", "comparisons.jsonl"
FILES = (TASKS, EPISODES, RATINGS, COMPARISONS)
UNFINISHED = "unfinished"


class TalkFiles:
    """What lies in the folder of stage 12. Every look reads the files anew.

    Each talk's task is kept beside it, so that a talk can be read also when the run has drawn other tasks since.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def begin(self) -> None:
        """Make the files that are missing, and take away a last line that somebody's killed kernel left torn."""
        with self._writing():
            for name in FILES:
                path = self.folder / name
                text = path.read_bytes() if path.exists() else b"torn"
                if text and not text.endswith(b"\n"):
                    write_items(path, ItemFile(path).read())

    def talks(self) -> Played:
        """All talks that ended, in the order in which they were saved, with their tasks and ratings."""
        tasks = read_as(self.folder / TASKS, SocialTask.from_dict)
        episodes = read_as(self.folder / EPISODES, Episode.from_dict)
        ratings = read_as(self.folder / RATINGS, Rating.from_dict)
        return Played({task.id: task for task in tasks}, tuple(episodes), tuple(ratings))

    def save(self, episode: Episode, task: SocialTask) -> None:
        """Add a talk that ended. Raises ValueError where one with its id was saved before; nothing is written then."""
        with self._writing():
            file = ItemFile(self.folder / EPISODES)
            if episode.id in file.ids():
                raise ValueError(
                    f"talk {episode.id} was saved before, perhaps from another window, and stays as it is; start a new "
                    f"talk"
                )
            self._keep_task(task)
            file.append(episode.to_dict())
            self._unfinished_path(episode.id).unlink(missing_ok=True)

    def rate(self, ratings: Iterable[Rating]) -> None:
        """Add ratings; those that are here already, and those that no server answered, are left out."""
        with self._writing():
            file = ItemFile(self.folder / RATINGS)
            here = file.ids()
            for rating in ratings:
                if rating.id not in here and rating.outcome != "api_error":
                    file.append(rating.to_dict())

    def add_comparison(self, record: dict[str, Any], task: SocialTask) -> None:
        """Add a comparison that somebody asked to keep; one that is here already stays as it is."""
        with self._writing():
            file = ItemFile(self.folder / COMPARISONS)
            if record["id"] not in file.ids():
                self._keep_task(task)
                file.append(record)

    def comparisons(self) -> list[dict[str, Any]]:
        """All comparisons that were kept."""
        return ItemFile(self.folder / COMPARISONS).read()

    def keep(self, talk: Unfinished) -> None:
        """Write down how far a talk has come, in the place of what was written at its last turn."""
        write_atomically(self._unfinished_path(talk.id), json.dumps(talk.to_dict(), ensure_ascii=False).encode())

    def unfinished(self) -> list[Unfinished]:
        """Talks that can go on, the latest first."""
        paths = self.folder.joinpath(UNFINISHED).glob("*.json")
        found = [Unfinished.from_dict(json.loads(path.read_text(encoding="utf-8"))) for path in paths]
        saved = ItemFile(self.folder / EPISODES).ids()
        return sorted((t for t in found if t.id not in saved), key=lambda talk: -talk.beginning.started_ms)

    def next_number(self) -> int:
        """Number of the next talk, from 1."""
        taken = [episode["repeat"] for episode in ItemFile(self.folder / EPISODES).read()]
        return 1 + max([*taken, *(talk.beginning.number for talk in self.unfinished())], default=0)

    def _keep_task(self, task: SocialTask) -> None:
        file = ItemFile(self.folder / TASKS)
        if task.id not in file.ids():
            file.append(task.to_dict())

    def _unfinished_path(self, talk_id: str) -> Path:
        return self.folder / UNFINISHED / f"{talk_id}.json"

    def _writing(self) -> AbstractContextManager:
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".talks.lock")
