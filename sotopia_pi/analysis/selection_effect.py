"""What selection did to the training data: goals of all sides that could be learned from, and of those kept."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sotopia_pi.analysis.figure_parts import drawing_style, finished, panels
from sotopia_pi.analysis.plots import missing_figure
from sotopia_pi.analysis.statistics import cluster_mean

Items = Iterable[Mapping[str, Any]]
COLUMNS = ["stage", "who", "family", "template", "task_id", "episode_id", "side", "goal", "kept"]
TABLE = ["stage", "who", "family", "sides", "mean", "low", "high", "n_episodes", "n_templates", "method"]
ALL = "all"


def selection_frame(sources: Iterable[tuple[str, Items, Items, Items]]) -> pd.DataFrame:
    """One row per rated side under study that a stage could choose: its goal, and whether it was kept.

    sources: (name, episodes, ratings, kept): episodes and ratings of stage 02 or 04, kept from `selection.jsonl` of
    stage 03 or 05; who: the episodes' tag. Sides without a goal (failed, unrated) could not be chosen: no row.
    """
    rows = [row for name, *items in sources for row in _candidates(name, *items)]
    return pd.DataFrame(rows, columns=COLUMNS)


def selection_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean goal before and after selection, for all and by family; sides: "all rated" or "kept" (none kept: no row)."""
    lines = []
    for (stage, who), rows in frame.groupby(["stage", "who"], sort=False):
        for family in (ALL, *sorted(rows["family"].unique())):
            part = rows if family == ALL else rows[rows["family"] == family]
            for sides, counted in (("all rated", part), ("kept", part[part["kept"]])):
                if len(counted):
                    lines.append({"stage": stage, "who": who, "family": family, "sides": sides, **_estimate(counted)})
    return pd.DataFrame(lines, columns=TABLE)


def selection_figure(frame: pd.DataFrame, model_label: str) -> Figure:
    """Goals of all rated sides and of the kept ones, as two step histograms, one panel a source."""
    title = "Goal before and after selection"
    if frame.empty:
        return missing_figure(title, model_label, "no rated training episodes")
    groups = list(frame.groupby(["stage", "who"], sort=False))
    edges = np.arange(0, 10.5, 1.0)
    with drawing_style():
        fig, axes = panels(len(groups), width=3.4, height=3.9)
        for ax, ((stage, who), rows) in zip(axes, groups, strict=True):
            kept = rows[rows["kept"]]
            ax.hist(rows["goal"], edges, weights=_shares(rows), color="#BBBBBB", label=f"all rated ({len(rows)})")
            ax.hist(
                kept["goal"],
                edges,
                weights=_shares(kept),
                histtype="step",
                color="#D55E00",
                linewidth=2,
                label=f"kept ({len(kept)})",
            )
            ax.axvline(rows["goal"].mean(), color="#555555", linewidth=1.3, linestyle=":")
            if len(kept):
                ax.axvline(kept["goal"].mean(), color="#D55E00", linewidth=1.3, linestyle="--")
            ax.set_title(f"{who} ({stage})", loc="left")
            ax.set_xlabel("goal, 0 to 10")
            ax.legend(frameon=False, fontsize=8, loc="upper right")
        axes[0].set_ylabel("share of the sides")
        axes[0].set_ylim(top=axes[0].get_ylim()[1] * 1.25)
        lines = (
            "Vertical lines: means, dotted of all rated and dashed of kept sides; their intervals stand in the table."
        )
        caption = f"n: sides, in brackets. {lines}"
        return finished(fig, f"{title} · {model_label}", caption, axes)


def _candidates(name: str, episodes: Items, ratings: Items, kept: Items) -> Iterable[dict[str, Any]]:
    by_id = {episode["id"]: episode for episode in episodes}
    chosen = {(one["episode_id"], one["side"]) for one in kept}
    for rating in ratings:
        episode, side = by_id.get(rating["episode_id"]), rating["side"]
        goal = rating["scores"].get("goal")
        if episode is None or goal is None or episode["agent_side"] not in (None, side):
            continue
        place = {column: episode[column] for column in ("family", "template", "task_id")}
        key = {"episode_id": episode["id"], "side": side, "kept": (episode["id"], side) in chosen}
        yield {"stage": name, "who": episode["tag"], **place, **key, "goal": goal}


def _shares(rows: pd.DataFrame) -> np.ndarray:
    return np.full(len(rows), 1 / max(1, len(rows)))


def _estimate(rows: pd.DataFrame) -> dict[str, Any]:
    estimate = cluster_mean(rows["goal"], rows["template"].tolist(), rows["task_id"].tolist())
    return {name: getattr(estimate, name) for name in TABLE[4:]}
