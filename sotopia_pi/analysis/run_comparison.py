"""Several runs side by side: what each variant reached in each run, and differences between runs over common tasks."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from sotopia_pi.analysis.colours import in_order, look
from sotopia_pi.analysis.figure_parts import drawing_style, finished, interval_point, panels, span_text
from sotopia_pi.analysis.goal_tables import Tasks, goal_table, select_side, select_tasks, studied
from sotopia_pi.analysis.plots import missing_figure
from sotopia_pi.analysis.statistics import cluster_difference, holm, paired_t

KEYS = ["task_id", "template", "agent_side", "repeat"]
DIFFERENCES = ["variant", "first", "second", "difference", "low", "high", "p", "p_holm", "n_pairs", "n_tasks"]
DIFFERENCES += ["n_templates", "n_missing", "method"]


def goal_by_run(frames: Mapping[str, pd.DataFrame], labels: Mapping[str, str], tasks: Tasks = "all") -> pd.DataFrame:
    """`goal_table` of each run, with the columns run and scored (who scored and whom), in the order given.

    labels: run -> its label; runs of different judges stay apart by it in every table and figure.
    """
    parts = [goal_table(frame, tasks).assign(run=run, scored=labels[run]) for run, frame in frames.items()]
    filled = [part for part in parts if len(part)]
    if not filled:
        return goal_table(pd.DataFrame(columns=["gated", "has_zone", "role", "variant"]).astype({"gated": bool}), "all")
    table = pd.concat(filled, ignore_index=True)
    for name in ("scored", "run"):
        table.insert(0, name, table.pop(name))
    return table


def differences_between_runs(frames: Mapping[str, pd.DataFrame], labels: Mapping[str, str]) -> pd.DataFrame:
    """For every two runs scored alike: each variant's goal in the first minus in the second, over common tasks.

    A pair is one task (the same id), played from the same side in the same repeat. Runs that share no task, or that
    were scored by others, have no rows. p_holm: p adjusted for all rows of the table.
    """
    lines = []
    for first, second in combinations(frames, 2):
        if labels[first].split(",")[0] == labels[second].split(",")[0]:
            lines += _differences(frames, first, second)
    table = pd.DataFrame(lines)
    return table.assign(p_holm=holm(table["p"]))[DIFFERENCES] if lines else pd.DataFrame(columns=DIFFERENCES)


def runs_figure(table: pd.DataFrame) -> Figure:
    """Goal by run, one panel a variant (trivial policies left out), from `goal_by_run`."""
    title = "Goal completion by run"
    rows = studied(table).dropna(subset=["mean"])
    if rows.empty:
        return missing_figure(title, "no run", "none of the runs has a rated episode")
    names, runs = in_order(rows["variant"]), list(dict.fromkeys(rows["run"]))
    with drawing_style():
        fig, axes = panels(len(names), width=2.4, height=0.42 * len(runs) + 2.4)
        for ax, name in zip(axes, names, strict=True):
            for row in rows[rows["variant"] == name].to_dict("records"):
                y, style = runs.index(row["run"]), look(name)
                interval_point(ax, row, y, "mean", style.line, style.marker)
                ax.text(12.9, y, f"{row['mean']:.2f}", ha="right", va="center", fontsize=8)
            ax.set_title(name, loc="left")
            ax.set_xlim(-0.4, 13)
            ax.set_xticks(range(0, 11, 2))
            ax.set_xlabel("goal, 0 to 10", fontsize=8.5)
        axes[0].set_yticks(range(len(runs)), runs)
        axes[0].set_ylim(len(runs) - 0.5, -0.5)
        scored = "; ".join(
            f"{run}: {label}" for run, label in dict(zip(rows["run"], rows["scored"], strict=True)).items()
        )
        n = f"n: {span_text(rows['n_episodes'])} rated episodes, {span_text(rows['n_templates'])} templates a point"
        caption = f"{n}. Intervals: {rows['method'].iloc[0]}. {scored}."
        return finished(fig, f"{title} · agents of {len(runs)} runs", caption, axes)


def _differences(frames: Mapping[str, pd.DataFrame], first: str, second: str) -> list[dict[str, Any]]:
    one, other = (select_side(select_tasks(frames[run]), "agent") for run in (first, second))
    both = one.merge(other[[*KEYS, "variant", "goal"]], on=[*KEYS, "variant"], suffixes=("_1", "_2"))
    lines = []
    for variant in in_order(both["variant"]):
        rows = both[both["variant"] == variant]
        templates = rows["template"].tolist()
        estimate = cluster_difference(rows["goal_1"], rows["goal_2"], templates, rows["task_id"].tolist())
        test = paired_t(rows["goal_1"], rows["goal_2"], templates)
        counts = {"n_pairs": estimate.n_episodes, "n_tasks": estimate.n_tasks, "n_templates": estimate.n_templates}
        value = {"difference": estimate.mean, "low": estimate.low, "high": estimate.high, "p": test.p}
        method = f"{estimate.method}; p by {test.method}"
        head = {"variant": variant, "first": first, "second": second}
        lines.append({**head, **value, **counts, "n_missing": estimate.n_missing, "method": method})
    return lines
