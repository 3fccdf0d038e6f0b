"""All dimensions at once: the paper's Tables 5 and 9 in our layout, and the profile of each variant as a figure."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sotopia_pi.analysis import published
from sotopia_pi.analysis.colours import in_order, look
from sotopia_pi.analysis.figure_parts import (
    drawing_style,
    finished,
    interval_point,
    label_variants,
    places_of,
    span_text,
)
from sotopia_pi.analysis.goal_tables import Side, Tasks, studied
from sotopia_pi.analysis.plots import missing_figure
from sotopia_pi.analysis.raters import by_rater, label_of
from sotopia_pi.analysis.tables import SCORES
from sotopia_pi.world.ratings import DIMENSIONS

HEADS = dict(zip(SCORES, ("bel", "rel", "kno", "sec", "soc", "fin", "goal", "overall"), strict=True))
"""Heads of a wide table, short enough for a page: the dimensions in SOTOPIA-Eval's order, and overall."""
SHORT = {"financial_and_material_benefits": "financial", "social_rules": "social rules"}
ALL_RANGES = {**DIMENSIONS, "overall": (-25 / 7, 45 / 7)}
"""Ranges of the seven dimensions; overall is their mean, so its range is the mean of their ends."""


def profile_table(frame: pd.DataFrame, tasks: Tasks = "all", side: Side = "agent") -> pd.DataFrame:
    """Mean of every dimension by rater and variant (trivial policies left out); what a rater never gave has no rows."""
    table = by_rater(studied(frame), tasks, side, SCORES)
    return table.dropna(subset=["mean"]).reset_index(drop=True) if len(table) else table


def wide_profile(table: pd.DataFrame, value: str = "mean") -> pd.DataFrame:
    """A profile for reading: a row per rater, tasks and variant, a column per dimension (see HEADS)."""
    if table.empty:
        return pd.DataFrame(columns=["rater", "variant", *HEADS.values()])
    if value == "mean":
        span = table.groupby(["rater", "variant"])["n_episodes"].transform(lambda n: span_text(n))
        table = table.assign(n_episodes=span)
    by = [name for name in ("rater", "tasks", "n_episodes", "variant") if name in table]
    wide = table.pivot(index=by, columns="dimension", values=value)
    wide = wide[[name for name in SCORES if name in wide]].rename(columns=HEADS).reset_index().rename_axis(None, axis=1)
    order = {variant: i for i, variant in enumerate(in_order(wide["variant"]))}
    keys = {"variant": lambda column: column.map(order)}
    return wide.sort_values(by, key=lambda column: keys.get(column.name, lambda c: c)(column)).reset_index(drop=True)


def profile_figures(table: pd.DataFrame, model: str) -> dict[str, Figure]:
    """One figure a rater, from `profile_table`: mean with interval of every dimension it gave."""
    if table.empty:
        return {"none": missing_figure("Profile over the dimensions", model, "no rated episodes")}
    found = {}
    for rater, given in table.groupby("rater", sort=False):
        n = f"n: {span_text(given['n_episodes'])} rated episodes a variant, {span_text(given['n_templates'])} templates"
        absent = [SHORT.get(d, d).replace("_", " ") for d in SCORES if d not in set(given["dimension"])]
        left = f" Not given by this rater: {', '.join(absent)}." if absent else ""
        caption = f"{n}. Intervals: {given['method'].iloc[0]}.{left}"
        title = f"Profile over the dimensions · {label_of(given, model)}"
        found[str(rater)] = _profile(given, title, caption)
    return found


def published_profile_figure() -> Figure:
    """The paper's Table 5 on hard tasks by people, in the same layout, a figure of its own."""
    rows = published.social_scores()
    rows = rows[(rows["rater"] == published.HUMAN) & (rows["variant"] != published.PARTNER)]
    rows = rows.rename(columns={"score": "mean"}).assign(low=float("nan"), high=float("nan"))
    return _profile(rows, "Profile as published, scores by people", f"{published.shown_as(rows)}.")


def _profile(rows: pd.DataFrame, title: str, caption: str) -> Figure:
    given = [name for name in SCORES if name in set(rows["dimension"])]
    places = places_of(in_order(rows["variant"]))
    n_columns = min(4, len(given))
    n_rows = -(-len(given) // n_columns)
    with drawing_style():
        size = (max(8.6, 2.9 * n_columns), n_rows * (0.3 * len(places) + 1.1) + 1.1)
        fig, grid = plt.subplots(n_rows, n_columns, figsize=size, sharey=True, squeeze=False)
        plt.close(fig)
        axes = list(grid.ravel())
        for ax, dimension in zip(axes, given, strict=False):
            _dimension_panel(ax, rows[rows["dimension"] == dimension], places, dimension)
        for ax in axes[len(given) :]:
            ax.set_visible(False)
        label_variants(axes[0], places)
        return finished(fig, title, caption, axes[: len(given)])


def _dimension_panel(ax: plt.Axes, rows: pd.DataFrame, places: Mapping[str, float], dimension: str) -> None:
    for row in rows.to_dict("records"):
        style = look(row["variant"])
        interval_point(ax, row, places[row["variant"]], "mean", style.line, style.marker)
    low, high = ALL_RANGES[dimension]
    margin = 0.06 * (high - low)
    ax.set_xlim(low - margin, high + margin)
    ax.set_title(SHORT.get(dimension, dimension).capitalize(), loc="left")
    ax.set_xlabel(f"{low:.3g} to {high:.3g}".replace("-", "−"), fontsize=8.5)
