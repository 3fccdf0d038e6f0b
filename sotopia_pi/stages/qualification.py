"""The item that everybody rates first: a written episode whose scores leave a careful reader little choice."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sotopia_pi.stages.human_ratings import Judgement
from sotopia_pi.store.items import content_id
from sotopia_pi.world.episode import Episode, Rules
from sotopia_pi.world.tasks import SocialTask

DATA = Path(__file__).with_name("data") / "qualification.json"
WRITTEN = {"name": "written", "digest": "written"}


@dataclass(frozen=True)
class Expected:
    """Where a score of the qualification item has to lie, both ends included, and what in the episode says so."""

    side: int
    dimension: str
    low: int
    high: int
    why: str


@dataclass(frozen=True)
class Qualification:
    """The task, the episode and what is expected of its ratings."""

    task: SocialTask
    episode: Episode
    expected: tuple[Expected, ...]

    def missed(self, sides: Sequence[Judgement]) -> list[str]:
        """One sentence for every score outside what is expected; none where the person is qualified.

        It says what to read again and never which number would do.
        """
        return [
            f"{self.task.characters[one.side].name}, {one.dimension.replace('_', ' ')}: {one.why} "
            f"You gave {sides[one.side].scores[one.dimension]}."
            for one in self.expected
            if not one.low <= sides[one.side].scores[one.dimension] <= one.high
        ]


@cache
def qualification() -> Qualification:
    """The item that comes with the package; another text gets another episode id."""
    record = json.loads(DATA.read_text(encoding="utf-8"))
    task = SocialTask.from_dict(record["task"])
    episode = Episode.from_dict(
        {
            "id": content_id("qualification", record),
            "task_id": task.id,
            "template": task.template,
            "family": task.family,
            "policies": [WRITTEN, WRITTEN],
            "agent_side": None,
            "rules": Rules().to_dict(),
            "seed": 0,
            "repeat": 0,
            "turns": record["turns"],
            "ending": record["ending"],
            "outcome": "completed",
        }
    )
    return Qualification(task, episode, tuple(Expected(**one) for one in record["expected"]))
