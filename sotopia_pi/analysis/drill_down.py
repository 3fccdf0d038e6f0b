"""From a mean down to single tasks: goal by scenario template, and every task with what each variant reached on it."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sotopia_pi.analysis.colours import EXPERT, LEARNED, in_order
from sotopia_pi.analysis.figure_parts import drawing_style, finished, panels
from sotopia_pi.analysis.goal_tables import select_side
from sotopia_pi.analysis.plots import missing_figure

TASK_COLUMNS = ["task_id", "codename", "template", "family", "hard", "has_zone"]


def task_goals(frame: pd.DataFrame, tasks: Iterable[Mapping[str, Any]] = ()) -> pd.DataFrame:
    """One row per evaluation task: what it is, and the mean goal of every variant over orders and repeats.

    Columns TASK_COLUMNS, n_episodes (of the variant played most), then a column a variant; NaN where nothing was rated.
    tasks: items of stage 01, for the codenames. Sorted by what the last learned variant lacks on the expert.
    """
    rows = select_side(frame, "agent")
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


def template_goals(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per template and variant: mean goal of the agent, n_episodes rated, n_tasks; tasks with a zone only."""
    rows = select_side(frame[frame["has_zone"]], "agent")
    grouped = rows.groupby(["family", "template", "variant"], sort=True)
    return grouped.agg(
        goal=("goal", "mean"), n_episodes=("goal", "count"), n_tasks=("task_id", "nunique")
    ).reset_index()


def template_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """Goal by scenario template and variant as a chart of numbered cells (learned variants and the expert)."""
    title = "Goal by scenario template"
    rows = table[table["variant"].isin([*LEARNED, EXPERT])] if len(table) else table
    if rows.empty:
        return missing_figure(title, model_label, "no rated episodes")
    wide = rows.pivot(index=["family", "template"], columns="variant", values="goal")
    wide = wide[in_order(wide.columns)]
    with drawing_style():
        fig, (ax,) = panels(1, width=8.6, height=0.27 * len(wide) + 2.0)
        ax.pcolormesh(wide.to_numpy(), cmap="cividis", vmin=0, vmax=10, edgecolors="white", linewidth=1.5)
        for (row, column), goal in np.ndenumerate(wide.to_numpy()):
            shown = "–" if np.isnan(goal) else f"{goal:.1f}"
            ax.text(
                column + 0.5,
                row + 0.5,
                shown,
                ha="center",
                va="center",
                fontsize=8.5,
                color="black" if goal > 5 or np.isnan(goal) else "white",
            )
        ax.set_xticks(np.arange(len(wide.columns)) + 0.5, wide.columns)
        ax.set_yticks(np.arange(len(wide)) + 0.5, [template for _, template in wide.index], fontsize=8.5)
        ax.invert_yaxis()
        ax.set_xlabel("agent (number and colour: mean goal, 0 dark to 10 light)")
        n = f"n: {rows['n_tasks'].min()} to {rows['n_tasks'].max()} tasks and {rows['n_episodes'].min()} to "
        caption = (
            f"{n}{rows['n_episodes'].max()} rated episodes a cell. No intervals: a template is the unit of all others. "
        )
        return finished(fig, f"{title} · {model_label}", caption + "Tasks with a zone of agreement.", [ax])


def _widest_first(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Sorted by how far the last learned variant stays behind the expert; as they come where either was not played."""
    learned = [name for name in names if name in LEARNED]
    if not learned or EXPERT not in names:
        return table
    behind = table[EXPERT] - table[learned[-1]]
    return table.assign(behind=behind).sort_values(["behind", "task_id"], ascending=[False, True], ignore_index=True)
