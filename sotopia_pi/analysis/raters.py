"""The same episodes as several raters scored them: the rule, language models, people; never mixed, always named."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from sotopia_pi.analysis.averaged import PEOPLE
from sotopia_pi.analysis.colours import in_order
from sotopia_pi.analysis.goal_tables import Side, Tasks, estimate_columns, goal_table, select_side, select_tasks
from sotopia_pi.analysis.statistics import cluster_difference
from sotopia_pi.analysis.tables import COLUMNS, frame_of
from sotopia_pi.world.scoring import JUDGE as RULE

Items = Iterable[Mapping[str, Any]]
SIDE_KEYS = ["run", "episode_id", "side"]
GAP_COLUMNS = ("variant", "tasks", "first", "second", "first_mean", "second_mean", "difference", "low", "high")
GAP_COUNTS = ("n_tasks", "n_episodes", "n_templates", "attempted", "missing", "method")


def raters_frame(tasks: Items, episodes: Items, ratings: Items, people: Items = (), run: str = "") -> pd.DataFrame:
    """A results frame per rater, one under the other, with the column `rater`.

    ratings: of all judges, told apart by name (the rule's is "payoff"). people: ratings averaged over annotators; only
    episodes that people saw have rows of theirs, so that what nobody was to rate does not count as missing.
    """
    tasks, episodes, people = list(tasks), list(episodes), list(people)
    by_judge: dict[str, list[Mapping[str, Any]]] = {}
    for rating in ratings:
        by_judge.setdefault(rating["judge"], []).append(rating)
    seen = {rating["episode_id"] for rating in people}
    frames = [frame_of(tasks, episodes, given, run).assign(rater=judge) for judge, given in by_judge.items()]
    if people:
        rated = [episode for episode in episodes if episode["id"] in seen]
        frames.append(frame_of(tasks, rated, people, run).assign(rater=PEOPLE))
    if frames:
        return pd.concat(frames, ignore_index=True)
    return pd.DataFrame(columns=[*COLUMNS]).astype(COLUMNS).assign(rater=pd.Series(dtype="str"))


def raters_of(frame: pd.DataFrame) -> list[str]:
    """The raters of a frame: the rule first, then judges by name, people last."""
    present = set(frame["rater"])
    judges = sorted(present - {RULE, PEOPLE})
    return [rater for rater in (RULE, *judges, PEOPLE) if rater in present]


def by_first(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first rater: the rule where it rated, else the first judge by name; an empty frame stays so."""
    return frame[frame["rater"].isin(raters_of(frame)[:1])]


def called(rater: str) -> str:
    """A rater as figures and tables name it."""
    return {RULE: "rule", PEOPLE: "people"}.get(rater, f"judge {rater}")


def label_of(frame: pd.DataFrame, model: str) -> str:
    """What every figure's title says: who scored, and whom."""
    names = [called(rater) for rater in raters_of(frame)]
    scored = {("rule",): "rule-scored negotiation", (): "nothing rated"}.get(
        tuple(names), f"scores by {', '.join(names)}"
    )
    return f"{scored}, {model}"


def by_rater(
    frame: pd.DataFrame, tasks: Tasks = "all", side: Side = "agent", dimensions: Sequence[str] = ("goal",)
) -> pd.DataFrame:
    """`goal_table` of every rater and dimension, with the column `rater`; empty where nothing was rated."""
    parts = [
        goal_table(frame[frame["rater"] == rater], tasks, side, dimension).assign(rater=rater)
        for rater in raters_of(frame)
        for dimension in dimensions
    ]
    filled = [part for part in parts if len(part)]
    if not filled:
        return goal_table(frame, tasks, side).assign(rater=pd.Series(dtype="str"))
    table = pd.concat(filled, ignore_index=True)
    table.insert(0, "rater", table.pop("rater"))
    return table


def rater_pairs(raters: Sequence[str]) -> list[tuple[str, str]]:
    """Every pair once; judges stand before the rule and the rule before people."""
    order = {rater: (rater == RULE) + 2 * (rater == PEOPLE) for rater in raters}
    return list(combinations(sorted(raters, key=order.__getitem__), 2))


def paired_goals(rows: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Sides that both were to rate, goals side by side as `goal_1` and `goal_2`."""
    one, other = (rows[rows["rater"] == rater] for rater in (first, second))
    return one.merge(other[[*SIDE_KEYS, "goal", "missing"]], on=SIDE_KEYS, suffixes=("_1", "_2"))


def gap_table(frame: pd.DataFrame, tasks: Tasks = "all", side: Side = "agent") -> pd.DataFrame:
    """Per variant and pair of raters: goal by the first minus goal by the second, over the sides that both rated.

    Pairs are read as who may overrate against who is the better measure: judge − rule, judge − people, rule − people.
    first_mean, second_mean: both raters' means over those same sides; attempted: sides that either was to rate.
    """
    rows = select_side(select_tasks(frame, tasks), side)
    lines = []
    for first, second in rater_pairs(raters_of(rows)):
        both = paired_goals(rows, first, second)
        for variant in in_order(both["variant"]):
            lines.append({"tasks": tasks, **_gap(both[both["variant"] == variant], variant, first, second)})
    return pd.DataFrame(lines, columns=[*GAP_COLUMNS, *GAP_COUNTS])


def _gap(both: pd.DataFrame, variant: str, first: str, second: str) -> dict[str, Any]:
    estimate = cluster_difference(both["goal_1"], both["goal_2"], both["template"].tolist(), both["task_id"].tolist())
    rated = both.dropna(subset=["goal_1", "goal_2"])
    gone = both[both["goal_1"].isna() | both["goal_2"].isna()]
    reasons = zip(gone["missing_1"], gone["missing_2"], strict=True)
    why = [f"{called(first)}: {one}" if one else f"{called(second)}: {other}" for one, other in reasons]
    missing = {str(reason): int(n) for reason, n in pd.Series(why, dtype="str").value_counts().sort_index().items()}
    columns = estimate_columns(estimate, attempted=len(both), missing=missing)
    return {
        "variant": variant,
        "first": first,
        "second": second,
        "first_mean": rated["goal_1"].mean(),
        "second_mean": rated["goal_2"].mean(),
        "difference": columns.pop("mean"),
        **columns,
    }
