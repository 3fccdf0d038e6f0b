"""A run beside the paper: goal step by step by rater, and how far raters are apart (the paper's Figure 4).

The published numbers always stand in a panel of their own, labelled with their table, raters and n: scores by language
models and people on other tasks are on no common scale with a run's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sotopia_pi.analysis import published
from sotopia_pi.analysis.averaged import PEOPLE
from sotopia_pi.analysis.colours import EXPERT, in_order, look
from sotopia_pi.analysis.figure_parts import (
    HALO,
    drawing_style,
    finished,
    interval_point,
    label_variants,
    method_text,
    panels,
    places_of,
    span_text,
)
from sotopia_pi.analysis.goal_tables import studied
from sotopia_pi.analysis.raters import called, raters_of
from sotopia_pi.world.scoring import JUDGE as RULE

STEPS = ("base", "base few-shot", "SR", "BC", "BC+SR", EXPERT)
"""From left to right: the order of the paper's Figure 4, with the few-shot base after the base."""
PAPER_STEPS = ("base", "SR", "BC", "BC+SR", EXPERT)
PAPER_PANEL = "As published (Mistral-7B, GPT-4)"
DODGE = 0.13
"""How far apart the raters of one agent are drawn, so that their intervals do not cover each other."""
GAP_AXIS = "difference in goal, points of 10"


@dataclass(frozen=True)
class Line:
    """How a rater's line is drawn; apart from all colours of variants, told apart by marker and dashes as well."""

    colour: str
    marker: str
    dashes: str


RULE_LINE = Line("#000000", "s", "-")
PEOPLE_LINE = Line("#882255", "D", "--")
JUDGE_LINES = (Line("#332288", "o", "-"), Line("#44AA99", "^", "-."), Line("#999933", "v", ":"))
"""Tol's muted colours; further judges share the last look and are told apart by their names."""


def lines_of(raters: Sequence[str]) -> dict[str, Line]:
    """The look of each rater's line."""
    judges = [rater for rater in raters if rater not in (RULE, PEOPLE)]
    looks = {judge: JUDGE_LINES[min(i, len(JUDGE_LINES) - 1)] for i, judge in enumerate(judges)}
    return {RULE: RULE_LINE, PEOPLE: PEOPLE_LINE, **looks}


def steps_figure(
    table: pd.DataFrame, gaps: pd.DataFrame, model_label: str, notes: Mapping[str, str] | None = None
) -> Figure:
    """Goal from base to expert, a line a rater: this run's in the left panel, the published ones in the right.

    table: of `raters.by_rater`; gaps: of `raters.gap_table`, whose judge − people differences are written between the
    two lines. notes: variant -> why it has no point.
    """
    with drawing_style():
        fig, axes = panels(2, width=5.6, height=5.0)
        _own_steps(axes[0], table, gaps, dict(notes or {}))
        _paper_steps(axes[1])
        counts = _counts(table) if len(table) else "This run has no rated episode."
        counts += _what_numbers_are(gaps)
        caption = f"Left: {counts} Right: {published.shown_as(published.goal_by_rater())}; numbers: judge − people."
        return finished(fig, f"Goal completion, step by step · {model_label}", caption, axes)


def gap_figure(gaps: pd.DataFrame, model_label: str) -> Figure:
    """First rater's goal minus the second's by variant: a panel a pair of raters of this run, and the published one."""
    gaps = gaps.dropna(subset=["difference"])
    pairs = list(dict.fromkeys(zip(gaps["first"], gaps["second"], strict=True)))
    paper = published.judge_human()
    paper = paper[paper["statistic"] == "goal_judge_minus_human"].rename(columns={"value": "difference"})
    paper = paper.assign(low=float("nan"), high=float("nan"))
    with drawing_style():
        fig, axes = panels(max(1, len(pairs)) + 1, width=2.9, height=4.2)
        here = {*studied(gaps)["variant"], *paper["variant"]}
        names = [name for name in (*STEPS, *in_order(here - set(STEPS))) if name in here]
        places = places_of(names)
        for ax, (first, second) in zip(axes, pairs, strict=False):
            rows = gaps[(gaps["first"] == first) & (gaps["second"] == second)]
            _gap_panel(ax, rows, places, f"{called(first)}\n− {called(second)}")
        if not pairs:
            _says(
                axes[0], "This run", "One rater only, nothing to compare.\nMore: `more_judges` of stage 06,\nstage 09."
            )
        _gap_panel(axes[-1], paper, places, "As published:\njudge gpt-4 − people")
        label_variants(axes[0], places)
        own = (
            f"n: {span_text(gaps['n_episodes'])} sides both rated a variant. Intervals: {method_text(gaps)}. "
            if pairs
            else ""
        )
        caption = (
            f"{own}Published: Figure 4, 28 episodes an agent, without intervals. Right of 0: the first rates higher."
        )
        return finished(fig, f"How far raters are apart · {model_label}", caption, axes)


def changes_figure(changes: pd.DataFrame) -> Figure:
    """What the paper's trained agents gained and lost against its base, from `published.changes`: a panel a unit."""
    units = list(dict.fromkeys(changes["unit"]))
    heights = [changes.loc[changes["unit"] == unit, "measure"].nunique() for unit in units]
    with drawing_style():
        fig, axes = _stacked(heights, height=0.62 * sum(heights) + 3.2)
        for ax, unit in zip(axes, units, strict=True):
            _changes_panel(ax, changes[changes["unit"] == unit], unit)
        axes[0].legend(*_variant_legend(), frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.02))
        n = "n: 28 episodes an agent for goal, 9 for each cell of safety (labelled by hand), 57 subjects of MMLU"
        caption = (
            f"{n}. {published.PAPER}, Tables 3, 4 and 5; no intervals were published. Hollow: worse than the base."
        )
        return finished(fig, "What training changed in the paper, against its base (Mistral-7B)", caption, axes)


def _own_steps(ax: Axes, table: pd.DataFrame, gaps: pd.DataFrame, notes: Mapping[str, str]) -> None:
    ax.set_title("This run", loc="left")
    raters = raters_of(table) if len(table) else []
    here = {*studied(table)["variant"], *notes}
    names = [v for v in (*STEPS, *in_order(here - set(STEPS))) if v in here] or list(PAPER_STEPS)
    looks = lines_of(raters)
    for place, rater in enumerate(raters):
        rows = table[(table["rater"] == rater) & table["variant"].isin(names)]
        shift = DODGE * (place - (len(raters) - 1) / 2)
        _step_line(ax, rows, "mean", names, looks[rater], called(rater), shift)
    judged = gaps[gaps["second"] == PEOPLE].drop_duplicates("variant") if len(gaps) else gaps
    for row in judged[judged["variant"].isin(names)].dropna(subset=["difference"]).to_dict("records"):
        _gap_text(ax, names.index(row["variant"]), _highest(table, row["variant"]), row["difference"])
    for name in [n for n in names if n in notes and n not in set(table["variant"])]:
        ax.text(
            names.index(name), 0.3, "not trained", rotation=90, ha="center", va="bottom", fontsize=8, style="italic"
        )
    _step_axis(ax, names)
    ax.set_ylabel("goal completion of the agent, 0 to 10")
    if raters:
        ax.legend(frameon=False, loc="upper left", fontsize=8.5)
    else:
        ax.text(0.5, 0.5, "Nothing rated yet.", transform=ax.transAxes, ha="center", color="#444444")


def _paper_steps(ax: Axes) -> None:
    ax.set_title(PAPER_PANEL + ", hard tasks", loc="left")
    rows = published.goal_by_rater()
    looks = lines_of([published.JUDGE])
    for rater, line, name in (
        (published.JUDGE, looks[published.JUDGE], "judge gpt-4"),
        (published.HUMAN, PEOPLE_LINE, "people"),
    ):
        _step_line(ax, rows[rows["rater"] == rater], "score", PAPER_STEPS, line, name)
    wide = rows.pivot(index="variant", columns="rater", values="score")
    for i, variant in enumerate(PAPER_STEPS):
        judge, people = wide.loc[variant, [published.JUDGE, published.HUMAN]]
        _gap_text(ax, i, max(judge, people), judge - people)
    _step_axis(ax, PAPER_STEPS)
    ax.legend(frameon=False, loc="upper left", fontsize=8.5)


def _step_line(
    ax: Axes, rows: pd.DataFrame, value: str, names: Sequence[str], line: Line, label: str, shift: float = 0.0
) -> None:
    """A line over the agents, with intervals where the rows have them; it breaks where an agent has no score."""
    by_variant = rows.set_index("variant").reindex(names)
    x = [i + shift for i in range(len(names))]
    style = {"color": line.colour, "marker": line.marker, "markersize": 6, "linewidth": 1.6}
    ax.plot(x, by_variant[value], line.dashes, label=label, zorder=3, **style)
    for i, row in zip(x, by_variant.to_dict("records"), strict=True) if "low" in by_variant else ():
        ax.plot([i, i], [row["low"], row["high"]], color=line.colour, linewidth=1.2, zorder=2)


def _step_axis(ax: Axes, names: Sequence[str]) -> None:
    ax.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylim(-0.3, 10.3)
    ax.set_yticks(range(0, 11, 2))
    ax.set_xlabel("agent")


def _what_numbers_are(gaps: pd.DataFrame) -> str:
    judged = gaps[gaps["second"] == PEOPLE]
    return f" Numbers: {called(judged['first'].iloc[0])} − people, over the sides both rated." if len(judged) else ""


def _highest(table: pd.DataFrame, variant: str) -> float:
    """Top of everything drawn over a variant."""
    return float(table.loc[table["variant"] == variant, ["mean", "high"]].max().max())


def _gap_text(ax: Axes, x: float, y: float, gap: float) -> None:
    """A difference, written above the higher of the two points."""
    text = f"{gap:+.2f}".replace("-", "−")
    ax.text(x, y + 0.55, text, fontsize=8.5, ha="center", color="#222222", path_effects=HALO)


def _gap_panel(ax: Axes, rows: pd.DataFrame, places: Mapping[str, float], title: str) -> None:
    ax.set_title(title, loc="left")
    for row in rows[rows["variant"].isin(places)].to_dict("records"):
        style = look(row["variant"])
        interval_point(ax, row, places[row["variant"]], "difference", style.line, style.marker)
        value = f"{row['difference']:+.2f}".replace("-", "−")
        ax.annotate(
            value,
            (0.99, places[row["variant"]]),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="center",
            fontsize=8.5,
        )
    ax.axvline(0, color="black", linewidth=0.9)
    ends = rows[["low", "difference", "high"]].to_numpy().ravel()
    ends = [end for end in ends if not pd.isna(end)]
    low, high = min([0.0, *ends]) - 0.2, max([0.0, *ends]) + 0.2
    ax.set_xlim(low, high + 0.28 * (high - low))
    ax.set_xlabel(GAP_AXIS, fontsize=8.5)


def _says(ax: Axes, title: str, words: str) -> None:
    ax.set_title(title, loc="left")
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color="#444444", fontsize=8.5)
    ax.set_xticks([])


def _counts(table: pd.DataFrame) -> str:
    parts = [
        f"{called(rater)} {span_text(rows['n_episodes'])} rated episodes a variant"
        for rater, rows in studied(table).groupby("rater", sort=False)
    ]
    templates = span_text(table["n_templates"])
    return f"n: {'; '.join(parts)}; {templates} scenario templates. Intervals: {method_text(table)}."


def _stacked(heights: Sequence[int], height: float) -> tuple[Figure, list[Axes]]:
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(len(heights), 1, figsize=(8.6, height), squeeze=False, height_ratios=heights)
    plt.close(fig)
    return fig, list(axes[:, 0])


def _changes_panel(ax: Axes, rows: pd.DataFrame, unit: str) -> None:
    measures = list(dict.fromkeys(rows["measure"]))
    for row in rows.to_dict("records"):
        y = measures.index(row["measure"]) + {"SR": -0.22, "BC": 0.0, "BC+SR": 0.22}[row["variant"]]
        style = look(row["variant"])
        worse = row["better"] is False
        ax.plot([0, row["change"]], [y, y], color=style.line, linewidth=1.6, zorder=2)
        face = "white" if worse else style.line
        ax.scatter(
            [row["change"]],
            [y],
            s=42,
            marker=style.marker,
            facecolor=face,
            edgecolor=style.line,
            linewidths=1.5,
            zorder=3,
        )
        text = f"{row['change']:+.2f}".replace("-", "−") + (" worse" if worse else "")
        side = 1 if row["change"] >= 0 else -1
        ax.annotate(
            text,
            (row["change"], y),
            xytext=(7 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=7.5,
        )
    ax.axvline(0, color="black", linewidth=0.9)
    ax.set_yticks(range(len(measures)), measures)
    ax.set_ylim(len(measures) - 0.5, -0.5)
    reach = rows["change"].abs().max() * 1.45
    ax.set_xlim(-reach, reach)
    ax.set_xlabel(f"change against the base, {unit}", fontsize=8.5)


def _variant_legend() -> tuple[list, list[str]]:
    from matplotlib.lines import Line2D

    names = ["SR", "BC", "BC+SR"]
    return [Line2D([], [], color=look(n).line, marker=look(n).marker) for n in names], names
