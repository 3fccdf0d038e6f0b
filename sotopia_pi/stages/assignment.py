"""Which evaluation episodes people rate, who rates them, and in which order each person meets them.

The same tasks and speaking orders are drawn for every variant, so that variants can be compared in pairs, and they are
drawn before anybody looks at how an episode ended: a failed episode is counted, never replaced by a better one.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sotopia_pi.store.items import content_id
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.tasks import SocialTask

LONGEST_NAME = 60


@dataclass(frozen=True)
class Sample:
    """What is drawn. datapoints: episodes of each variant; the paper's are 28, 14 hard tasks in both speaking orders
    (Sotopia-π, Table 5). hard_only: hard tasks alone. raters: people a datapoint; the paper's are 2."""

    variants: tuple[str, ...]
    datapoints: int
    hard_only: bool = False
    raters: int = 2
    seed: int = 0

    def __post_init__(self):
        if self.datapoints < 1 or self.raters < 1:
            raise ValueError(f"datapoints = {self.datapoints}, raters = {self.raters}; both must be at least 1")


@dataclass(frozen=True)
class Datapoint:
    """One episode to be rated. annotators: who rates it; empty where whoever comes may, up to `raters` people."""

    episode_id: str
    task_id: str
    template: str
    variant: str
    agent_side: int
    raters: int
    annotators: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"schema": "datapoint/1", "id": self.episode_id, **vars(self), "annotators": list(self.annotators)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Datapoint":
        body = {key: value for key, value in record.items() if key not in ("schema", "id")}
        return cls(**{**body, "annotators": tuple(body["annotators"])})


@dataclass(frozen=True)
class Plan:
    """The datapoints of a run. left_out: why a wanted one is not among them -> how many."""

    datapoints: tuple[Datapoint, ...]
    annotators: tuple[str, ...]
    seed: int
    left_out: Mapping[str, int]

    @property
    def episode_ids(self) -> frozenset[str]:
        return frozenset(point.episode_id for point in self.datapoints)

    def order(self, annotator: str) -> list[Datapoint]:
        """All datapoints this person may be asked for, shuffled by the seed and the name.

        Raises ValueError for a name that the plan does not know, where it names its annotators.
        """
        if self.annotators and annotator not in self.annotators:
            raise ValueError(
                f"annotator {annotator!r} is not in this plan; its annotators are {', '.join(self.annotators)}. "
                f"Enter one of these names, or add this one to the parameter `annotators`."
            )
        mine = [point for point in self.datapoints if not point.annotators or annotator in point.annotators]
        name = int(content_id("annotator", annotator).rpartition("-")[2], 16)
        return [mine[i] for i in np.random.default_rng([self.seed, name]).permutation(len(mine))]

    def counts(self) -> dict[str, int]:
        """What goes into the table of counts."""
        left = {f"left out: {reason}": n for reason, n in self.left_out.items()}
        return {"datapoints": len(self.datapoints), **left}


def annotator_name(text: str) -> str:
    """A name as it is kept: one line, no spaces around it. Raises ValueError for an empty or an endless one."""
    name = " ".join(text.split())
    if not name or len(name) > LONGEST_NAME:
        raise ValueError(f"annotator {text[:80]!r}: a name has 1 to {LONGEST_NAME} characters. Enter your name.")
    return name


def plan_ratings(
    episodes: Iterable[Episode], tasks: Iterable[SocialTask], sample: Sample, annotators: Sequence[str] = ()
) -> Plan:
    """Draw the datapoints and share them out. annotators: their names; none: whoever comes.

    With names every datapoint gets `raters` of them, and all get equally many, give or take one. Raises ValueError
    where there are fewer names than raters a datapoint.
    """
    names = tuple(dict.fromkeys(annotator_name(name) for name in annotators))
    if names and len(names) < sample.raters:
        raise ValueError(
            f"annotators: {len(names)} names ({', '.join(names)}) for {sample.raters} raters a datapoint; "
            f"name at least {sample.raters}, or none, so that whoever comes may rate"
        )
    played: dict[str, dict[tuple[str, int, int], Episode]] = defaultdict(dict)
    for episode in episodes:
        if episode.tag in sample.variants and episode.agent_side is not None:
            played[episode.tag][(episode.task_id, episode.repeat, episode.agent_side)] = episode
    cells = _cells(played, [task for task in tasks if task.hard or not sample.hard_only], sample)
    left_out: Counter[str] = Counter()
    points = [
        point
        for cell in cells
        for variant in sample.variants
        if (point := _datapoint(variant, played[variant].get(cell), sample, left_out))
    ]
    for variant in sample.variants:
        short = sample.datapoints - len(cells)
        left_out[f"{variant}: not played" if not played[variant] else f"{variant}: no further task"] += short
    gone = {reason: n for reason, n in sorted(left_out.items()) if n}
    return Plan(tuple(_shared_out(points, names, sample)), names, sample.seed, gone)


def _cells(
    played: Mapping[str, Mapping[tuple[str, int, int], Episode]], tasks: Sequence[SocialTask], sample: Sample
) -> list[tuple[str, int, int]]:
    """(task, repeat, agent side) of the datapoints of every variant: task after task, both speaking orders of each."""
    known = {cell for cells in played.values() for cell in cells}
    by_task: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for cell in sorted(known):
        by_task[cell[0]].append(cell)
    drawn = [cell for task in _drawn_tasks(tasks, sample.seed) for cell in by_task[task.id]]
    return drawn[: sample.datapoints]


def _drawn_tasks(tasks: Sequence[SocialTask], seed: int) -> list[SocialTask]:
    """Tasks in random order, one of every scenario template before the second of any."""
    rng = np.random.default_rng([seed, len(tasks)])
    by_template: dict[str, list[SocialTask]] = defaultdict(list)
    for task in sorted(tasks, key=lambda task: task.id):
        by_template[task.template].append(task)
    rows = [[group[i] for i in rng.permutation(len(group))] for _, group in sorted(by_template.items())]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    deepest = max((len(row) for row in rows), default=0)
    return [row[depth] for depth in range(deepest) for row in rows if depth < len(row)]


def _datapoint(variant: str, episode: Episode | None, sample: Sample, left_out: Counter[str]) -> Datapoint | None:
    if episode is None or episode.outcome != "completed":
        left_out[f"{variant}: {episode.outcome if episode else 'not played'}"] += 1
        return None
    place = (episode.id, episode.task_id, episode.template, variant, episode.agent_side)
    return Datapoint(*place, raters=sample.raters)


def _shared_out(points: Sequence[Datapoint], names: Sequence[str], sample: Sample) -> list[Datapoint]:
    """Every datapoint with its annotators: those who have fewest so far, ties by a seeded draw."""
    if not names:
        return list(points)
    rng = np.random.default_rng([sample.seed, len(points), len(names)])
    load = dict.fromkeys(names, 0)
    shared = []
    for point in points:
        draw = dict(zip(names, rng.random(len(names)), strict=True))
        chosen = sorted(names, key=lambda name: (load[name], draw[name]))[: sample.raters]
        for name in chosen:
            load[name] += 1
        shared.append(replace(point, annotators=tuple(sorted(chosen))))
    return shared
