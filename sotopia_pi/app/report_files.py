"""Stages of a run with their pages and counts, the data that can be taken from it, and how to cite it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sotopia_pi.analysis.escaping import escaped
from sotopia_pi.analysis.published import PAPER
from sotopia_pi.app.console import duration
from sotopia_pi.app.fragments import Html, details, joined, link, paragraph, table, warning
from sotopia_pi.app.pipeline import NOTEBOOK, PAGE
from sotopia_pi.app.report_run import ReportRun
from sotopia_pi.app.status import StageStatus
from sotopia_pi.store.notebook import read_notebook

CITATION = "CITATION.cff"
STATE_WORDS = {"unfinished": "begun, not finished", "unanswered": "complete but for answers that servers owe"}


def missing_html(run: ReportRun) -> Html:
    """What is not complete, each with its reason; "" when all is."""
    absent = [_absent(run, row) for row in run.rows if row.state != "complete"]
    return warning(f"Not complete yet: {'; '.join(absent)}.") if absent else Html()


def stages_html(run: ReportRun) -> Html:
    """Every stage with its page, state, time and memory, and below them its counts."""
    titles = {row.name: read_notebook(run.root / "notebooks" / f"{row.name}.ipynb").title for row in run.rows}
    body = [_stage(run, row, titles[row.name]) for row in run.rows]
    head = ("stage", "page", "status", "wall time", "peak memory")
    counts = [_counts(row, titles[row.name]) for row in run.rows if row.counts]
    return joined([table(head, body, numbers=(3, 4)), *counts])


def data_html(run: ReportRun) -> Html:
    """The files of every finished stage, folded up stage by stage, items with their number."""
    parts = []
    for stage, manifest in run.manifests.items():
        items = {file: f"{len(ids):,} items" for file, ids in manifest["items"].items()}
        rows = [
            (link(f"../{stage}/{name}", name), items.get(name, ""), _size(known["bytes"]))
            for name, known in manifest["files"].items()
        ]
        parts.append(details(f"{stage}: {len(rows)} files", table(("file", "", "size"), rows, numbers=(1, 2)), "raw"))
    if not parts:
        return Html()
    told = "Items are JSON Lines, an object a line; tables are CSV, adapters PEFT folders."
    return joined([paragraph(told), *parts])


def citation_html(run: ReportRun) -> Html:
    """The paper's entry from the project's CITATION.cff, and what names this run exactly."""
    path = run.root / CITATION
    about = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    paper = about.get("preferred-citation")
    entry = _code(_bibtex(paper)) if paper else paragraph(PAPER)
    commit = run.card.get("git", {}).get("commit", "unknown")
    software = f"{about.get('title', 'Sotopia-π workbench')} {about.get('version', '')}".strip()
    named = f"This run: {run.name}, made with {software}, commit {commit}."
    return joined([paragraph("If you use the method, cite the paper:"), entry, paragraph(named)])


def _code(text: str) -> Html:
    """Text in which lines and spaces stay as they are."""
    return Html("<pre>" + "\n".join(map(escaped, text.split("\n"))) + "</pre>")


def _stage(run: ReportRun, row: StageStatus, title: str) -> tuple[Any, ...]:
    made = (run.dir / row.name / PAGE).is_file()
    wall = duration(row.wall_s) if row.wall_s is not None else ""
    peak = f"{row.peak_rss_mib:,.0f} MiB" if row.peak_rss_mib is not None else ""
    state = STATE_WORDS.get(row.state, row.state)
    return (row.name, link(f"../{row.name}/{PAGE}", title) if made else title, state, wall, peak)


def _counts(row: StageStatus, title: str) -> Html:
    return details(f"Counts of {title}", table((), row.counts.items(), numbers=(1,)), "raw")


def _absent(run: ReportRun, row: StageStatus) -> str:
    """`05_self_reinforcement (begun, not finished; it stopped with MemoryError: …)`."""
    why = STATE_WORDS.get(row.state, row.state)
    if row.state == "unfinished" and (error := stopped_with(run.dir / row.name / NOTEBOOK)):
        why += f"; it stopped with {error}"
    elif row.state in ("changed", "damaged"):
        why += f": {row.detail}"
    return f"{row.name} ({why})"


def stopped_with(notebook: Path) -> str:
    """The error that an executed notebook ended in, "" where there is none or the notebook cannot be read."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return ""
    errors = [out for cell in cells for out in cell.get("outputs", ()) if out.get("output_type") == "error"]
    return f"{errors[-1]['ename']}: {errors[-1]['evalue']}" if errors else ""


def _size(n: int) -> str:
    """`1.3 MB`, `812 kB`, `95 bytes`: decimal units."""
    if n >= 1_000_000:
        return f"{n / 1e6:.1f} MB"
    return f"{n / 1e3:.0f} kB" if n >= 1000 else f"{n} bytes"


def _bibtex(paper: Mapping[str, Any]) -> str:
    """A BibTeX entry of what CITATION.cff calls `preferred-citation`."""
    authors = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"])
    fields = {
        "title": f"{{{paper['title']}}}",
        "author": authors,
        "booktitle": paper.get("collection-title", ""),
        "year": str(paper["year"]),
        "url": paper.get("url", ""),
    }
    key = f"{paper['authors'][0]['family-names'].lower()}{paper['year']}"
    return "\n".join(
        [f"@inproceedings{{{key},", *(f"  {name} = {{{text}}}," for name, text in fields.items() if text), "}"]
    )
