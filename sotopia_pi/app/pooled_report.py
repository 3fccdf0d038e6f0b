"""The report of pooled runs: the answer over all of them, what it rests on, and a link to each run's own report."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from sotopia_pi.analysis import plots
from sotopia_pi.analysis.comparisons import MIN_LEAD_OVER_TRIVIAL
from sotopia_pi.analysis.escaping import escaped
from sotopia_pi.analysis.headline import headline_html
from sotopia_pi.analysis.pooling import behind, notes_on_missing, pooled_tables, shares_shown
from sotopia_pi.analysis.tables import shown
from sotopia_pi.app.fragments import Chapter, Html, chaptered, details, figure, joined, link, paragraph, table, warning
from sotopia_pi.app.render import page
from sotopia_pi.app.report import REPORT
from sotopia_pi.app.report_results import frame_html


@dataclass(frozen=True)
class Pool:
    """Complete runs read as one. frame: their rows. runs: their names. label: what was scored and how.

    missing: columns run, variant, reason. left_out: run -> why it is not in the pool. differences: parameters that the
    runs do not share.
    """

    name: str
    frame: pd.DataFrame
    runs: tuple[str, ...]
    label: str
    missing: pd.DataFrame
    left_out: Mapping[str, str]
    differences: tuple[str, ...]

    @property
    def notes(self) -> dict[str, str]:
        """Variant -> where and why it is missing."""
        return notes_on_missing(self.missing, len(self.runs))

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table, by the name of its file."""
        return pooled_tables(self.frame)


def pool_figures(pool: Pool) -> dict[str, Figure]:
    """The figures of a pool, by the name of their file."""
    tables = pool.tables
    goal = {tasks: tables["goal"][tables["goal"]["tasks"] == tasks] for tasks in ("all", "hard")}
    return {
        "goal": plots.goal_figure(goal, pool.label, pool.notes),
        "paired": plots.paired_figure(tables["paired"], pool.label),
        "families": plots.family_figure(tables["families"], pool.label),
        "parts": plots.parts_figure(tables["parts"], pool.label),
    }


def pooled_page(pool: Pool, figures: Mapping[str, Figure], folder: Path) -> str:
    """The whole page. folder: outputs/<pool>/, so that links to the runs beside it lead somewhere."""
    tables = pool.tables
    answer = [
        Html(headline_html(pool.frame, pool.label, pool.notes)),
        paragraph(_behind(pool)),
        *(warning(f"Not in this pool: {run} ({why}).") for run, why in pool.left_out.items()),
        *(warning(f"The runs do not share a parameter, read the pool with care. {line}") for line in pool.differences),
    ]
    chapters = [
        Chapter("answer", "The answer", joined(answer)),
        Chapter("shares", "Share of the expert's goal", joined(_shares(tables))),
        Chapter("trivial", "Does trivial play win?", joined(_trivial(tables))),
        Chapter("paired", "Paired comparisons", joined(_pairs(tables, figures))),
        Chapter("families", "By family", joined(_families(tables, figures))),
        Chapter("parts", "What the goal is made of", joined(_rest(tables, figures))),
        Chapter("runs", "Runs", joined(_runs(pool, folder))),
    ]
    lead = paragraph(f"{pool.label}; each run's own report stands under Runs", "quiet")
    title = f"Sotopia-π report: {len(pool.runs)} runs pooled"
    return page(f"Sotopia-π: {pool.name}", chaptered(title, lead, chapters))


def _behind(pool: Pool) -> str:
    n = behind(pool.frame)
    return (
        f"Behind it: {n.tasks} tasks, {n.hard} of them hard, from {n.templates} scenario templates; {n.episodes} "
        f"episodes, {n.rated} of them rated, in {n.runs} runs. Another {n.apart} episodes, on tasks without a zone of "
        f"agreement or of the family seen in evaluation only, are reported apart. Pairs stay within a run; every "
        f"interval resamples scenario templates."
    )


def _shares(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    return [
        "<p>Mean goal divided by the expert's over the same tasks, sides and runs; 1 is as good as the expert.</p>",
        _shown(tables["share_of_expert"]),
        "<h3>The same, each run on its own</h3>",
        frame_html(shares_shown(tables["share_of_expert_by_run"])),
    ]


def _trivial(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    return [
        f"<p>The expert minus each trivial policy, in goal points; wanted is a lead of {MIN_LEAD_OVER_TRIVIAL:g}. "
        f"“Surely” asks that the whole interval lie above it.</p>",
        _shown(tables["trivial_check"]),
    ]


def _pairs(tables: Mapping[str, pd.DataFrame], figures: Mapping[str, Figure]) -> list[str]:
    return [
        "<p>Differences in goal over the same task, speaking order and run.</p>",
        _figure(figures, "paired", "Paired differences in goal completion with intervals; the table below has them."),
        _shown(tables["paired"]),
        details("Hard tasks only", _shown(tables["paired_hard"])),
    ]


def _families(tables: Mapping[str, pd.DataFrame], figures: Mapping[str, Figure]) -> list[str]:
    return [
        _figure(figures, "families", "Goal completion by task family and variant; the table below has the numbers."),
        frame_html(shares_shown(tables["share_of_expert_by_family"])),
        details("Goal by family and variant", _shown(tables["families"])),
        details("By partner: kinds met in training, and in evaluation only", _shown(tables["partners"])),
        details("The family seen in evaluation only", _shown(tables["held_out_family"])),
        details("Tasks without a zone of agreement: right is not to close a deal", _shown(tables["no_zone"])),
    ]


def _rest(tables: Mapping[str, pd.DataFrame], figures: Mapping[str, Figure]) -> list[str]:
    return [
        _figure(figures, "parts", "Deal rate, bad-deal rate, goal given a deal and joint surplus by variant."),
        details("Parts as a table", _shown(tables["parts"])),
        details("Both sides", _shown(tables["both_sides"])),
        details("Length of episodes", _shown(tables["lengths"])),
        details("Failures by reason", _shown(tables["failures"])),
    ]


def _runs(pool: Pool, folder: Path) -> list[str]:
    runs = pool.tables["runs"]
    rows = [(_report_of(folder, str(row[0])), *row[1:]) for row in runs.itertuples(index=False)]
    head = list(runs.columns)
    absent = [tuple(row) for row in pool.missing.itertuples(index=False)]
    return [
        table(head, rows, numbers=range(1, len(head))),
        "<h3>Variants missing in a run</h3>",
        table(("run", "variant", "reason"), absent) if absent else "<p>None: every run played every variant.</p>",
    ]


def _report_of(folder: Path, run: str) -> Html | str:
    report = folder.parent / run / REPORT
    return link(Path(os.path.relpath(report, (folder / REPORT).parent)).as_posix(), run) if report.is_file() else run


def _figure(figures: Mapping[str, Figure], name: str, words: str) -> Html:
    drawn = link(f"../figures/{name}.svg", "as a drawing (SVG)")
    return figure(plots.figure_bytes(figures[name]), words, Html(f"{escaped(words)} {drawn}"))


def _shown(numbers: pd.DataFrame) -> Html:
    return frame_html(shown(numbers))
