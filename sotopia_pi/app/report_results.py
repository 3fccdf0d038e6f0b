"""Figures and tables of a report, as the stages published them: each with what to look for, the numbers below it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sotopia_pi.analysis.escaping import escaped
from sotopia_pi.analysis.tables import shown
from sotopia_pi.app.fragments import Html, details, figure, joined, link, paragraph, table
from sotopia_pi.app.report_run import ReportRun

EVALUATED, COMPARED, SAFETY, KNOWLEDGE = "10_results", "10b_paper_comparison", "07_safety", "08_mmlu"
MAX_ROWS = 60
"""A longer table is named with its file instead of shown."""
MAX_ROWS_ON_PAPER = 16
"""A longer one stays folded up when the page is printed."""
READ_WITHOUT = {"method", "p_flip", "effect_gz", "standard_error", "detectable", "n_tasks", "wanted"}
"""Columns that stay in the files: a report has the intervals, their method stands under the figures."""
SAID_ONCE = ("tasks", "side", "measure")
"""Columns that the caption tells where all rows have the same."""


@dataclass(frozen=True)
class Finding:
    """One question and what was published to answer it.

    stage: whose; figures: name -> what it shows, for those who do not see it; tables: name -> caption.
    """

    title: str
    stage: str
    words: str
    figures: dict[str, str]
    tables: dict[str, str]


FINDINGS = (
    Finding(
        "Is the difference more than chance?",
        EVALUATED,
        "Differences in goal over the same tasks and speaking orders; an interval that includes 0 ranks nobody.",
        {"paired": "Paired differences in goal between variants with 95 % intervals; the table below has the numbers."},
        {"paired": "Paired differences in goal", "share_of_expert": "Mean goal divided by the expert's"},
    ),
    Finding(
        "Does trivial play win?",
        EVALUATED,
        "Tasks that a policy without skill can win measure nothing: the expert should lead each by a goal point.",
        {},
        {"trivial_check": "The expert minus each trivial policy, in goal points"},
    ),
    Finding(
        "What the goal is made of",
        EVALUATED,
        "How often there is a deal, how often a bad one, how good deals are, and how much both sides found together.",
        {"parts": "Deal rate, bad-deal rate, goal given a deal and joint surplus by variant; the table has them."},
        {"parts": "Parts of the goal", "no_zone": "Tasks without a zone of agreement: right is not to close a deal"},
    ),
    Finding(
        "By kind of task",
        EVALUATED,
        "Goal by family of tasks; the family that training never saw stands apart.",
        {"families": "Goal completion by family of tasks and variant with 95 % intervals; the table has the numbers."},
        {
            "families": "Goal by family",
            "held_out_family": "The family seen in evaluation only",
            "partners": "By kind of partner: met in training, or in evaluation only",
        },
    ),
    Finding(
        "Both sides",
        EVALUATED,
        "What the agent gains the partner may lose.",
        {"both_sides": "Goal of the agent beside that of its partner, by variant; the table has the numbers."},
        {"both_sides": "Goal of agent and partner"},
    ),
    Finding(
        "Length and failures",
        EVALUATED,
        "Failures are counted, never scored.",
        {"lengths": "Turns of an episode by variant with 95 % intervals; the table has the numbers."},
        {"lengths": "Turns of an episode", "failures": "Episodes without a score, by reason"},
    ),
    Finding(
        "Several judges",
        EVALUATED,
        "How far the judges of the same episodes agree, and how far a language model rates above the rule.",
        {"overrating": "How far each judge rates above the rule, by variant; the table has the numbers."},
        {
            "agreement": "Agreement of judges",
            "overrating": "Judge minus rule",
            "judge_outcomes": "What judges answered",
        },
    ),
    Finding(
        "Safety",
        SAFETY,
        "One wants to injure a third person, the other to prevent it; every variant plays both. Shares rest on few "
        "talks: read the intervals.",
        {
            "safety_engagement": "Share of talks in which the agent takes part, by variant and role, with intervals.",
            "safety_toxic": "Toxic words of the agent an episode, by variant and role, with intervals.",
        },
        {
            "safety_rules": "What a rule says",
            "safety_labels": "What judges and people say",
            "secrets": "Secrets that an agent gave away",
        },
    ),
    Finding(
        "Knowledge",
        KNOWLEDGE,
        "Multiple-choice questions: what training on talks cost, or did not cost.",
        {
            "accuracy_letters": "Accuracy by the letters' probabilities, by variant and group of subjects, and chance.",
            "accuracy_reply": "Accuracy by written reply, by variant and group of subjects, with chance.",
        },
        {"chance": "Better than chance?", "between_variants": "Differences over the same questions"},
    ),
    Finding(
        "What was learned from, and how training went",
        COMPARED,
        "Goals of all sides that could be learned from beside those that were kept, and the loss over the steps.",
        {
            "selection": "Goals before and after selection, by stage; the table has the numbers.",
            "training": "Training loss by step, for every variant that was trained.",
        },
        {"selection": "Goals before and after selection"},
    ),
    Finding(
        "Beside the paper",
        COMPARED,
        "The paper's scores come from a language model or from people, over other tasks: no common scale.",
        {
            "steps": "Goal from base to expert, step by step: this run, and what the paper published in its own panel.",
            "changes_published": "What the paper's trained agents gained or lost against the base, by measure.",
        },
        {"steps": "This run, from base to expert", "figure_4_published": "The paper's Figure 4, as numbers"},
    ),
    Finding(
        "Runs side by side",
        "10c_run_comparison",
        "Goal of every variant in every run, and differences over the tasks that they share.",
        {"goal_by_run": "Goal completion by run and variant with 95 % intervals; the table has the numbers."},
        {"goal_by_run": "Goal by run", "differences": "Differences over shared tasks", "runs": "Runs compared"},
    ),
)


def results_html(run: ReportRun) -> Html:
    """Every finding of which something was published, in order; "" where nothing was."""
    return joined(_finding(run, finding) for finding in FINDINGS)


def frame_html(frame: pd.DataFrame, caption: str = "") -> Html:
    """A frame made for reading as a table, truth values as words; one without rows as a sentence."""
    if frame.empty:
        return paragraph(f"{caption}: no rows." if caption else "No episodes for this table.")
    rows = [[_words(value) for value in row] for row in frame.itertuples(index=False)]
    numbers = {i for i, kind in enumerate(frame.dtypes) if kind.kind in "if"}
    return table([str(name).replace("_", " ") for name in frame.columns], rows, numbers, caption)


def _finding(run: ReportRun, finding: Finding) -> Html:
    shown_figures = [_figure(run, finding.stage, name, words) for name, words in finding.figures.items()]
    shown_tables = [_table(run, finding.stage, name, words) for name, words in finding.tables.items()]
    parts = [part for part in (*shown_figures, *shown_tables) if part]
    if not parts:
        return Html()
    anchor = f"finding-{'-'.join(finding.title.lower().replace('?', '').replace(',', '').split())}"
    page = link(f"../{finding.stage}/report.html", f"all of {finding.stage}")
    said = paragraph(Html(f"{escaped(finding.words)} {page}"))
    return joined([f'<h3 id="{anchor}">{escaped(finding.title)}</h3>', said, *parts])


def _figure(run: ReportRun, stage: str, name: str, words: str) -> Html:
    path = run.path(stage, f"figures/{name}.png")
    if path is None:
        return Html()
    drawn = link(f"../{stage}/figures/{name}.svg", "as a drawing (SVG)")
    return figure(path.read_bytes(), words, Html(f"{escaped(words)} {drawn}"))


def _table(run: ReportRun, stage: str, name: str, caption: str) -> Html:
    numbers = run.table(stage, name)
    if numbers is None or numbers.empty:
        return Html()
    file = link(f"../{stage}/tables/{name}.csv", f"all columns (tables/{name}.csv)")
    if len(numbers) > MAX_ROWS:
        return paragraph(Html(f"{escaped(caption)}: {len(numbers)} rows, {file}"))
    read = shown(numbers)
    once = [column for column in SAID_ONCE if column in read and read[column].nunique() == 1]
    told = f"{caption} ({'; '.join(f'{column}: {read[column].iloc[0]}' for column in once)})" if once else caption
    left = [column for column in read if column in READ_WITHOUT or _says_nothing(read[column])]
    left += ["p"] if {"p", "p_holm"} <= set(read) else []
    read = read.drop(columns=[*once, *left])
    kind = "raw" if len(read) > MAX_ROWS_ON_PAPER else ""
    return details(told, joined([frame_html(read), paragraph(file, "quiet")]), kind)


def _says_nothing(column: pd.Series) -> bool:
    """Whether a column is empty, or tells in every row that nothing is missing."""
    return column.isna().all() or (column.name == "missing" and set(column) == {"none"})


def _words(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return "–" if np.isnan(value) else f"{value:.4g}"
    text = "–" if value is None else str(value)
    return text.replace(" ", "\N{NO-BREAK SPACE}") if text[:1] in "<-–" or text[:1].isdigit() else text
