"""Goal completion against a factor: one estimate a point and variant, and its figure."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from sotopia_pi.analysis.colours import in_order, look
from sotopia_pi.analysis.figure_parts import drawing_style, finished, method_text, panels, span_text
from sotopia_pi.analysis.goal_tables import goal_table, studied
from sotopia_pi.analysis.plots import GOAL_AXIS, missing_figure


def sweep_table(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`goal_table` of every point, with the columns point and n_runs. frames: point -> pooled frame of its seeds."""
    parts = [goal_table(f).assign(point=point, n_runs=f["run"].nunique()) for point, f in frames.items() if len(f)]
    if not parts:
        return pd.DataFrame(columns=["point", "n_runs", "variant", "mean", "low", "high"])
    table = pd.concat(parts, ignore_index=True)
    for name in ("n_runs", "point"):
        table.insert(0, name, table.pop(name))
    return table


def sweep_figure(table: pd.DataFrame, factor: str, label: str) -> Figure:
    """Goal over the points of a factor, in the order of the table; trivial policies are left out."""
    title = f"Goal completion against {factor}"
    rows = studied(table).dropna(subset=["mean"])
    if rows.empty:
        return missing_figure(title, label, "no point of this sweep is complete")
    points = list(dict.fromkeys(rows["point"]))
    with drawing_style():
        fig, (ax,) = panels(1, width=8.6, height=4.6)
        names = in_order(rows["variant"])
        for place, name in enumerate(names):
            own, style = rows[rows["variant"] == name], look(name)
            x = [points.index(point) + 0.06 * (place - (len(names) - 1) / 2) for point in own["point"]]
            ax.plot(x, own["mean"], style.marker, color=style.line, linestyle="-", label=name, zorder=3)
            for i, row in zip(x, own.to_dict("records"), strict=True):
                ax.plot([i, i], [row["low"], row["high"]], color=style.line, linewidth=1.3, zorder=2)
        ax.set_xticks(range(len(points)), points)
        ax.set_xlim(-0.5, len(points) - 0.5)
        ax.set_ylim(-0.3, 10.3)
        ax.set_xlabel(factor)
        ax.set_ylabel(GOAL_AXIS.replace(" (", "\n("))
        ax.legend(frameon=False, ncols=min(6, len(names)), loc="upper center")
        n = f"n: {span_text(rows['n_episodes'])} rated episodes a point and variant, {span_text(rows['n_templates'])} "
        runs = f"templates; runs a point: {span_text(rows['n_runs'])}"
        return finished(fig, f"{title} · {label}", f"{n}{runs}. Intervals: {method_text(rows)}.", [ax])
