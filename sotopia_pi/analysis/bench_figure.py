"""What was measured beside other people's tools, as a table and a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sotopia_pi.analysis.figure_parts import finished

COLUMNS = ("work", "ours", "peer", "unit", "ratio", "spread", "must", "moonshot", "limit_share", "met", "correct")
OURS, ASKED = "#0072B2", "#D55E00"


def bench_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of `bench.json` with COLUMNS. ratio: above 1 where ours is better; spread: least to largest of its pairs."""
    frame = pd.DataFrame([{name: row[name] for name in COLUMNS} for row in rows], columns=list(COLUMNS))
    frame["spread"] = [f"[{low:.2f}, {high:.2f}]" if low is not None else "" for low, high in map(_ends, rows)]
    return frame


def bench_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Ratio to the peer for every work that has one, with its least and largest pair and what is asked; log axis."""
    shown = [row for row in rows if row["ratio"] is not None][::-1]
    fig, ax = plt.subplots(figsize=(8, 0.55 * len(shown) + 1.6))
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


def _ends(row: Mapping[str, Any]) -> tuple[float | None, float | None]:
    low, high = row["spread"] or (None, None)
    return low, high
