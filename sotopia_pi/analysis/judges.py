"""Several judges over the same episodes: how far they agree, and how far a model overrates what a rule has measured.

Whoever rates sides by rule is a judge, too: its name is `payoff`. A score that is missing stays missing; every table
counts what was attempted and says why the rest is not there.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from sotopia_pi.analysis.colours import in_order, look
from sotopia_pi.analysis.figure_parts import (
    caption_counts,
    drawing_style,
    finished,
    interval_point,
    label_variants,
    panels,
    places_of,
)
from sotopia_pi.analysis.goal_tables import ESTIMATE_COLUMNS, Side, estimate_columns
from sotopia_pi.analysis.plots import missing_figure
from sotopia_pi.analysis.statistics import Estimate, cluster_difference
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import DIMENSIONS, Rating
from sotopia_pi.world.scoring import JUDGE as RULE
from sotopia_pi.world.tasks import SocialTask

COLUMNS: dict[str, str] = {
    "episode_id": "str",
    "task_id": "str",
    "template": "str",
    "has_payoff": "bool",
    "has_zone": "bool",
    "variant": "str",
    "side": "int64",
    "role": "str",
    "judge": "str",
    "dimension": "str",
    "score": "float64",
    "outcome": "str",
}
"""Columns of a frame of judges. score: NaN where missing; outcome: the judge's ("ok" also where a rule leaves the
dimension out), "not_rated", or the failed episode's; role: "agent" on every side under study, else "partner"."""

SIDE = ["episode_id", "side"]
AGREEMENT = ["first", "second", "dimension", "n", "exact", "within_one", "pearson", "spearman"]
INTERVAL = [name.replace("mean", "difference") for name in ESTIMATE_COLUMNS]
LEFT_OUT, NOT_RATED = "left out", "not_rated"
FAILED_EPISODES = ("policy_failed", "policy_api_error")
AXIS = "judge's goal − goal by {}, points of 10 (right of 0: the judge rates higher)"


def judges_frame(episodes: Iterable[Episode], tasks: Iterable[SocialTask], ratings: Iterable[Rating]) -> pd.DataFrame:
    """One row per episode, side, judge and dimension, for every judge that occurs among the ratings.

    Raises ValueError where one judge's name stands for two ratings of a side, or for two settings (another prompt,
    model or sampling): such scores may not share a column.
    """
    by_id = {task.id: task for task in tasks}
    by_judge = _by_judge(ratings)
    rows = [
        {**_place(episode, by_id, side), "judge": judge, "dimension": dimension, "score": score, "outcome": outcome}
        for episode in episodes
        for side in (0, 1)
        for judge, found in by_judge.items()
        for dimension, score, outcome in _scores(episode, found.get((episode.id, side)))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def outcome_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Per judge: sides attempted, and how many of them came to which outcome."""
    sides = frame.drop_duplicates([*SIDE, "judge"])
    counts = pd.crosstab(sides["judge"], sides["outcome"]).rename_axis(columns=None)
    counts.insert(0, "attempted", counts.sum(axis=1))
    return counts.reset_index()


def agreement_table(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Every pair of judges on every dimension, over the sides of all episodes (agents and partners).

    n: sides that both rated; exact, within_one: shares of them in [0, 1], where the scores are equal or at most one
    point apart; pearson, spearman: NaN without spread; difference: first minus second, in points, with its interval;
    missing: why a side of the attempted ones has no pair of scores.
    """
    pairs = itertools.combinations(sorted(set(frame["judge"])), 2)
    lines = [
        _agreement(paired_scores(frame[frame["dimension"] == dimension], first, second), first, second, dimension, seed)
        for first, second in pairs
        for dimension in DIMENSIONS
    ]
    return pd.DataFrame(lines, columns=[*AGREEMENT, *INTERVAL])


def overrating_table(
    frame: pd.DataFrame, side: Side = "agent", rule: str = RULE, has_zone: bool = True, seed: int = 0
) -> pd.DataFrame:
    """Per judge and variant: the judge's goal minus the rule's, over the sides of payoff tasks that both rated.

    difference: points of 10, above 0 where the judge rates higher; judge_goal, rule_goal: both means over the same
    sides. has_zone: whether over tasks with a zone of agreement or over those without one, never over both.
    """
    if side not in ("agent", "partner"):
        raise ValueError(f"side = {side!r}; allowed: 'agent' and 'partner'")
    kept = (frame["dimension"] == "goal") & frame["has_payoff"] & (frame["has_zone"] == has_zone)
    rows = frame[kept & (frame["role"] == side)]
    judges = [judge for judge in sorted(set(rows["judge"])) if judge != rule]
    lines = [
        {"judge": judge, "variant": variant, "side": side, **_overrating(group, judge, rule, seed)}
        for judge in judges
        for variant in in_order(rows["variant"])
        for group in [paired_scores(rows[rows["variant"] == variant], judge, rule)]
    ]
    return pd.DataFrame(lines, columns=["judge", "variant", "side", "judge_goal", "rule_goal", *INTERVAL])


def overrating_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """How far each judge overrates goal completion, by variant, from `overrating_table`: one panel a judge."""
    nothing = "no side of a payoff task that a judge and the rule both rated"
    return gap_figure(table, "rule", nothing, model_label)


def gap_figure(table: pd.DataFrame, measure: str, nothing: str, model_label: str) -> Figure:
    """Judge's goal minus that of a measure, by variant, one panel a judge.

    measure: "rule" or "people"; the table has its mean as `<measure>_goal`. nothing: said where no row has a value.
    """
    title = f"Judge's goal minus the goal by {measure} by variant"
    table = table.dropna(subset=["difference"])
    if table.empty:
        return missing_figure(title, model_label, nothing)
    by_judge = dict(iter(table.groupby("judge", sort=True)))
    places = places_of(in_order(table["variant"]))
    ends = table[["low", "difference", "high"]]
    span = (min(0.0, ends.min().min()) - 0.2, max(0.0, ends.max().max()) + 0.2)
    with drawing_style():
        fig, axes = panels(len(by_judge), width=5.1 if len(by_judge) > 1 else 8.6, height=0.4 * len(places) + 2.3)
        for ax, (judge, rows) in zip(axes, by_judge.items(), strict=True):
            for row in rows.to_dict("records"):
                y, style = places[row["variant"]], look(row["variant"])
                interval_point(ax, row, y, "difference", style.line, style.marker)
                means = f"{row['judge_goal']:.1f} / {row[f'{measure}_goal']:.1f}"
                ax.annotate(means, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=8)
            ax.axvline(0, color="black", linewidth=0.9)
            ax.set_title(f"Judge: {judge}", loc="left")
            ax.set_xlim(span)
            ax.set_xlabel(AXIS.format(measure), fontsize=8.5)
        label_variants(axes[0], places)
        counts = caption_counts(by_judge, f"rated sides ({table['side'].iloc[0]})")
        caption = f"Beside each row: judge's mean / mean by {measure}. {counts}"
        return finished(fig, f"{title} · {model_label}", caption, axes)


def _by_judge(ratings: Iterable[Rating]) -> dict[str, dict[tuple[str, int], Rating]]:
    found: dict[str, dict[tuple[str, int], Rating]] = {}
    settings: dict[str, Any] = {}
    for rating in ratings:
        of_judge = found.setdefault(rating.judge, {})
        other = of_judge.setdefault((rating.episode_id, rating.side), rating)
        asked = rating.raw[0].get("judge") if rating.raw else None
        if other is not rating or settings.setdefault(rating.judge, asked) != asked:
            raise ValueError(
                f"judge {rating.judge!r} stands for two ratings or two settings (second one: rating {rating.id} of "
                f"episode {rating.episode_id}, side {rating.side}); a name has one rating a side and one model, "
                f"prompt and sampling: give one of the two judges another name, or take the ids one manifest names"
            )
    return found


def _place(episode: Episode, tasks: Mapping[str, SocialTask], side: int) -> dict[str, Any]:
    try:
        task = tasks[episode.task_id]
    except KeyError:
        raise ValueError(
            f"episode {episode.id} plays task {episode.task_id}, which is not among the {len(tasks)} tasks given; "
            f"give the tasks that were played"
        ) from None
    return {
        "episode_id": episode.id,
        "task_id": task.id,
        "template": episode.template,
        "has_payoff": task.payoff is not None,
        "has_zone": task.has_zone,
        "variant": episode.tag,
        "side": side,
        "role": "agent" if episode.agent_side in (None, side) else "partner",
    }


def _scores(episode: Episode, rating: Rating | None) -> Iterable[tuple[str, float | None, str]]:
    """(dimension, score, outcome) of a side. A failed policy has no score, whatever a file says."""
    if episode.outcome != "completed":
        outcome = episode.outcome
    else:
        outcome = rating.outcome if rating else NOT_RATED
    scores = rating.scores if rating and outcome == "ok" else {}
    return [(dimension, scores.get(dimension), outcome) for dimension in DIMENSIONS]


def paired_scores(rows: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """The sides of one dimension's rows with two judges' scores side by side, columns `score_1` and `score_2`.

    missing: why a side has no pair of scores; empty where it has one.
    """
    one, other = (rows[rows["judge"] == judge] for judge in (first, second))
    both = one.merge(other[[*SIDE, "score", "outcome"]], on=SIDE, how="left", suffixes=("_1", "_2"))
    both["outcome_2"] = both["outcome_2"].fillna(NOT_RATED)
    gone = [_why_missing(row, first, second) for row in both.to_dict("records")]
    return both.assign(missing=gone)


def _why_missing(row: Mapping[str, Any], first: str, second: str) -> str:
    """Whose score is missing and why; empty where both are there."""
    for number, judge in ((1, first), (2, second)):
        if math.isnan(row[f"score_{number}"]):
            outcome = row[f"outcome_{number}"]
            return outcome if outcome in FAILED_EPISODES else f"{judge}: {LEFT_OUT if outcome == 'ok' else outcome}"
    return ""


def _agreement(pairs: pd.DataFrame, first: str, second: str, dimension: str, seed: int) -> dict[str, Any]:
    rated = pairs.dropna(subset=["score_1", "score_2"])
    apart = (rated["score_1"] - rated["score_2"]).abs()
    return {
        "first": first,
        "second": second,
        "dimension": dimension,
        "n": len(rated),
        "exact": float((apart == 0).mean()),
        "within_one": float((apart <= 1).mean()),
        "pearson": _correlation(stats.pearsonr, rated),
        "spearman": _correlation(stats.spearmanr, rated),
        **difference_columns(pairs, seed),
    }


def _correlation(of: Any, rated: pd.DataFrame) -> float:
    """NaN where fewer than two sides were rated by both, or where a judge gave everybody the same score."""
    first, second = rated["score_1"].to_numpy(), rated["score_2"].to_numpy()
    if len(rated) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(of(first, second).statistic)


def _overrating(pairs: pd.DataFrame, judge: str, rule: str, seed: int) -> dict[str, Any]:
    rated = pairs.dropna(subset=["score_1", "score_2"])
    means = {"judge_goal": rated["score_1"].mean(), "rule_goal": rated["score_2"].mean()}
    return {**means, **difference_columns(pairs, seed)}


def difference_columns(pairs: pd.DataFrame, seed: int) -> dict[str, Any]:
    """First minus second of `paired_scores` with its interval, as the columns INTERVAL."""
    estimate: Estimate = cluster_difference(
        pairs["score_1"], pairs["score_2"], pairs["template"].tolist(), pairs["task_id"].tolist(), seed
    )
    missing = Counter(why for why in pairs["missing"] if why)
    columns = estimate_columns(estimate, attempted=len(pairs), missing=dict(sorted(missing.items())))
    return {"difference" if name == "mean" else name: value for name, value in columns.items()}
