"""Figures of social evaluation, drawn from the tidy tables of `tables`.

Every figure says in its title what is compared and how it was scored, carries units and ranges on its axes, and
prints n and the interval's method underneath. A table without rows gives a panel that says what is missing.
"""

import io
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sotopia_pi.analysis.colours import (
    EXPERT,
    LEARNED,
    PARTNER_COLOUR,
    REFERENCE_COLOUR,
    TRIVIAL,
    in_order,
    look,
)
from sotopia_pi.analysis.comparisons import ranked
from sotopia_pi.analysis.goal_tables import PARTS
from sotopia_pi.analysis.statistics import MIN_TEMPLATES_TO_RANK

GOAL_AXIS = "goal completion (0 = no deal or a bad one, 10 = best possible)"
TASKS_NAMES = {"all": "all tasks", "hard": "hard tasks"}
TASKS_NAMES_IN_PANELS = {"all": "All tasks", "hard": "Hard tasks only"}
BAR, GAP = 0.62, 0.45
HALO = [patheffects.withStroke(linewidth=2.5, foreground="white")]
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "sotopia-pi",
}


def goal_figure(tables: Mapping[str, pd.DataFrame], model_label: str, notes: Mapping[str, str] | None = None) -> Figure:
    """Goal completion by variant, one panel per entry of `tables` ("all", "hard" -> goal_table), expert as a line.

    model_label: what was scored and how, e.g. "rule-scored negotiation, SmolLM2-135M". notes: variant -> why it has
    no bar ("not trained: …").
    """
    filled = {name: table for name, table in tables.items() if len(table)}
    if not filled:
        return missing_figure("Goal completion by variant", model_label, "no episodes of the social evaluation")
    notes = dict(notes or {})
    names = in_order([*notes, *(v for table in filled.values() for v in table["variant"])])
    places = _places(names)
    with _style():
        fig, axes = _panels(len(filled), width=5.1 if len(filled) > 1 else 8.6, height=0.36 * len(names) + 2.2)
        for ax, (tasks, table) in zip(axes, filled.items(), strict=True):
            ax.set_title(TASKS_NAMES_IN_PANELS.get(tasks, tasks), loc="left")
            _expert_line(ax, table)
            _bars(ax, table, places, (0, 10))
            for variant in set(names) - set(table["variant"]):
                _left_out(ax, places[variant], notes.get(variant, "not played"), 10)
            _score_axis(ax, 10, GOAL_AXIS)
        _label_variants(axes[0], places)
        return _finished(fig, f"Goal completion by variant · {model_label}", _legend(names) + _counts(filled), axes)


def parts_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """What goal completion is made of: one panel a part, from `parts_table`."""
    title = "Parts of goal completion by variant"
    if table.empty:
        return missing_figure(title, model_label, "no rated episodes")
    places = _places(in_order(table["variant"]))
    with _style():
        fig, axes = _panels(len(PARTS), width=2.75, height=0.33 * len(places) + 2.2)
        for ax, part in zip(axes, PARTS, strict=True):
            span = (0, 10) if part == "goal given a deal" else (0, 1)
            _bars(ax, table[table["part"] == part], places, span)
            ax.set_title(part.capitalize(), loc="left")
            _score_axis(ax, span[1], "goal, 0 to 10" if span[1] == 10 else "share, 0 to 1")
        _label_variants(axes[0], places)
        return _finished(fig, f"{title} · {model_label}", _counts({str(table["tasks"].iloc[0]): table}), axes)


def family_figure(table: pd.DataFrame, model_label: str, title: str = "Goal completion by task family") -> Figure:
    """Goal per family and variant, from `family_table` or `ungated_table`: one panel a family."""
    if table.empty:
        return missing_figure(title, model_label, "no rated episodes in these families")
    families = sorted(table["family"].unique())
    places = _places(in_order(table["variant"]))
    with _style():
        fig, axes = _panels(len(families), width=2.75 if len(families) > 1 else 6, height=0.33 * len(places) + 2.2)
        for ax, family in zip(axes, families, strict=True):
            part = table[table["family"] == family]
            _expert_line(ax, part)
            _bars(ax, part, places, (0, 10))
            ax.set_title(f"{family.replace('_', ' ')} ({part['n_templates'].max()} templates)", loc="left")
            _score_axis(ax, 10, "goal, 0 to 10")
        _label_variants(axes[0], places)
        caption = _legend(places) + _counts({str(table["tasks"].iloc[0]): table})
        return _finished(fig, f"{title} · {model_label}", caption, axes)


def both_sides_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """Goal of the agent and of the partner it met, from `both_sides_table`."""
    title = "Goal completion of both sides"
    if table.empty:
        return missing_figure(title, model_label, "no rated episodes")
    places = _places(in_order(table["variant"]))
    with _style():
        fig, (ax,) = _panels(1, width=8.6, height=0.4 * len(places) + 2.3)
        for side, shift, marker in (("agent", -0.14, None), ("partner", 0.14, "|")):
            for row in table[table["side"] == side].to_dict("records"):
                face = look(row["variant"]).line if side == "agent" else PARTNER_COLOUR
                y = places[row["variant"]] + shift
                _point(ax, row, y, "mean", face, marker or look(row["variant"]).marker)
        _score_axis(ax, 10, GOAL_AXIS)
        _label_variants(ax, places)
        caption = f"Marked point: the agent; grey tick: its partner. {_counts({str(table['tasks'].iloc[0]): table})}"
        return _finished(fig, f"{title} · {model_label}", caption, [ax])


def paired_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """Paired differences in goal with intervals, from `paired_table` or `comparisons_table`."""
    title = "Paired differences in goal completion"
    table = table.dropna(subset=["difference"]) if len(table) else table
    if table.empty:
        return missing_figure(title, model_label, "no task that two variants both played and both were rated on")
    rows = table.to_dict("records")
    with _style():
        fig, (ax,) = _panels(1, width=8.6, height=0.38 * len(rows) + 2.2)
        for y, row in enumerate(rows):
            _point(ax, row, y, "difference", look(row["variant"]).line, look(row["variant"]).marker)
            verdict = f"{row['difference']:+.2f}".replace("-", "−") + ("" if ranked(row) else " (not ranked)")
            ax.annotate(verdict, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
        ax.axvline(0, color="black", linewidth=0.9)
        ax.set_yticks(range(len(rows)), [f"{row['variant']} − {row['reference']}" for row in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlabel("difference in goal, points of 10 (right of 0: the first is better)")
        n = f"{_span(table['n_pairs'])} pairs, {_span(table['n_templates'])} templates"
        return _finished(fig, f"{title} · {model_label}", f"n: {n}. Intervals: {_method(table)}.", [ax])


def length_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """Mean turns of an episode per variant, from `length_table`."""
    title = "Episode length by variant"
    if table.empty:
        return missing_figure(title, model_label, "no episodes")
    places = _places(in_order(table["variant"]))
    with _style():
        fig, (ax,) = _panels(1, width=8.6, height=0.36 * len(places) + 2.2)
        top = float(table[["mean", "high"]].max().max())
        _bars(ax, table, places, (0, top))
        ax.set_xlim(0, top * 1.12)
        ax.set_xlabel("turns of both sides together, all families, failed episodes included")
        _label_variants(ax, places)
        return _finished(fig, f"{title} · {model_label}", _counts({"all": table}, "episodes played"), [ax])


def loss_figure(curves: pd.DataFrame, model_label: str) -> Figure:
    """Training loss by step, from `training_curves.training_frame` (columns variant, step, loss)."""
    title = "Training loss (own words only)"
    curves = curves.dropna(subset=["loss"]) if len(curves) else curves
    if curves.empty:
        return missing_figure(title, model_label, "no training log")
    with _style():
        fig, (ax,) = _panels(1, width=8.6, height=3.9)
        names = in_order(curves["variant"])
        sns.lineplot(
            curves,
            x="step",
            y="loss",
            hue="variant",
            hue_order=names,
            ax=ax,
            alpha=0.3,
            linewidth=0.9,
            legend=False,
            palette={n: look(n).colour for n in names},
            estimator=None,
        )
        for name in names:
            rows = curves[curves["variant"] == name].sort_values("step")
            smooth = rows["loss"].rolling(max(1, len(rows) // 12), min_periods=1, center=True).mean()
            ax.plot(rows["step"], smooth, color=look(name).colour, linewidth=2, label=f"{name} ({len(rows)} steps)")
        ax.set_ylim(bottom=0)
        ax.set_xlabel("optimiser step")
        ax.set_ylabel("cross-entropy, nats per token")
        ax.legend(frameon=False)
        return _finished(fig, f"{title} · {model_label}", "Thin: every logged step; thick: running mean.", [ax])


def missing_figure(title: str, model_label: str, what: str) -> Figure:
    """A panel in a figure's place that says what is missing."""
    with _style():
        fig, (ax,) = _panels(1, width=8.6, height=2.2)
        ax.text(
            0.5, 0.5, f"Nothing to show: {what}.", ha="center", va="center", transform=ax.transAxes, color="#444444"
        )
        ax.set_axis_off()
        return _finished(fig, f"{title} · {model_label}", "", [ax])


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


def _style():
    return mpl.rc_context({**sns.axes_style("ticks"), **STYLE})


def _panels(n: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Axes side by side with a common y axis. The figure is closed for pyplot, so a notebook shows it once."""
    fig, axes = plt.subplots(1, n, figsize=(max(8.6, width * n), height), sharey=True, squeeze=False)
    plt.close(fig)
    return fig, list(axes[0])


def _places(names: Iterable[str]) -> dict[str, float]:
    """Vertical place of each variant: learned ones, a gap, the expert, a gap, trivial baselines."""
    places: dict[str, float] = {}
    y, before = 0.0, None
    for name in names:
        group = (
            "expert" if name == EXPERT else "trivial" if name in TRIVIAL else "learned" if name in LEARNED else "own"
        )
        if before not in (None, group):
            y += GAP
        places[name] = y
        y, before = y + 1, group
    return places


def _bars(ax: Axes, table: pd.DataFrame, places: Mapping[str, float], span: tuple[float, float]) -> None:
    low, high = span
    for row in table.to_dict("records"):
        y, style = places[row["variant"]], look(row["variant"])
        if pd.isna(row["mean"]):
            _left_out(ax, y, "no scores", high)
            continue
        edge = "#555555" if style.hatch else style.colour
        ax.barh(y, row["mean"], BAR, color=style.colour, hatch=style.hatch, edgecolor=edge, linewidth=0.6, zorder=2)
        end = row["mean"]
        if not pd.isna(row["low"]):
            ax.plot([row["low"], row["high"]], [y, y], color="black", linewidth=1.4, zorder=4, solid_capstyle="butt")
            end = max(end, row["high"])
        text = f"{row['mean']:.2f}" if high <= 1 else f"{row['mean']:.1f}"
        ax.text(end + 0.02 * (high - low), y, text, va="center", fontsize=8.5, zorder=5, path_effects=HALO)


def _point(ax: Axes, row: Mapping, y: float, value: str, colour: str, marker: str) -> None:
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


def _expert_line(ax: Axes, table: pd.DataFrame) -> None:
    for row in table[table["variant"] == EXPERT].dropna(subset=["mean"]).to_dict("records"):
        ax.axvline(row["mean"], color=REFERENCE_COLOUR, linewidth=1.3, linestyle="--", zorder=1)
        if not pd.isna(row["low"]):
            ax.axvspan(row["low"], row["high"], color=REFERENCE_COLOUR, alpha=0.1, linewidth=0, zorder=0)


def _left_out(ax: Axes, y: float, why: str, width: float) -> None:
    ax.text(
        0.015 * width,
        y,
        textwrap.shorten(why, 60, placeholder=" …"),
        va="center",
        fontsize=8,
        style="italic",
        color="#555555",
    )


def _score_axis(ax: Axes, top: float, label: str) -> None:
    """Ticks up to the top of the scale; a little room beyond it for the numbers."""
    ax.set_xlim(0, 1.12 * top)
    ax.set_xticks([i * top / 5 for i in range(6)], [f"{i * top / 5:g}" for i in range(6)])
    ax.set_xlabel(label, fontsize=8.5)


def _label_variants(ax: Axes, places: Mapping[str, float]) -> None:
    ax.set_yticks(list(places.values()), list(places))
    ax.set_ylim(max(places.values()) + 0.6, -0.6)
    for text in ax.get_yticklabels():
        if text.get_text() in TRIVIAL:
            text.set_color("#555555")
            text.set_style("italic")


def _counts(tables: Mapping[str, pd.DataFrame], unit: str = "rated episodes") -> str:
    """The line under a plot: n per panel, what is missing, how the interval was made."""
    parts = []
    for tasks, table in tables.items():
        n = f"{_span(table['n_episodes'])} {unit} a variant, {_span(table['n_tasks'])} tasks"
        parts.append(f"{TASKS_NAMES.get(tasks, tasks)}: {n}, {_span(table['n_templates'])} scenario templates")
    fewest = min(int(table["n_templates"].min()) for table in tables.values())
    warning = (
        f" Fewer than {MIN_TEMPLATES_TO_RANK} templates: too few to rank." if fewest < MIN_TEMPLATES_TO_RANK else ""
    )
    return f"n: {'; '.join(parts)}. Intervals: {_method(next(iter(tables.values())))}.{warning}"


def _legend(variants: Iterable[str]) -> str:
    """What a dashed line and hatching mean, where they occur."""
    known = set(variants)
    line = "Dashed line and band: expert. " if EXPERT in known else ""
    return line + ("Hatched: trivial policies. " if known & set(TRIVIAL) else "")


def _span(column: pd.Series) -> str:
    low, high = int(column.min()), int(column.max())
    return str(low) if low == high else f"{low} to {high}"


def _method(table: pd.DataFrame) -> str:
    return str(table["method"].iloc[0])


def _finished(fig: Figure, title: str, caption: str, axes: list[Axes]) -> Figure:
    for ax in axes:
        ax.grid(axis="x", color="#DDDDDD", linewidth=0.6, zorder=0)
        ax.set_axisbelow(True)
        sns.despine(ax=ax)
    width, height = fig.get_size_inches()
    lines = textwrap.wrap(caption, int(width * 15.5))
    fig.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    foot = (0.17 * len(lines) + 0.12) / height
    fig.text(
        0.01, 0.08 / height, "\n".join(lines), ha="left", va="bottom", fontsize=8, color="#444444", linespacing=1.35
    )
    fig.tight_layout(rect=(0, foot, 1, 0.99))
    return fig
