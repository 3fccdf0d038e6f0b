"""Selection: which sides of which episodes are worth learning from.

A recipe ranks rated sides inside their group (the task, unless said otherwise) and keeps the best. All recipes see
the same pool: sides under study, of completed episodes, rated, without failed turns, without a leaked secret. The
goal's lower bound `min_goal` comes last, so that the best of nothing is not cloned and means stay means of all.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal, get_args

import numpy as np

from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import SocialTask

Recipe = Literal["paper-bc", "paper-sr", "code", "top-k", "top-share", "threshold"]
GroupBy = Literal["task_id", "template", "family", "stratum", "all"]
Unit = Literal["side", "conversation"]

PAPER_TOP = 2
PAPER_LAST_RANK = 10
"""Sotopia-π, appendix on data filtering: top 2 per side, ranks 3 to 10 conditionally."""


@dataclass(frozen=True)
class KeptSide:
    """One side of one episode that was selected.

    rank: 1 = best of its group and side (of its group where conversations are ranked); goal in [0, 10].
    """

    episode_id: str
    side: int
    rank: int
    goal: float
    reason: str
    group: str = ""
    family: str = ""
    tag: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "selection/1",
            "id": f"{self.episode_id}-side{self.side}",
            **asdict(self),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "KeptSide":
        return cls(**{k: v for k, v in record.items() if k not in ("schema", "id")})


@dataclass(frozen=True)
class Selection:
    """What was kept, and how many sides each filter left.

    counts: step -> number of sides that passed it and all before it, in order. rows: the same, tidy, with columns
    `by` ("all", "family", "group", "model" (who spoke), "tag", "task"), `value`, `step` and `n_sides`.
    """

    recipe: Recipe
    kept: tuple[KeptSide, ...]
    counts: dict[str, int]
    rows: tuple[dict[str, Any], ...]

    @property
    def sides(self) -> set[tuple[str, int]]:
        """(episode id, side) of everything kept."""
        return {(k.episode_id, k.side) for k in self.kept}

    def to_items(self) -> list[dict[str, Any]]:
        """One object per kept side, for `selection.jsonl`."""
        return [k.to_dict() for k in self.kept]


@dataclass(frozen=True)
class _Candidate:
    """A side of an episode in the pool, with all that ranking looks at."""

    episode: Episode
    side: int
    rating: Rating | None
    group: str
    draw: float

    @property
    def goal(self) -> float | None:
        return self.rating.scores.get("goal") if self.rating else None

    @property
    def order(self) -> tuple[float, float, float]:
        """Sort key, best first: goal, then overall (missing after present), then the seeded draw."""
        overall = self.rating.overall
        return (
            -self.goal,
            -overall if overall is not None else float("inf"),
            self.draw,
        )


def select(
    episodes: Iterable[Episode],
    ratings: Iterable[Rating],
    recipe: Recipe,
    min_goal: float = 0.0,
    seed: int = 0,
    *,
    group_by: GroupBy = "task_id",
    tasks: Mapping[str, SocialTask] | None = None,
    unit: Unit = "side",
    k: int = 2,
    share: float = 0.2,
    threshold: float = 5.0,
    only_completed: bool = True,
    keep_failed_turns: bool = False,
    keep_leaks: bool = False,
) -> Selection:
    """Sides worth learning from, by one of the recipes.

    recipe: `paper-bc` (per group and side the top 2; at ranks 3 to 10 both sides' data iff both are at or above the
    smaller of their side's mean in the group and overall), `paper-sr` (top 20 % per group), `code` (the best one per
    group and side), `top-k` (the best `k`), `top-share` (the best `share`), `threshold` (goal at least `threshold`).
    min_goal: in [0, 10]; 0 bounds nothing. group_by: what sides are ranked within; `stratum` is the family, hard and
    ordinary tasks apart, and needs `tasks` (by id): ranked together, hard tasks would hardly be kept at all.
    unit: what `paper-sr` and `top-share` rank, sides or whole conversations (by the mean goal of both sides; then both
    are kept). share: in (0, 1], rounded down but at least one.
    A side without a goal score is never selected. Ties go by overall where it exists, else by a draw from `seed`.
    Raises ValueError for an unknown recipe, grouping or unit, a bound out of range, two ratings of one side, or a
    `stratum` without the episode's task.
    """
    _check(recipe, group_by, unit, min_goal, k, share)
    by_side = _one_rating_a_side(ratings)
    everything = [
        _Candidate(
            episode,
            side,
            by_side.get((episode.id, side)),
            _group(episode, group_by, tasks or {}),
            _draw(seed, episode, side),
        )
        for episode in episodes
        for side in (0, 1)
    ]
    steps: dict[str, list[_Candidate]] = {"in": everything}
    filters = _filters(only_completed, keep_failed_turns, keep_leaks)
    pool = everything
    for step, passes in filters.items():
        pool = steps[step] = [c for c in pool if passes(c)]
    ranked = _choose(pool, recipe, unit, k, share, threshold)
    good = steps["goal at or above min_goal"] = [c for c in pool if c.goal >= min_goal]
    steps["kept by the recipe"] = [c for c in good if (c.episode.id, c.side) in ranked]
    kept = tuple(_kept(c, *ranked[c.episode.id, c.side]) for c in steps["kept by the recipe"])
    return Selection(
        recipe,
        kept,
        {step: len(found) for step, found in steps.items()},
        tuple(_rows(steps)),
    )


def _filters(
    only_completed: bool, keep_failed_turns: bool, keep_leaks: bool
) -> dict[str, Callable[[_Candidate], bool]]:
    """What a side must pass before any recipe sees it, in order."""
    return {
        "side under study": lambda c: c.episode.agent_side in (None, c.side),
        "episode completed": lambda c: not only_completed or c.episode.outcome == "completed",
        "rated": lambda c: c.goal is not None,
        "no failed turn": lambda c: (
            keep_failed_turns or not any(t.failed and t.side == c.side for t in c.episode.turns)
        ),
        "no leaked secret": lambda c: keep_leaks or not c.rating.parts.get("leaked", False),
    }


Ranked = dict[tuple[str, int], tuple[int, str]]
"""(episode id, side) -> (rank, reason) of what a recipe would keep."""


def _choose(pool: list[_Candidate], recipe: Recipe, unit: Unit, k: int, share: float, threshold: float) -> Ranked:
    match recipe:
        case "paper-bc":
            return _paper_bc(pool)
        case "paper-sr":
            return _top_share(pool, 0.2, unit)
        case "code":
            return _top(pool, lambda n: 1)
        case "top-k":
            return _top(pool, lambda n: k)
        case "top-share":
            return _top_share(pool, share, unit)
        case "threshold":
            everyone = _top(pool, lambda n: n)
            good = {(c.episode.id, c.side) for c in pool if c.goal >= threshold}
            return {key: (rank, f"goal at least {threshold:g}") for key, (rank, _) in everyone.items() if key in good}


def _top(pool: Sequence[_Candidate], how_many: Callable[[int], int]) -> Ranked:
    """The best of each group and side."""
    chosen: Ranked = {}
    for candidates in _ranked_groups(pool).values():
        for rank, c in enumerate(candidates[: how_many(len(candidates))], 1):
            chosen[c.episode.id, c.side] = (rank, f"top {how_many(len(candidates))} of {len(candidates)}")
    return chosen


def _top_share(pool: Sequence[_Candidate], share: float, unit: Unit) -> Ranked:
    def how_many(n: int) -> int:
        return max(1, int(share * n + 1e-9))

    return _top(pool, how_many) if unit == "side" else _top_conversations(pool, how_many)


def _top_conversations(pool: Sequence[_Candidate], how_many: Callable[[int], int]) -> Ranked:
    """Both sides of the conversations with the best mean goal; a conversation with one side out of the pool is out."""
    pairs: dict[str, list[_Candidate]] = {}
    for c in pool:
        pairs.setdefault(c.episode.id, []).append(c)
    groups: dict[str, list[list[_Candidate]]] = {}
    for pair in pairs.values():
        if len(pair) == 2:
            groups.setdefault(pair[0].group, []).append(pair)
    chosen: Ranked = {}
    for conversations in groups.values():
        conversations.sort(
            key=lambda pair: tuple(fmean(values) for values in zip(*(c.order for c in pair), strict=True))
        )
        n = how_many(len(conversations))
        for rank, pair in enumerate(conversations[:n], 1):
            for c in pair:
                chosen[c.episode.id, c.side] = (
                    rank,
                    f"top {n} of {len(conversations)} conversations",
                )
    return chosen


def _paper_bc(pool: Sequence[_Candidate]) -> Ranked:
    """The top 2 per group and side, and both sides at ranks 3 to 10 where both are good enough."""
    ranked = _ranked_groups(pool)
    chosen = _top(pool, lambda n: PAPER_TOP)
    overall_mean = {side: fmean(c.goal for c in pool if c.side == side) for side in {c.side for c in pool}}
    for group in dict.fromkeys(c.group for c in pool):
        sides = [ranked.get((group, side), []) for side in (0, 1)]
        for rank in range(PAPER_TOP + 1, min(PAPER_LAST_RANK, *map(len, sides)) + 1):
            at_rank = [candidates[rank - 1] for candidates in sides]
            bounds = [min(fmean(c.goal for c in sides[s]), overall_mean[s]) for s in (0, 1)]
            if all(c.goal >= bound for c, bound in zip(at_rank, bounds, strict=True)):
                for c in at_rank:
                    chosen[c.episode.id, c.side] = (
                        rank,
                        f"rank {rank}, both sides at or above their mean",
                    )
    return chosen


def _ranked_groups(pool: Sequence[_Candidate]) -> dict[tuple[str, int], list[_Candidate]]:
    """Candidates per group and side, best first."""
    groups: dict[tuple[str, int], list[_Candidate]] = {}
    for c in pool:
        groups.setdefault((c.group, c.side), []).append(c)
    return {key: sorted(found, key=lambda c: c.order) for key, found in groups.items()}


def _one_rating_a_side(ratings: Iterable[Rating]) -> dict[tuple[str, int], Rating]:
    found: dict[tuple[str, int], Rating] = {}
    for rating in ratings:
        key = (rating.episode_id, rating.side)
        if key in found:
            raise ValueError(
                f"{rating.episode_id}, side {rating.side}: two ratings ({found[key].judge} and {rating.judge}); "
                f"selection takes one a side: pass the ratings of one judge."
            )
        found[key] = rating
    return found


def _group(episode: Episode, group_by: GroupBy, tasks: Mapping[str, SocialTask]) -> str:
    if group_by == "all":
        return "all"
    if group_by != "stratum":
        return getattr(episode, group_by)
    if episode.task_id not in tasks:
        raise ValueError(
            f"{episode.id}: its task {episode.task_id} is not among the {len(tasks)} given; group_by='stratum' needs "
            f"the tasks of all episodes, by id"
        )
    return f"{episode.family}, {'hard' if tasks[episode.task_id].hard else 'ordinary'}"


def _draw(seed: int, episode: Episode, side: int) -> float:
    """A number in [0, 1) that depends on the seed and the side alone, not on what else is in the pool."""
    number = int(hashlib.sha256(episode.id.encode()).hexdigest()[:8], 16)
    return float(np.random.default_rng([seed, number, side]).random())


def _kept(c: _Candidate, rank: int, reason: str) -> KeptSide:
    return KeptSide(c.episode.id, c.side, rank, c.goal, reason, c.group, c.episode.family, c.episode.tag)


def _rows(steps: dict[str, list[_Candidate]]) -> Iterable[dict[str, Any]]:
    """The counts as tidy rows, for everything and by family, group, model, tag and task."""
    columns: dict[str, Callable[[_Candidate], str]] = {
        "all": lambda c: "all",
        "family": lambda c: c.episode.family,
        "group": lambda c: c.group,
        "model": lambda c: c.episode.policies[c.side]["name"],
        "tag": lambda c: c.episode.tag,
        "task": lambda c: c.episode.task_id,
    }
    for by, value_of in columns.items():
        found = {step: Counter(map(value_of, candidates)) for step, candidates in steps.items()}
        for value in sorted(found["in"]):
            for step, counts in found.items():
                yield {"by": by, "value": value, "step": step, "n_sides": counts[value]}


def _check(recipe: str, group_by: str, unit: str, min_goal: float, k: int, share: float) -> None:
    for name, value, allowed in (
        ("recipe", recipe, Recipe),
        ("group_by", group_by, GroupBy),
        ("unit", unit, Unit),
    ):
        if value not in get_args(allowed):
            raise ValueError(f"{name} is {value!r}; allowed: {', '.join(get_args(allowed))}")
    if not 0 <= min_goal <= 10:
        raise ValueError(f"min_goal is {min_goal}; goals lie in [0, 10], and 0 bounds nothing")
    if k < 1:
        raise ValueError(f"k is {k}; it takes at least 1 side per group")
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; it is a share in (0, 1]")
