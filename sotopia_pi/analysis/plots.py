"""Figures of social evaluation, drawn from the tidy tables of `tables`.

Every figure says in its title what is compared and how it was scored, carries units and ranges on its axes, and
prints n and the interval's method underneath. A table without rows gives a panel that says what is missing.
"""

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from sotopia_pi.analysis.colours import PARTNER_COLOUR, in_order, look
from sotopia_pi.analysis.comparisons import ranked
from sotopia_pi.analysis.figure_parts import (
    bars,
    caption_counts,
    caption_legend,
    drawing_style,
    expert_line,
    figure_bytes,
    finished,
    interval_point,
    label_variants,
    left_out,
    method_text,
    panels,
    places_of,
    save_figure,
    score_axis,
    span_text,
)
from sotopia_pi.analysis.goal_tables import PARTS

__all__ = [
    "both_sides_figure",
    "family_figure",
    "figure_bytes",
    "goal_figure",
    "length_figure",
    "loss_figure",
    "missing_figure",
    "paired_figure",
    "parts_figure",
    "save_figure",
]

GOAL_AXIS = "goal completion (0 = no deal or a bad one, 10 = best possible)"
TASKS_NAMES_IN_PANELS = {"all": "All tasks", "hard": "Hard tasks only"}


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
    places = places_of(names)
    with drawing_style():
        fig, axes = panels(len(filled), width=5.1 if len(filled) > 1 else 8.6, height=0.36 * len(names) + 2.2)
        for ax, (tasks, table) in zip(axes, filled.items(), strict=True):
            ax.set_title(TASKS_NAMES_IN_PANELS.get(tasks, tasks), loc="left")
            expert_line(ax, table)
            bars(ax, table, places, (0, 10))
            for variant in (v for v in names if v not in set(table["variant"])):
                left_out(ax, places[variant], notes.get(variant, "not played"), 10)
            score_axis(ax, 10, GOAL_AXIS)
        label_variants(axes[0], places)
        return finished(
            fig, f"Goal completion by variant · {model_label}", caption_legend(names) + caption_counts(filled), axes
        )


def parts_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """What goal completion is made of: one panel a part, from `parts_table`."""
    title = "Parts of goal completion by variant"
    if table.empty:
        return missing_figure(title, model_label, "no rated episodes")
    places = places_of(in_order(table["variant"]))
    with drawing_style():
        fig, axes = panels(len(PARTS), width=2.75, height=0.33 * len(places) + 2.2)
        for ax, part in zip(axes, PARTS, strict=True):
            span = (0, 10) if part == "goal given a deal" else (0, 1)
            bars(ax, table[table["part"] == part], places, span)
            ax.set_title(part.capitalize(), loc="left")
            score_axis(ax, span[1], "goal, 0 to 10" if span[1] == 10 else "share, 0 to 1")
        label_variants(axes[0], places)
        return finished(fig, f"{title} · {model_label}", caption_counts({str(table["tasks"].iloc[0]): table}), axes)


def family_figure(table: pd.DataFrame, model_label: str, title: str = "Goal completion by task family") -> Figure:
    """Goal per family and variant, from `family_table` or `ungated_table`: one panel a family."""
    if table.empty:
        return missing_figure(title, model_label, "no rated episodes in these families")
    families = sorted(table["family"].unique())
    places = places_of(in_order(table["variant"]))
    with drawing_style():
        fig, axes = panels(len(families), width=2.75 if len(families) > 1 else 6, height=0.33 * len(places) + 2.2)
        for ax, family in zip(axes, families, strict=True):
            part = table[table["family"] == family]
            expert_line(ax, part)
            bars(ax, part, places, (0, 10))
            ax.set_title(f"{family.replace('_', ' ')} ({part['n_templates'].max()} templates)", loc="left")
            score_axis(ax, 10, "goal, 0 to 10")
        label_variants(axes[0], places)
        caption = caption_legend(places) + caption_counts({str(table["tasks"].iloc[0]): table})
        return finished(fig, f"{title} · {model_label}", caption, axes)


def both_sides_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """Goal of the agent and of the partner it met, from `both_sides_table`."""
    title = "Goal completion of both sides"
    if table.empty:
        return missing_figure(title, model_label, "no rated episodes")
    places = places_of(in_order(table["variant"]))
    with drawing_style():
        fig, (ax,) = panels(1, width=8.6, height=0.4 * len(places) + 2.3)
        for side, shift, marker in (("agent", -0.14, None), ("partner", 0.14, "|")):
            for row in table[table["side"] == side].to_dict("records"):
                face = look(row["variant"]).line if side == "agent" else PARTNER_COLOUR
                y = places[row["variant"]] + shift
                interval_point(ax, row, y, "mean", face, marker or look(row["variant"]).marker)
        score_axis(ax, 10, GOAL_AXIS)
        ax.set_xlim(left=-0.2)  # a mark at 0 is seen whole
        label_variants(ax, places)
        caption = (
            f"Marked point: the agent; grey tick: its partner. {caption_counts({str(table['tasks'].iloc[0]): table})}"
        )
        return finished(fig, f"{title} · {model_label}", caption, [ax])


def paired_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """Paired differences in goal with intervals, from `paired_table` or `comparisons_table`."""
    title = "Paired differences in goal completion"
    table = table.dropna(subset=["difference"]) if len(table) else table
    if table.empty:
        return missing_figure(title, model_label, "no task that two variants both played and both were rated on")
    rows = table.to_dict("records")
    with drawing_style():
        fig, (ax,) = panels(1, width=8.6, height=0.38 * len(rows) + 2.2)
        for y, row in enumerate(rows):
            interval_point(ax, row, y, "difference", look(row["variant"]).line, look(row["variant"]).marker)
            verdict = f"{row['difference']:+.2f}".replace("-", "−") + ("" if ranked(row) else " (not ranked)")
            ax.annotate(verdict, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
        ax.axvline(0, color="black", linewidth=0.9)
        ax.set_yticks(range(len(rows)), [f"{row['variant']} − {row['reference']}" for row in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlabel("difference in goal, points of 10 (right of 0: the first is better)")
        n = f"{span_text(table['n_pairs'])} pairs, {span_text(table['n_templates'])} templates"
        return finished(fig, f"{title} · {model_label}", f"n: {n}. Intervals: {method_text(table)}.", [ax])


def length_figure(table: pd.DataFrame, model_label: str) -> Figure:
    """Mean turns of an episode per variant, from `length_table`."""
    title = "Episode length by variant"
    if table.empty:
        return missing_figure(title, model_label, "no episodes")
    places = places_of(in_order(table["variant"]))
    with drawing_style():
        fig, (ax,) = panels(1, width=8.6, height=0.36 * len(places) + 2.2)
        top = float(table[["mean", "high"]].max().max())
        bars(ax, table, places, (0, top))
        ax.set_xlim(0, top * 1.12)
        ax.set_xlabel("turns of both sides together, all families, failed episodes included")
        label_variants(ax, places)
        return finished(fig, f"{title} · {model_label}", caption_counts({"all": table}, "episodes played"), [ax])


def loss_figure(curves: pd.DataFrame, model_label: str) -> Figure:
    """Training loss by step, from `training_curves.training_frame` (columns variant, step, loss, perhaps
    held_out_loss)."""
    title = "Training loss (own words only)"
    curves = curves.dropna(subset=["loss"]) if len(curves) else curves
    if curves.empty:
        return missing_figure(title, model_label, "no training log")
    with drawing_style():
        fig, (ax,) = panels(1, width=8.6, height=3.9)
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
            if "held_out_loss" in rows:
                held = rows.dropna(subset=["held_out_loss"])
                ax.plot(
                    held["step"], held["held_out_loss"], look(name).marker, color=look(name).colour, mec="black", ms=7
                )
        ax.set_ylim(bottom=0)
        ax.set_xlabel("optimiser step")
        ax.set_ylabel("cross-entropy, nats per token")
        ax.legend(frameon=False)
        return finished(
            fig,
            f"{title} · {model_label}",
            "Thin: every logged step; thick: running mean; marks: loss on held-out examples, where measured.",
            [ax],
        )


def missing_figure(title: str, model_label: str, what: str) -> Figure:
    """A panel in a figure's place that says what is missing."""
    with drawing_style():
        fig, (ax,) = panels(1, width=8.6, height=2.2)
        ax.text(
            0.5, 0.5, f"Nothing to show: {what}.", ha="center", va="center", transform=ax.transAxes, color="#444444"
        )
        ax.set_axis_off()
        return finished(fig, f"{title} · {model_label}", "", [ax])
