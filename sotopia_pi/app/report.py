"""A run's report, the page a reader gets: the answer, how it was made, figures and tables, episodes, files."""

from collections.abc import Callable
from pathlib import Path

from sotopia_pi.app.fragments import Chapter, Html, chaptered, joined, paragraph, warning
from sotopia_pi.app.render import page
from sotopia_pi.app.report_answer import answer_html
from sotopia_pi.app.report_deviations import deviations_html
from sotopia_pi.app.report_episodes import episodes_html
from sotopia_pi.app.report_files import citation_html, data_html, missing_html, stages_html
from sotopia_pi.app.report_made import made_html
from sotopia_pi.app.report_results import results_html
from sotopia_pi.app.report_run import ReportRun
from sotopia_pi.store.items import write_atomically
from sotopia_pi.store.notebook import stage_names
from sotopia_pi.store.run_card import read_run_card

REPORT = Path("report", "index.html")
CHAPTERS: tuple[tuple[str, str, Callable[[ReportRun], Html]], ...] = (
    ("made", "How it was made", made_html),
    ("paper", "Differences from the paper", deviations_html),
    ("results", "Figures and tables", results_html),
    ("episodes", "Episodes in full", episodes_html),
    ("stages", "Stages", stages_html),
    ("data", "Data files", data_html),
    ("cite", "How to cite", citation_html),
)


def write_report(root: Path, run: str, stages: tuple[str, ...]) -> Path:
    """Write outputs/<run>/report/index.html from what is there and return its path; what is missing is named.

    stages: those of the run's plan. The page is whole by itself; a part whose files are damaged says so in its place.
    """
    of = ReportRun(root, run, stages)
    target = of.dir / REPORT
    chapters = [_answer(of), *(Chapter(anchor, title, _told(make, of)) for anchor, title, make in CHAPTERS)]
    body = chaptered(f"Sotopia-π report: run {run}", _told(_lead, of), chapters)
    write_atomically(target, page(f"Sotopia-π: {run}", body).encode())
    return target


def known_stages(root: Path, run: str) -> tuple[str, ...]:
    """Stages that a run's card names, else those that have a folder, else all there are. `run` exists."""
    run_dir = root / "outputs" / run
    try:
        named = (read_run_card(run_dir) or {})["params"]
    except (ValueError, LookupError, TypeError):
        named = ()
    named = named or [name for name in stage_names(root) if (run_dir / name).is_dir()]
    return tuple(name for name in stage_names(root) if name in named or not named)


def _answer(run: ReportRun) -> Chapter:
    """The answer, and right below it what is not complete; there is always something to say."""
    found = _told(answer_html, run)
    none = paragraph("There is no answer yet: no stage with results is complete.", "found")
    return Chapter("answer", "The answer", joined([found or none, _told(missing_html, run)]))


def _lead(run: ReportRun) -> Html:
    card = run.card
    if not card:
        return Html()
    n = sum(row.state == "complete" for row in run.rows)
    origin = f" · imported from a bundle of run {card['imported']['bundled_as']}" if "imported" in card else ""
    return paragraph(f"Preset {card['preset']['file']} · {n} of {len(run.rows)} stages complete{origin}", "quiet")


def _told(make: Callable[[ReportRun], Html], run: ReportRun) -> Html:
    """A part of the page, or in its place what kept it from being made: a damaged file may have any shape."""
    try:
        return make(run)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return warning(f"This part could not be made ({type(error).__name__}: {error}).")
