"""What the figures are drawn with: panels, bars, interval points, axes, captions, and files that repeat to the byte."""

import io
import textwrap
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from sotopia_pi.analysis.colours import EXPERT, FIXED, LEARNED, REFERENCE_COLOUR, TRIVIAL, look
from sotopia_pi.analysis.escaping import visible
from sotopia_pi.analysis.statistics import MIN_TEMPLATES_TO_RANK

TASKS_NAMES = {"all": "all tasks", "hard": "hard tasks"}
BAR, GAP = 0.62, 0.45
LONGEST_TICK, LONGEST_LINE, LONGEST_TITLE, LONGEST_REASON = 48, 90, 140, 60
"""Most characters of a tick's name, a line inside the panels, a figure's title, and a reason that stands for a bar."""
HALO = [patheffects.withStroke(linewidth=2.5, foreground="white")]
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "sotopia-pi",
}


def figure_bytes(fig: Figure, kind: str = "png") -> bytes:
    """A figure as PNG or SVG, without dates or random ids, so that equal data give equal files."""
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context(STYLE):
        fig.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


def save_figure(fig: Figure, path_stem: Path | str) -> tuple[Path, Path]:
    """Write `<stem>.png` and `<stem>.svg`; returns both paths."""
    stem = Path(path_stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = tuple(stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg"))
    for path, kind in zip(paths, ("png", "svg"), strict=True):
        path.write_bytes(figure_bytes(fig, kind))
    return paths


def drawing_style() -> AbstractContextManager:
    return mpl.rc_context({**sns.axes_style("ticks"), **STYLE})


def panels(n: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Axes side by side with a common y axis. The figure is closed for pyplot, so a notebook shows it once."""
    fig, axes = plt.subplots(1, n, figsize=(max(8.6, width * n), height), sharey=True, squeeze=False)
    plt.close(fig)
    return fig, list(axes[0])


def places_of(names: Iterable[str]) -> dict[str, float]:
    """Vertical place of each variant: learned ones, the expert, trivial policies and fixed rules, with gaps between."""
    places: dict[str, float] = {}
    y, before = 0.0, None
    kinds = {"learned": LEARNED, "expert": (EXPERT,), "trivial": TRIVIAL, "fixed": FIXED}
    for name in names:
        group = next((kind for kind, members in kinds.items() if name in members), "own")
        if before not in (None, group):
            y += GAP
        places[name] = y
        y, before = y + 1, group
    return places


def bars(ax: Axes, table: pd.DataFrame, places: Mapping[str, float], span: tuple[float, float]) -> None:
    low, high = span
    for row in table.to_dict("records"):
        y, style = places[row["variant"]], look(row["variant"])
        if pd.isna(row["mean"]):
            left_out(ax, y, "no scores", high)
            continue
        edge = "#555555" if style.hatch else style.colour
        ax.barh(y, row["mean"], BAR, color=style.colour, hatch=style.hatch, edgecolor=edge, linewidth=0.6, zorder=2)
        end = row["mean"]
        if not pd.isna(row["low"]):
            ax.plot([row["low"], row["high"]], [y, y], color="black", linewidth=1.4, zorder=4, solid_capstyle="butt")
            end = max(end, row["high"])
        text = f"{row['mean']:.2f}" if high <= 1 else f"{row['mean']:.1f}"
        ax.text(end + 0.02 * (high - low), y, text, va="center", fontsize=8.5, zorder=5, path_effects=HALO)


def interval_point(ax: Axes, row: Mapping, y: float, value: str, colour: str, marker: str) -> None:
    if pd.isna(row[value]):
        return
    if not pd.isna(row["low"]):
        ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2, zorder=2)
    size = 120 if marker == "*" else 45
    face = (
        {"color": colour, "linewidths": 2}
        if marker in "x|"
        else {"color": colour, "edgecolors": "black", "linewidths": 0.5}
    )
    ax.scatter([row[value]], [y], s=size, marker=marker, zorder=3, **face)


def expert_line(ax: Axes, table: pd.DataFrame) -> None:
    for row in table[table["variant"] == EXPERT].dropna(subset=["mean"]).to_dict("records"):
        ax.axvline(row["mean"], color=REFERENCE_COLOUR, linewidth=1.3, linestyle="--", zorder=1)
        if not pd.isna(row["low"]):
            ax.axvspan(row["low"], row["high"], color=REFERENCE_COLOUR, alpha=0.1, linewidth=0, zorder=0)


def left_out(ax: Axes, y: float, why: str, width: float) -> None:
    """Words where a bar is missing; of a long `not trained: …` what stands before the colon, texts tell the rest."""
    if len(why) > LONGEST_REASON:
        why = textwrap.shorten(why.partition(":")[0], LONGEST_REASON, placeholder=" …")
    ax.text(
        0.015 * width,
        y,
        why,
        va="center",
        fontsize=8,
        style="italic",
        color="#555555",
    )


def score_axis(ax: Axes, top: float, label: str) -> None:
    """Ticks up to the top of the scale; a little room beyond it for the numbers."""
    ax.set_xlim(0, 1.12 * top)
    ax.set_xticks([i * top / 5 for i in range(6)], [f"{i * top / 5:g}" for i in range(6)])
    ax.set_xlabel(label, fontsize=8.5)


def label_variants(ax: Axes, places: Mapping[str, float]) -> None:
    ax.set_yticks(list(places.values()), list(places))
    ax.set_ylim(max(places.values()) + 0.6, -0.6)
    for text in ax.get_yticklabels():
        if text.get_text() in (*TRIVIAL, *FIXED):
            text.set_color("#555555")
            text.set_style("italic")


def caption_counts(tables: Mapping[str, pd.DataFrame], unit: str = "rated episodes") -> str:
    """The line under a plot: n per panel, what is missing, how the interval was made."""
    parts = []
    for tasks, table in tables.items():
        n = f"{span_text(table['n_episodes'])} {unit} a variant, {span_text(table['n_tasks'])} tasks"
        parts.append(f"{TASKS_NAMES.get(tasks, tasks)}: {n}, {span_text(table['n_templates'])} scenario templates")
    scored = [table.loc[table["n_episodes"] > 0, "n_templates"] for table in tables.values()]
    few = any((templates < MIN_TEMPLATES_TO_RANK).any() for templates in scored)
    warning = f" Where fewer than {MIN_TEMPLATES_TO_RANK} templates are scored: too few to rank." if few else ""
    return f"n: {'; '.join(parts)}. Intervals: {method_text(next(iter(tables.values())))}.{warning}"


def caption_legend(variants: Iterable[str]) -> str:
    """What a dashed line and hatching mean, where they occur."""
    known = set(variants)
    line = "Dashed line and band: expert. " if EXPERT in known else ""
    return line + ("Hatched: trivial policies and fixed rules. " if known & {*TRIVIAL, *FIXED} else "")


def span_text(column: pd.Series) -> str:
    low, high = int(column.min()), int(column.max())
    return str(low) if low == high else f"{low} to {high}"


def method_text(table: pd.DataFrame) -> str:
    return str(table["method"].iloc[0])


def finished(fig: Figure, title: str, caption: str, axes: list[Axes]) -> Figure:
    """Grid, title and caption of a figure; names too long for it, which others may choose, are cut."""
    _cut_names(fig)
    for ax in axes:
        ax.grid(axis="x", color="#DDDDDD", linewidth=0.6, zorder=0)
        ax.set_axisbelow(True)
        sns.despine(ax=ax)
    width, height = fig.get_size_inches()
    lines = textwrap.wrap(visible(caption), int(width * 15.5))
    title = textwrap.fill(_cut(title, LONGEST_TITLE), int(width * 10.5))
    fig.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    foot = (0.17 * len(lines) + 0.12) / height
    fig.text(
        0.01, 0.08 / height, "\n".join(lines), ha="left", va="bottom", fontsize=8, color="#444444", linespacing=1.35
    )
    fig.tight_layout(rect=(0, foot, 1, 0.99))
    return fig


def _cut_names(fig: Figure) -> None:
    for axis in (axis for ax in fig.axes for axis in (ax.xaxis, ax.yaxis)):
        names = [label.get_text() for label in axis.get_ticklabels()]
        fitting = [_cut(name, LONGEST_TICK) for name in names]
        if fitting != names:
            axis.set_ticklabels(fitting)
    for text in fig.findobj(Text):
        text.set_text(_cut(text.get_text(), LONGEST_LINE))


def _cut(text: str, most: int) -> str:
    """Every line cut to so many characters, hidden ones by their number."""
    lines = (visible(line) for line in text.split("\n"))
    return "\n".join(line if len(line) <= most else f"{line[: most - 1]}…" for line in lines)
