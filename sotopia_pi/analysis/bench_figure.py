"""What was measured beside other people's tools, as a table and a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sotopia_pi.analysis.figure_parts import finished

COLUMNS = ("work", "ours", "peer", "unit", "ratio", "spread", "must", "moonshot", "limit_share", "met", "correct")
PANELS_A_ROW = 3
OURS, ASKED = "#0072B2", "#D55E00"


def bench_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of `bench.json` with COLUMNS. ratio: above 1 where ours is better; spread: least to largest of its pairs."""
    frame = pd.DataFrame([{name: row[name] for name in COLUMNS} for row in rows], columns=list(COLUMNS))
    frame["spread"] = [f"[{low:.2f}, {high:.2f}]" if low is not None else "" for low, high in map(_ends, rows)]
    return frame


def works_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """What each row did, in words; load: before and after, in processes waiting for the CPU; wall_s: of all of it."""
    frame = pd.DataFrame(rows, columns=["work", "does", "note", "load", "wall_s"])
    frame["load"] = [", ".join(f"{load:.1f}" for load in row["load"]) for row in rows]
    frame["wall_s"] = [round(row["wall_s"]) for row in rows]
    return frame


def bench_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Ratio to the peer for every work that has one, with its least and largest pair and what is asked; log axis."""
    shown = [row for row in rows if row["ratio"] is not None][::-1]
    fig, ax = plt.subplots(figsize=(8, 0.55 * len(shown) + 1.6))
    plt.close(fig)  # a notebook draws whatever is open once more
    for place, row in enumerate(shown):
        low, high = _ends(row)
        ax.plot([low, high], [place, place], color=OURS, linewidth=2)
        ax.plot(row["ratio"], place, "o", color=OURS)
        if row["judged"] == "ratio":
            ax.plot(row["must"], place, "|", color=ASKED, markersize=16, markeredgewidth=2)
    ax.axvline(1, color="#888888", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_yticks(range(len(shown)), [row["work"] for row in shown])
    ax.set_xlabel("times as good as the peer (log scale)")
    pairs = sorted({len(row["pairs"]) for row in shown})
    caption = (
        f"Dots: median of {' or '.join(map(str, pairs)) or 'no'} pairs measured in turns; lines: least to largest; "
        "upright marks: what is asked. Peers and work: see the table."
    )
    return finished(fig, "Speed beside what people use otherwise, on the same work", caption, [ax])


def growth_frame(points: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Points of `growth.json`, a line for every value: curve, x, x_label, value, unit."""
    return pd.DataFrame(
        [
            {"curve": p["curve"], "x": p["x"], "x_label": p["x_label"], "value": value, "unit": unit}
            for p in points
            for unit, value in p["values"].items()
        ],
        columns=["curve", "x", "x_label", "value", "unit"],
    )


def growth_figure(frame: pd.DataFrame) -> Figure:
    """A panel for every curve and unit of `growth_frame`, both axes from zero upwards."""
    panels = list(frame.groupby(["curve", "unit"], sort=False))
    rows = max(1, -(-len(panels) // PANELS_A_ROW))
    fig, axes = plt.subplots(rows, PANELS_A_ROW, figsize=(9.5, 2.3 * rows + 1), squeeze=False)
    plt.close(fig)
    for ax, (_, points) in zip(axes.flat, panels, strict=False):
        ax.plot(points["x"], points["value"], "o-", color=OURS, markersize=4)
        ax.set_xlim(0, 1.05 * points["x"].max())
        ax.set_ylim(0, 1.15 * points["value"].max())
        ax.set_xlabel(points["x_label"].iloc[0])
        ax.set_ylabel(points["unit"].iloc[0])
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    caption = "Axes begin at zero: what grows in proportion is a straight line from the corner. Numbers: the table."
    return finished(fig, "How costs grow", caption, list(axes.flat[: len(panels)]))


def _ends(row: Mapping[str, Any]) -> tuple[float | None, float | None]:
    low, high = row["spread"] or (None, None)
    return low, high
