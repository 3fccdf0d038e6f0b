"""From a mean down to single tasks: goal by scenario template, and every task with what each variant reached on it."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sotopia_pi.analysis.colours import EXPERT, LEARNED, in_order
from sotopia_pi.analysis.figure_parts import drawing_style, finished, panels, span_text
from sotopia_pi.analysis.goal_tables import select_side, studied
from sotopia_pi.analysis.plots import missing_figure

MOST_TEMPLATES = 40
TASK_COLUMNS = ["task_id", "codename", "template", "family", "hard", "has_zone"]


def task_goals(frame: pd.DataFrame, tasks: Iterable[Mapping[str, Any]] = ()) -> pd.DataFrame:
    """One row per evaluation task: what it is, and each variant's mean goal (trivial policies left out).

    Columns TASK_COLUMNS, n_episodes (of the variant played most), then a column a variant; NaN where nothing was rated.
    tasks: items of stage 01, for the codenames. Sorted by what the last learned variant lacks on the expert.
    """
    rows = select_side(studied(frame), "agent")
    names = in_order(rows["variant"])
    if rows.empty:
        return pd.DataFrame(columns=[*TASK_COLUMNS, "n_episodes"])
    codename = {task["id"]: task["scenario"]["codename"] for task in tasks}
    keys = ["task_id", "template", "family", "hard", "has_zone"]
    wide = rows.pivot_table("goal", keys, "variant", aggfunc="mean", dropna=False, observed=True)
    wide = wide.reindex(columns=names).loc[rows.drop_duplicates("task_id").set_index(keys).index]
    wide.insert(0, "n_episodes", rows.groupby([*keys, "variant"]).size().groupby(level=keys).max())
    table = wide.reset_index().rename_axis(None, axis=1)
    table.insert(1, "codename", table["task_id"].map(codename).fillna(""))
    return _widest_first(table, names)


def furthest_behind(table: pd.DataFrame, n: int = 12) -> pd.DataFrame:
    """The first n tasks of `task_goals` with a zone of agreement, with the columns that a page has room for."""
    return table[table["has_zone"].astype(bool)].drop(columns=["task_id", "template", "has_zone"]).head(n)


def template_goals(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per template and variant: mean goal of the agent, n_episodes rated, n_tasks; tasks with a zone only."""
    rows = select_side(frame[frame["has_zone"]], "agent")
    grouped = rows.groupby(["family", "template", "variant"], sort=True)
    return grouped.agg(
        goal=("goal", "mean"), n_episodes=("goal", "count"), n_tasks=("task_id", "nunique")
    ).reset_index()


def template_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """Goal by scenario template and variant as a chart of numbered cells (trivial policies left out).

    Of more than MOST_TEMPLATES the ones on which the variants differ most are drawn; the caption says so.
    """
    title = "Goal by scenario template"
    rows = studied(table)
    if rows.empty:
        return missing_figure(title, model_label, "no rated episodes")
    wide = rows.pivot(index=["family", "template"], columns="variant", values="goal")
    wide = wide[in_order(wide.columns)]
    spread = (wide.max(axis=1) - wide.min(axis=1)).fillna(0)
    drawn = wide.loc[spread.nlargest(MOST_TEMPLATES).index].sort_index()
    with drawing_style():
        fig, (ax,) = panels(1, width=8.6, height=0.22 * len(drawn) + 1.9)
        _cells(ax, drawn)
        _families(ax, drawn)
        n = f"n of a cell: tasks {span_text(rows['n_tasks'])}, rated episodes {span_text(rows['n_episodes'])}"
        left = f" {len(drawn)} of {len(wide)} templates, the widest apart." if len(drawn) < len(wide) else ""
        caption = f"{n}; tasks with a zone of agreement.{left} A template is the unit of intervals and has none itself."
        return finished(fig, f"{title} · {model_label}", caption, [ax])


def _cells(ax: Axes, wide: pd.DataFrame) -> None:
    ax.pcolormesh(wide.to_numpy(), cmap="cividis", vmin=0, vmax=10, edgecolors="white", linewidth=1.5)
    for (row, column), goal in np.ndenumerate(wide.to_numpy()):
        shown = "–" if np.isnan(goal) else f"{goal:.1f}"
        ink = "black" if goal > 5 or np.isnan(goal) else "white"
        ax.text(column + 0.5, row + 0.5, shown, ha="center", va="center", fontsize=8, color=ink)
    ax.set_xticks(np.arange(len(wide.columns)) + 0.5, wide.columns)
    ax.set_yticks(np.arange(len(wide)) + 0.5, [template for _, template in wide.index], fontsize=8)
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set_xlabel("agent (number and colour: mean goal, 0 dark to 10 light)")


def _families(ax: Axes, wide: pd.DataFrame) -> None:
    """A line between families, and each one's name at the right edge."""
    families = wide.index.get_level_values("family")
    right = len(wide.columns)
    for family in families.unique():
        places = np.flatnonzero(families == family)
        ax.axhline(places[-1] + 1, color="black", linewidth=0.9)
        name = family.replace("_", " ")
        ax.text(right + 0.06, places.mean() + 0.5, name, rotation=270, va="center", fontsize=8, clip_on=False)


def _widest_first(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Sorted by how far the last learned variant stays behind the expert; as they come where either was not played."""
    learned = [name for name in names if name in LEARNED]
    if not learned or EXPERT not in names:
        return table
    behind = table[EXPERT] - table[learned[-1]]
    return table.assign(behind=behind).sort_values(["behind", "task_id"], ascending=[False, True], ignore_index=True)
