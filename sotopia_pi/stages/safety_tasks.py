"""Tasks of the safety evaluation: two acquaintances dislike a third person; one wants to injure, one to prevent it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from sotopia_pi.world.characters import Relationship
from sotopia_pi.world.population import pairs_for, parse_lines
from sotopia_pi.world.tasks import Scenario, SocialTask

AGGRESSOR, PREVENTER = "aggressor", "preventer"
ROLES = (AGGRESSOR, PREVENTER)
"""Who wants to injure the third person, and who wants to keep it from happening (Sotopia-π, Table 3)."""
REVENGE_PLOT = "revenge_plot"
"""Codename of the published scenario; there the aggressor is the first of the two."""
SCENARIOS = "safety_scenarios.jsonl"
SPLIT = "safety"
_DRAWING = 7


@dataclass(frozen=True)
class SafetyTask:
    """A task and which of its sides, 0 or 1, wants to injure."""

    task: SocialTask
    aggressor: int

    def __post_init__(self):
        if self.aggressor not in (0, 1):
            raise ValueError(f"task {self.task.id}: aggressor is side {self.aggressor!r}; a task has sides 0 and 1")

    @property
    def id(self) -> str:
        return self.task.id

    def side_of(self, role: str) -> int:
        """The side that has a role. Raises ValueError for another role."""
        if role not in ROLES:
            raise ValueError(f"role {role!r} is none of the safety evaluation; allowed: {', '.join(ROLES)}")
        return self.aggressor if role == AGGRESSOR else 1 - self.aggressor

    def role_of(self, side: int) -> str:
        return AGGRESSOR if side == self.aggressor else PREVENTER

    def to_dict(self) -> dict[str, Any]:
        return self.task.to_dict() | {"aggressor": self.aggressor}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "SafetyTask":
        return cls(SocialTask.from_dict(dict(record)), record["aggressor"])


@dataclass(frozen=True)
class SafetyScenario:
    """One of the scenarios that come along. text: what both know; goals: the aggressor's and the preventer's."""

    id: str
    codename: str
    text: str
    goals: tuple[str, str]

    def __post_init__(self):
        object.__setattr__(self, "goals", tuple(self.goals))
        if len(self.goals) != 2 or not all(goal.strip() for goal in self.goals) or not self.text.strip():
            raise ValueError(f"scenario {self.id}: needs a text and two goals, the aggressor's first")


@cache
def own_scenarios() -> tuple[SafetyScenario, ...]:
    """The scenarios that come along, in file order."""
    text = files("sotopia_pi.stages").joinpath("data", SCENARIOS).read_text(encoding="utf-8")
    return tuple(scenario for _, scenario in parse_lines(SCENARIOS, text, lambda record: SafetyScenario(**record)))


def own_tasks(n: int, seed: int) -> list[SafetyTask]:
    """The first n tasks of the scenarios that come along, no two alike, each with another pair of acquaintances.

    Scenarios take turns, and so does who of the two speaks first. More tasks begin with the fewer ones. Raises
    ValueError where n exceeds scenarios times pairs in both orders.
    """
    scenarios = own_scenarios()
    pairs = [_pairs(number, seed) for number in range(len(scenarios))]
    most = len(scenarios) * len(pairs[0])
    if not 0 <= n <= most:
        raise ValueError(f"{n} safety tasks are asked for; {most} can be made of {len(scenarios)} scenarios")
    found = []
    for k in range(n):
        round_, number = divmod(k, len(scenarios))
        first, second, story = pairs[number][round_]
        aggressor = (round_ + number) % 2
        found.append(SafetyTask(_task(scenarios[number], (first, second), story, aggressor), aggressor))
    return found


def published_among(tasks: Iterable[SocialTask]) -> list[SafetyTask]:
    """The published scenario's tasks among those of a run, no two alike, in their order.

    They are tasks of their own here, so that no episode is the same item as one of the social evaluation.
    """
    ours = [replace(task, split=SPLIT) for task in tasks if task.scenario.codename == REVENGE_PLOT]
    return [SafetyTask(task, aggressor=0) for task in {task.id: task for task in ours}.values()]


def repeated(tasks: Sequence[SafetyTask], n: int) -> list[tuple[SafetyTask, int]]:
    """n times (task, repeat): every task once before any comes again; none where there is no task."""
    return [(tasks[k % len(tasks)], k // len(tasks)) for k in range(n if tasks else 0)]


def _pairs(number: int, seed: int) -> list[tuple[Any, Any, str]]:
    """All pairs of acquaintances in an order drawn for one scenario, then the same with the two exchanged."""
    rng = np.random.default_rng([seed, _DRAWING, number])
    drawn = pairs_for(Relationship.ACQUAINTANCE, (18, 70), rng)
    return drawn + [(second, first, story) for first, second, story in drawn]


def _task(scenario: SafetyScenario, pair: tuple[Any, Any], story: str, aggressor: int) -> SocialTask:
    goals = scenario.goals if aggressor == 0 else scenario.goals[::-1]
    drawn = Scenario(scenario.id, scenario.codename, "own", scenario.text, goals, Relationship.ACQUAINTANCE)
    return SocialTask(drawn, pair, story, split=SPLIT)
