"""What else may explain a difference in goal: longer talks, and episodes or turns that failed.

Trivial policies are left out: no word of theirs can be misread, and nobody asks how they got on by length.
"""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from sotopia_pi.analysis.colours import in_order, look
from sotopia_pi.analysis.figure_parts import drawing_style, finished, panels, span_text
from sotopia_pi.analysis.goal_tables import by_variant, estimate_row, select_side, select_tasks, studied
from sotopia_pi.analysis.plots import missing_figure
from sotopia_pi.analysis.statistics import cluster_correlation

LENGTHS = ((1, 4), (5, 8), (9, 12), (13, 16), (17, None))
"""Turns of an episode, both sides together, in groups of four; the last is open."""


def failure_confound_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Goal of the agent over all rated episodes, and over those in which none of its turns failed.

    Where the two differ, the variant is held back by unreadable output rather than by how it negotiates. Failed
    episodes have no goal in either.
    """
    rows = select_side(select_tasks(studied(frame)), "agent")

    def lines(group: pd.DataFrame) -> Iterable[dict[str, Any]]:
        clean = group[(group["n_failed_turns"] == 0) & (group["outcome"] == "completed")]
        for counted, part in (("all", group), ("no failed turn", clean)):
            yield {"counted": counted, "dimension": "goal", **estimate_row(part)}

    return by_variant(rows, lines)


def length_confound_table(frame: pd.DataFrame) -> pd.DataFrame:
    """How goal hangs together with length: Pearson's r of goal and turns per variant, with its interval.

    mean_turns and mean_turns_deal: of all rated episodes and of those with a deal. A deal ends an episode and a partner
    who leaves does too, so r is a description and no cause.
    """
    rows = select_side(select_tasks(studied(frame)), "agent")
    lines = []
    for variant in in_order(rows["variant"]):
        group = rows[rows["variant"] == variant].dropna(subset=["goal"])
        templates, tasks = group["template"].tolist(), group["task_id"].tolist()
        r = cluster_correlation(group["goal"], group["n_turns"], templates, tasks)
        turns = {
            "mean_turns": group["n_turns"].mean(),
            "mean_turns_deal": group.loc[group["deal"] == 1, "n_turns"].mean(),
        }
        counts = {"n_episodes": r.n_episodes, "n_templates": r.n_templates, "method": r.method}
        lines.append({"variant": variant, "pearson": r.mean, "low": r.low, "high": r.high, **turns, **counts})
    columns = [
        "variant",
        "pearson",
        "low",
        "high",
        "mean_turns",
        "mean_turns_deal",
        "n_episodes",
        "n_templates",
        "method",
    ]
    return pd.DataFrame(lines, columns=columns)


def goal_by_length_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Goal of the agent per variant and group of episode lengths (see LENGTHS)."""
    rows = select_side(select_tasks(studied(frame)), "agent")

    def lines(group: pd.DataFrame) -> Iterable[dict[str, Any]]:
        for low, high in LENGTHS:
            part = group[group["n_turns"].between(low, high or math.inf)]
            if part["goal"].notna().any():
                yield {
                    "turns": f"{low} to {high}" if high else f"{low} or more",
                    "dimension": "goal",
                    **estimate_row(part),
                }

    return by_variant(rows, lines)


def goal_by_length_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """Goal over episode length, one panel a variant, n at each point."""
    title = "Goal by length of the episode"
    if table.empty:
        return missing_figure(title, model_label, "no rated episodes")
    names = in_order(table["variant"])
    ticks = [f"{low}–{high}" if high else f"{low}+" for low, high in LENGTHS]
    place = {f"{low} to {high}" if high else f"{low} or more": i for i, (low, high) in enumerate(LENGTHS)}
    with drawing_style():
        fig, axes = panels(len(names), width=2.3, height=3.9)
        for ax, name in zip(axes, names, strict=True):
            part, style = table[table["variant"] == name], look(name)
            x = [place[turns] for turns in part["turns"]]
            ax.plot(x, part["mean"], style.marker, color=style.line, linestyle="-", zorder=3)
            for i, row in zip(x, part.to_dict("records"), strict=True):
                ax.plot([i, i], [row["low"], row["high"]], color=style.line, linewidth=1.3)
                ax.text(i, -1.25, str(row["n_episodes"]), ha="center", fontsize=7.5, color="#444444")
            ax.set_title(name, loc="left")
            ax.set_ylim(-1.9, 10.3)
            ax.set_yticks(range(0, 11, 2))
            ax.set_xlim(-0.6, len(ticks) - 0.4)
            ax.set_xticks(range(len(ticks)), ticks, fontsize=8)
            ax.set_xlabel("turns, both sides", fontsize=8.5)
        axes[0].set_ylabel("goal of the agent, 0 to 10")
        caption = f"n: rated episodes, under each point. Intervals: {table['method'].iloc[0]}. {_templates(table)}"
        return finished(fig, f"{title} · {model_label}", caption, axes)


def _templates(rows: pd.DataFrame) -> str:
    return f"A point rests on {span_text(rows['n_templates'])} scenario templates; one alone has no interval."
