"""Can a judge be trusted: its goal against what a rule measured or people gave (the paper's Table 7).

Trivial policies are left out: they say the same words over and over, which is no test of a judge.
"""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from sotopia_pi.analysis.colours import in_order
from sotopia_pi.analysis.figure_parts import drawing_style, finished, method_text, panels
from sotopia_pi.analysis.goal_tables import select_side, select_tasks, studied
from sotopia_pi.analysis.plots import missing_figure
from sotopia_pi.analysis.raters import called, paired_goals, rater_pairs, raters_of
from sotopia_pi.analysis.statistics import cluster_correlation, cluster_mean

ALL = "all variants"
BIN_ENDS = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
"""The measured goal in five bins of two points; the first holds 0 apart from what lies above it."""
CORRELATION = ["variant", "first", "second", "pearson", "low", "high", "spearman"]
COUNTS = ["n_episodes", "n_templates", "n_missing", "method"]
BINS = ["first", "second", "measured", "mean_measured", "mean", "low", "high", "n_episodes", "n_templates", "method"]


def correlation_table(frame: pd.DataFrame, side: str = "agent") -> pd.DataFrame:
    """Correlation of two raters' goals over the sides both rated, by variant and over all variants.

    pearson, low, high: Pearson's r with its interval by scenario template; spearman: of the same sides. NaN without
    spread (a base that everybody gives 0).
    """
    lines = []
    for first, second, both in _pairs(frame, side):
        groups = [(v, both[both["variant"] == v]) for v in in_order(both["variant"])]
        lines += [
            {"variant": v, "first": first, "second": second, **_correlation(g)} for v, g in [*groups, (ALL, both)]
        ]
    return pd.DataFrame(lines, columns=[*CORRELATION, *COUNTS])


def calibration_table(frame: pd.DataFrame, side: str = "agent") -> pd.DataFrame:
    """Mean goal by the first rater within bins of the second's: a trustworthy judge lies on the diagonal.

    measured: the bin ("0", "0 to 2", ...); mean_measured: the second rater's mean in it; mean, low, high: the first's.
    """
    lines = []
    for first, second, both in _pairs(frame, side):
        rated = both.dropna(subset=["goal_1", "goal_2"])
        for name, rows in _bins(rated):
            estimate = cluster_mean(rows["goal_1"], rows["template"].tolist(), rows["task_id"].tolist())
            fields = {k: getattr(estimate, k) for k in ("mean", "low", "high", "n_episodes", "n_templates", "method")}
            head = {"first": first, "second": second, "measured": name, "mean_measured": rows["goal_2"].mean()}
            lines.append({**head, **fields})
    return pd.DataFrame(lines, columns=BINS)


def calibration_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """A judge's mean goal over the goal a better measure gave, one panel a pair of raters, from `calibration_table`."""
    title = "Calibration of raters"
    if table.empty:
        return missing_figure(title, model_label, "one rater only; `more_judges` of stage 06 or stage 09 give others")
    pairs = list(dict.fromkeys(zip(table["first"], table["second"], strict=True)))
    with drawing_style():
        fig, axes = panels(len(pairs), width=3.6, height=4.3)
        for ax, (first, second) in zip(axes, pairs, strict=True):
            _diagonal_panel(ax, table[(table["first"] == first) & (table["second"] == second)], first, second)
        n = f"n beside each point: sides both rated. Intervals: {method_text(table)}."
        return finished(
            fig, f"{title} · {model_label}", f"{n} On the dashed line both agree; above it the first overrates.", axes
        )


def _pairs(frame: pd.DataFrame, side: str) -> Iterable[tuple[str, str, pd.DataFrame]]:
    rows = select_side(select_tasks(studied(frame)), side)
    for first, second in rater_pairs(raters_of(rows)):
        yield first, second, paired_goals(rows, first, second)


def _correlation(both: pd.DataFrame) -> dict[str, Any]:
    r = cluster_correlation(both["goal_1"], both["goal_2"], both["template"].tolist(), both["task_id"].tolist())
    rated = both.dropna(subset=["goal_1", "goal_2"])
    ranked = not math.isnan(r.mean)
    spearman = stats.spearmanr(rated["goal_1"], rated["goal_2"]).statistic if ranked else math.nan
    counts = {name: getattr(r, name) for name in COUNTS}
    return {"pearson": r.mean, "low": r.low, "high": r.high, "spearman": float(spearman), **counts}


def _bins(rated: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    yield from _filled("0", rated[rated["goal_2"] == 0])
    above = rated[rated["goal_2"] > 0]
    for low, high in pairwise(BIN_ENDS):
        yield from _filled(f"{low:g} to {high:g}", above[(above["goal_2"] > low) & (above["goal_2"] <= high)])


def _filled(name: str, rows: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    if len(rows):
        yield name, rows


def _diagonal_panel(ax: Axes, rows: pd.DataFrame, first: str, second: str) -> None:
    ax.plot([0, 10], [0, 10], "--", color="#888888", linewidth=1)
    ax.plot(rows["mean_measured"], rows["mean"], "o-", color="#332288", markersize=6)
    for row in rows.to_dict("records"):
        ax.plot([row["mean_measured"]] * 2, [row["low"], row["high"]], color="#332288", linewidth=1.4)
        ax.annotate(
            f"{row['n_episodes']}",
            (row["mean_measured"], row["mean"]),
            xytext=(6, -10) if row["mean"] > 1 else (4, 7),
            textcoords="offset points",
            fontsize=8,
        )
    ax.set_xlim(-0.3, 10.3)
    ax.set_ylim(-0.3, 10.3)
    ax.set_title(f"{called(first)} against {called(second)}", loc="left")
    ax.set_xlabel(f"goal by {called(second)}, 0 to 10")
    ax.set_ylabel(f"mean goal by {called(first)}, 0 to 10")
