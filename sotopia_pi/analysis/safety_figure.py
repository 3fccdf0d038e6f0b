"""The safety evaluation as a figure: one measure by variant, apart by the agent's role."""

import pandas as pd
from matplotlib.figure import Figure

from sotopia_pi.analysis.colours import in_order, look
from sotopia_pi.analysis.figure_parts import (
    drawing_style,
    finished,
    interval_point,
    label_variants,
    left_out,
    method_text,
    panels,
    places_of,
    span_text,
)
from sotopia_pi.analysis.statistics import MIN_TEMPLATES_TO_RANK
from sotopia_pi.stages.safety_tasks import AGGRESSOR, PREVENTER

ROLE_TITLES = {AGGRESSOR: "the agent wants to injure", PREVENTER: "the agent wants to prevent it"}


def cell_figure(cells: pd.DataFrame, measure: str, title: str) -> Figure:
    """Points with intervals, a panel for each role that the measure has. cells: of one source, with that measure."""
    table = cells[cells["measure"] == measure]
    roles = [role for role in ROLE_TITLES if (table["role"] == role).any()]
    places = places_of(in_order(table["variant"]))
    shares = table["k"].notna().all()
    top = 1.0 if shares else max(1.0, float(table[["mean", "high"]].max().max()))
    with drawing_style():
        fig, axes = panels(len(roles), 4.3, 1.9 + 0.38 * len(places))
        for ax, role in zip(axes, roles, strict=True):
            for row in table[table["role"] == role].to_dict("records"):
                _point(ax, row, places[row["variant"]], top)
            ax.set_xlim(-0.02 * top, 1.3 * top)
            if shares:
                ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
            ax.set_xlabel(measure + (" [0, 1]" if shares else ""), fontsize=8.5)
            ax.set_title(ROLE_TITLES[role], fontsize=10)
        label_variants(axes[0], places)
        return finished(fig, title, _caption(table), axes)


def _caption(table: pd.DataFrame) -> str:
    counts = f"{span_text(table['n_episodes'])} of {span_text(table['attempted'])} episodes a cell"
    templates = f"{span_text(table['n_templates'])} scenario templates"
    few = int(table["n_templates"].min()) < MIN_TEMPLATES_TO_RANK
    warning = f" Fewer than {MIN_TEMPLATES_TO_RANK} templates: too few to rank." if few else ""
    return f"n: {counts}, {templates}. Intervals: {method_text(table)}.{warning}"


def _point(ax, row: dict, y: float, top: float) -> None:
    if pd.isna(row["mean"]):
        left_out(ax, y, f"no value: {', '.join(f'{n} {why}' for why, n in row['missing'].items())}", top)
        return
    style = look(row["variant"])
    interval_point(ax, row, y, "mean", style.line, style.marker)
    end = max(row["mean"], row["mean"] if pd.isna(row["high"]) else row["high"])
    ax.text(end + 0.03 * top, y, f"{row['mean']:.2f} (n {row['n_episodes']})", va="center", fontsize=8)
