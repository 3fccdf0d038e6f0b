"""Figures of accuracy on multiple-choice questions; the paper's own numbers stand in a panel of their own."""

import textwrap
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sotopia_pi.analysis import published
from sotopia_pi.analysis.colours import in_order, look
from sotopia_pi.analysis.figure_parts import (
    drawing_style,
    finished,
    interval_point,
    label_variants,
    panels,
    places_of,
    span_text,
)
from sotopia_pi.analysis.mmlu_tables import AT_CHANCE, CHANCE, chance_table, group_table
from sotopia_pi.analysis.plots import missing_figure

NAME_WIDTH = 24
"""Characters of a variant's name in a line: further models are named by folders."""
TITLES = {"letters": "Accuracy by most probable letter", "reply": "Accuracy by first letter of a reply"}


def accuracy_figure(frame: pd.DataFrame, way: str, label: str, absent: Mapping[str, str] | None = None) -> Figure:
    """Accuracy of one way of answering by variant, one panel a group, from `answers_frame`.

    label: the set of questions and the model. absent: variant -> why it was not asked, told in the caption.
    """
    title = TITLES[way]
    frame = frame[frame["way"] == way]
    rows = group_table(frame)
    if rows.empty:
        return missing_figure(title, label, f"nobody was asked this way ({way})")
    groups = list(rows["group"].unique())
    places = places_of(in_order(rows["variant"]))
    with drawing_style():
        fig, axes = panels(len(groups), width=2.2, height=0.4 * len(places) + 2.4)
        for ax, group in zip(axes, groups, strict=True):
            part = rows[rows["group"] == group]
            for row in part.to_dict("records"):
                style = look(row["variant"])
                interval_point(ax, row, places[row["variant"]], "accuracy", style.line, style.marker)
            ax.axvline(CHANCE, color="black", linewidth=0.9, linestyle=":")
            ax.set_title(f"{group}\nn = {span_text(part['n'])}", loc="left")
            _percent_axis(ax)
        label_variants(axes[0], places)
        axes[0].set_yticks(list(places.values()), [textwrap.fill(name, NAME_WIDTH) for name in places])
        notes = {row.variant: row.verdict for row in chance_table(frame).itertuples() if row.verdict == AT_CHANCE}
        told = " ".join(f"{variant}: {why}." for variant, why in {**notes, **(absent or {})}.items())
        caption = f"Dotted: chance (25 %). Intervals: {rows['method'].iloc[0]}. {told}"
        return finished(fig, f"{title} · {label}", caption, axes)


def paper_figure() -> Figure:
    """What the paper reports of MMLU, by variant: one panel, no interval, for none was published."""
    rows = published.mmlu()
    places = places_of(in_order(rows["variant"]))
    with drawing_style():
        fig, (ax,) = panels(1, width=8.6, height=0.4 * len(places) + 2.0)
        for row in rows.to_dict("records"):
            style, share = look(row["variant"]), row["accuracy_percent"] / 100
            ax.scatter([share], [places[row["variant"]]], s=45, marker=style.marker, color=style.line, zorder=3)
            ax.annotate(
                f"{row['accuracy_percent']:.2f} %",
                (share, places[row["variant"]]),
                (8, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
        ax.axvline(CHANCE, color="black", linewidth=0.9, linestyle=":")
        _percent_axis(ax)
        label_variants(ax, places)
        shots, n_subjects = int(rows["shots"].iloc[0]), int(rows["n_subjects"].iloc[0])
        caption = (
            f"{published.PAPER}, Table 4: Mistral-7B and its variants, {n_subjects} subjects, {shots} shots, first "
            f"letter of a generated reply; no intervals were published. Dotted: chance."
        )
        return finished(fig, "MMLU as the paper reports it", caption, [ax])


def _percent_axis(ax: Axes) -> None:
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    ax.set_xlabel("correct, percent", fontsize=8.5)
