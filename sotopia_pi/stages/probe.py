"""A probe: does a variant's own play hold anything worth learning from, before all of it is paid for?"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating


@dataclass(frozen=True)
class Verdict:
    """What the probe of one variant showed. good: sides at or above min_goal; needed: how many it takes to go on."""

    variant: str
    n_episodes: int
    n_failed: int
    n_rated_sides: int
    good: int
    needed: int
    min_goal: float

    @property
    def passed(self) -> bool:
        return self.good >= self.needed

    def __str__(self) -> str:
        verb = "goes on" if self.passed else "stops here: its own play holds too little worth keeping"
        return (
            f"{self.variant} {verb}: {self.good} of {self.n_rated_sides} rated sides reached goal {self.min_goal:g} "
            f"({self.needed} needed; {self.n_episodes} episodes, {self.n_failed} failed)"
        )

    def to_dict(self) -> dict[str, Any]:
        return {"schema": "probe/1", "id": self.variant, "passed": self.passed, "said": str(self), **vars(self)}


@dataclass(frozen=True)
class Probe:
    """needed: sides that must reach min_goal (in [0, 10]) in the probe's episodes."""

    needed: int
    min_goal: float

    def judge(self, variant: str, episodes: Iterable[Episode], ratings: Iterable[Rating]) -> Verdict:
        """Look at the episodes tagged with this variant and at the ratings of its own sides in them.

        Unrated sides never count as good, and what a partner reached is not the variant's.
        """
        ours = {e.id: e for e in episodes if e.tag == variant}
        own = [r for r in ratings if r.episode_id in ours and ours[r.episode_id].agent_side in (None, r.side)]
        goals = [r.scores["goal"] for r in own if r.scores["goal"] is not None]
        return Verdict(
            variant=variant,
            n_episodes=len(ours),
            n_failed=sum(e.outcome != "completed" for e in ours.values()),
            n_rated_sides=len(goals),
            good=sum(goal >= self.min_goal for goal in goals),
            needed=self.needed,
            min_goal=self.min_goal,
        )
