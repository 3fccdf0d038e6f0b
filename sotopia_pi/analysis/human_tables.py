"""What people rated, as tables: who rated how much, how far they agree, and how judges stand to them.

Several people's scores of one side are averaged; the mean stands in a frame of judges under the name `people`.
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from sotopia_pi.analysis.agreement import (
    LEVELS,
    alpha_interval,
    correlation,
    correlation_interval,
    krippendorff_alpha,
    pairwise_agreement,
    randolph_kappa,
)
from sotopia_pi.analysis.averaged import PEOPLE, averaged
from sotopia_pi.analysis.colours import in_order
from sotopia_pi.analysis.goal_tables import ESTIMATE_COLUMNS, estimate_columns
from sotopia_pi.analysis.judges import INTERVAL, difference_columns, paired_scores
from sotopia_pi.analysis.safe_table import safe_table
from sotopia_pi.analysis.statistics import BOOTSTRAP, cluster_mean
from sotopia_pi.analysis.tables import interval_text
from sotopia_pi.stages.assignment import Plan
from sotopia_pi.stages.human_ratings import HumanRatings
from sotopia_pi.stages.qualification import Qualification
from sotopia_pi.stages.rating_session import RatingSession, is_qualified
from sotopia_pi.world.ratings import DIMENSIONS, Rating

VOILA = "VOILA_REQUEST_URL"
"""Environment variable by which a kernel knows that voila started it."""
ALL_VARIANTS = "all"

Counting = Mapping[tuple[str, str], tuple[Rating, Rating]]
"""(annotator, episode) -> both sides' ratings, as `HumanRatings.counting` gives them."""


def why_no_results(people: Sequence[Rating], show: bool) -> str:
    """What a page says instead of results: where nobody has rated, and to those who rate; empty where it shows them.

    show: whether results are wanted at all. Whoever opens the notebook through voila rates and sees none.
    """
    if not show or VOILA in os.environ:
        return "Not shown to people who rate."
    return "" if people else "Nobody has rated yet: open this notebook to rate."


def annotators_table(plan: Plan, ratings: HumanRatings, first: Qualification) -> pd.DataFrame:
    """One row a person: datapoints rated, left for them, attempts at the qualification item, whether it was passed,
    median seconds an item, and episodes rated that are not in this plan (kept, and not counted here)."""
    counting = ratings.counting()
    names = list(dict.fromkeys([*plan.annotators, *(name for name, _ in counting)]))
    attempts = Counter(e.annotator for e in ratings.entries() if e.episode_id == first.episode.id and e.side == 0)
    rows = [_annotator(name, plan, ratings, first) | {"attempts": attempts[name]} for name in names]
    columns = ["annotator", "rated", "left", "attempts", "qualified", "median_s", "elsewhere"]
    return pd.DataFrame(rows, columns=columns)


def people_ratings(counting: Counting, episode_ids: Iterable[str]) -> list[Rating]:
    """One rating a side with the mean of what people gave it, over the episodes asked for."""
    wanted = set(episode_ids)
    return averaged(rating for (_, episode_id), both in counting.items() if episode_id in wanted for rating in both)


def ratings_per_datapoint(counting: Counting, plan: Plan) -> dict[str, int]:
    """How many datapoints of the plan were rated by how many people, as counts for a table."""
    raters = Counter(episode_id for _, episode_id in counting)
    spread = Counter(raters[point.episode_id] for point in plan.datapoints)
    return {f"datapoints rated by {n} {'person' if n == 1 else 'people'}": spread[n] for n in sorted(spread)}


def agreement_table(counting: Counting, plan: Plan, seed: int = 0) -> pd.DataFrame:
    """One row a dimension, over the sides (agents and partners) that at least two people rated.

    exact, within_one: share of pairs in [0, 1]; kappa: Randolph's, every whole score a category; coarse: the same two
    over `coarse` categories; alpha at three levels, its interval at the level of distances.
    """
    template = {point.episode_id: point.template for point in plan.datapoints}
    rows = [
        {"episode_id": episode, "side": rating.side, "annotator": name, **rating.scores}
        for (name, episode), both in counting.items()
        if episode in template
        for rating in both
    ]
    frame = pd.DataFrame(rows, columns=["episode_id", "side", "annotator", *DIMENSIONS])
    lines = [_agreement(_matrix(frame, dimension), template, dimension, seed) for dimension in DIMENSIONS]
    return pd.DataFrame(lines)


def coarse(scores: np.ndarray, dimension: str) -> np.ndarray:
    """Scores as a few categories: below, at or above 0 where a range has both signs, else lower or upper half.

    The published agreements and kappas fit 3 and 2 categories (Sotopia-π, Table 8); where the paper cuts is not
    published, the halves are ours: the upper one begins above the middle. NaN stays NaN.
    """
    low, high = DIMENSIONS[dimension]
    if low < 0 < high:
        return np.sign(scores)
    return np.where(np.isnan(scores), np.nan, (scores > (low + high) / 2).astype(float))


def means_table(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean of people's scores per variant and dimension, the agent's sides alone, with intervals by template."""
    rows = frame[(frame["judge"] == PEOPLE) & (frame["role"] == "agent")]
    lines = [
        {"variant": variant, "dimension": dimension, **_mean(group[group["dimension"] == dimension], seed)}
        for variant in in_order(rows["variant"])
        for group in [rows[rows["variant"] == variant]]
        for dimension in DIMENSIONS
    ]
    table = pd.DataFrame(lines, columns=["variant", "dimension", *ESTIMATE_COLUMNS])
    return table.rename(columns={"dimension": "rated"})


def correlation_table(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Pearson's and Spearman's correlation of every judge with people's mean, with intervals by template.

    Every dimension over both sides of all variants, then goal by variant over the agent's sides (the paper's Table 7).
    """
    goals = frame[(frame["dimension"] == "goal") & (frame["role"] == "agent")]
    parts = [(ALL_VARIANTS, "both", d, frame[frame["dimension"] == d]) for d in DIMENSIONS]
    parts += [(v, "agent", "goal", goals[goals["variant"] == v]) for v in in_order(frame["variant"])]
    lines = [
        {"judge": judge, "variant": variant, "side": side, "dimension": dimension, **_correlations(rows, judge, seed)}
        for judge in _judges(frame)
        for variant, side, dimension, rows in parts
    ]
    names = ["pearson", "pearson_low", "pearson_high", "spearman", "spearman_low", "spearman_high"]
    table = pd.DataFrame(lines, columns=["judge", "variant", "side", "dimension", "n", *names, "n_templates", "method"])
    return table.rename(columns={"dimension": "rated"})


def gap_table(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Per judge and variant: the judge's goal minus people's, over the agent's sides that both rated.

    difference: points of 10, above 0 where the judge rates higher (the paper's Figure 4, where the gap grows with
    training); judge_goal, people_goal: both means over the same sides.
    """
    rows = frame[(frame["dimension"] == "goal") & (frame["role"] == "agent")]
    lines = [
        {"judge": judge, "variant": variant, **_gap(rows[rows["variant"] == variant], judge, seed)}
        for judge in _judges(frame)
        for variant in in_order(rows["variant"])
    ]
    columns = ["judge", "variant", "side", "judge_goal", "people_goal", *INTERVAL]
    return pd.DataFrame([{"side": "agent", **line} for line in lines], columns=columns)


def to_read(table: pd.DataFrame) -> Styler:
    """A table of correlations or agreements for reading: intervals beside their values, their method left to prose."""
    out = table.drop(columns=["method", *(c for c in table if c.endswith(("_low", "_high")))])
    for name in [column for column in out if f"{column}_low" in table]:
        cells = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
        out[name] = [_interval(*cell) for cell in cells]
    return safe_table(
        out.rename(columns=lambda name: f"{name} [95 %]" if f"{name}_low" in table else name), index=False
    )


def agreement_to_read(table: pd.DataFrame) -> tuple[Styler, Styler]:
    """The table of agreement as two that fit a page: pairs and kappas, then alphas with the interval."""
    alphas = [column for column in table if column.startswith("alpha_")]
    counted = ["n_people", "n_templates"]
    second = ["rated", "n_sides", *counted, *alphas, "method"]
    return to_read(table.drop(columns=[*counted, *alphas])), to_read(table[second])


def means_to_read(table: pd.DataFrame) -> Styler:
    """The means of `means_table` with a column a variant, and how many of the datapoints were rated on top."""
    cells = table.assign(cell=[_interval(*row) for row in table[["mean", "low", "high"]].to_numpy()])
    wide = cells.pivot(index="rated", columns="variant", values="cell")
    rated = {v: f"{g['n_episodes'].max()} of {g['attempted'].max()}" for v, g in table.groupby("variant")}
    out = pd.concat([pd.DataFrame(rated, index=["rated datapoints"]), wide.reindex(list(DIMENSIONS))])
    return safe_table(out[in_order(rated)].rename_axis("dimension").reset_index(), index=False)


def _interval(value: float, low: float, high: float) -> str:
    return "–" if math.isnan(value) else interval_text(value, low, high)


def _annotator(name: str, plan: Plan, ratings: HumanRatings, first: Qualification) -> dict[str, Any]:
    counting = ratings.counting()
    mine = {episode: both for (who, episode), both in counting.items() if who == name}
    planned = [both for episode, both in mine.items() if episode in plan.episode_ids]
    seconds = [both[0].raw[0]["timing"].get("seconds", np.nan) for both in planned]
    known = not plan.annotators or name in plan.annotators
    return {
        "annotator": name,
        "rated": len(planned),
        "left": RatingSession(name, plan, ratings, first).progress().left if known else 0,
        "qualified": "yes" if is_qualified(name, ratings, first) else "no",
        "median_s": float(np.nanmedian(seconds)) if np.isfinite(seconds).any() else np.nan,
        "elsewhere": len(mine) - len(planned) - (first.episode.id in mine),
    }


def _matrix(frame: pd.DataFrame, dimension: str) -> pd.DataFrame:
    """Sides × annotators, NaN where somebody did not rate a side; sides with one rating are left out."""
    matrix = frame.pivot(index=["episode_id", "side"], columns="annotator", values=dimension).astype(float)
    return matrix[matrix.notna().sum(axis=1) > 1]


def _agreement(matrix: pd.DataFrame, template: Mapping[str, str], dimension: str, seed: int) -> dict[str, Any]:
    data, (low, high) = matrix.to_numpy(), DIMENSIONS[dimension]
    templates = [template[episode] for episode, _ in matrix.index]
    few, n_few = coarse(data, dimension), 3 if low < 0 < high else 2
    alpha_low, alpha_high = alpha_interval(data, templates, "interval", seed)
    return {
        "rated": dimension,
        "n_sides": len(matrix),
        "n_people": int(matrix.notna().any().sum()),
        "exact": pairwise_agreement(data),
        "within_one": pairwise_agreement(data, within=1),
        "kappa": randolph_kappa(data, high - low + 1),
        "categories": n_few,
        "coarse": pairwise_agreement(few),
        "coarse_kappa": randolph_kappa(few, n_few),
        **{f"alpha_{level}": krippendorff_alpha(data, level) for level in LEVELS},
        "alpha_interval_low": alpha_low,
        "alpha_interval_high": alpha_high,
        "n_templates": len(set(templates)),
        "method": BOOTSTRAP,
    }


def _mean(rows: pd.DataFrame, seed: int) -> dict[str, Any]:
    estimate = cluster_mean(rows["score"], rows["template"].tolist(), rows["task_id"].tolist(), seed)
    gone = rows.loc[rows["score"].isna(), "outcome"].value_counts().sort_index()
    return estimate_columns(estimate, attempted=len(rows), missing={str(why): int(n) for why, n in gone.items()})


def _judges(frame: pd.DataFrame) -> list[str]:
    return [judge for judge in sorted(set(frame["judge"])) if judge != PEOPLE]


def _correlations(rows: pd.DataFrame, judge: str, seed: int) -> dict[str, Any]:
    both = paired_scores(rows, judge, PEOPLE).dropna(subset=["score_1", "score_2"])
    scores, templates = (both["score_1"], both["score_2"]), both["template"].tolist()
    found: dict[str, Any] = {"n": len(both), "n_templates": len(set(templates)), "method": BOOTSTRAP}
    for name, ranks in (("pearson", False), ("spearman", True)):
        low, high = correlation_interval(*scores, templates, ranks, seed)
        found |= {name: correlation(*scores, ranks=ranks), f"{name}_low": low, f"{name}_high": high}
    return found


def _gap(rows: pd.DataFrame, judge: str, seed: int) -> dict[str, Any]:
    pairs = paired_scores(rows, judge, PEOPLE)
    both = pairs.dropna(subset=["score_1", "score_2"])
    means = {"judge_goal": both["score_1"].mean(), "people_goal": both["score_2"].mean()}
    return {**means, **difference_columns(pairs, seed)}
