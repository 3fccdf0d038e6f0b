"""The report's first page: the answer, then every stage with its status, its counts and its page, then the run card."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from sotopia_pi.app.console import duration
from sotopia_pi.app.fragments import details, facts, link, table, warning
from sotopia_pi.app.pipeline import PAGE
from sotopia_pi.app.render import page
from sotopia_pi.app.status import StageStatus, run_status
from sotopia_pi.store.items import write_atomically
from sotopia_pi.store.notebook import read_notebook
from sotopia_pi.store.run_card import read_run_card

HEADLINE = "headline.html"
"""HTML fragment that a results notebook writes: the goal figure, inside the page, and the table."""


def write_report(root: Path, run: str, stages: tuple[str, ...]) -> Path:
    """Write outputs/<run>/report/index.html from what is there and return its path; what is missing is named."""
    run_dir = root / "outputs" / run
    target = run_dir / "report" / "index.html"
    rows = [row for row in run_status(root, run) if row.name in stages]
    titles = {row.name: read_notebook(root / "notebooks" / f"{row.name}.ipynb").title for row in rows}
    parts = [
        f"<h1>Sotopia-π report: run {escape(run)}</h1>",
        _headline(run_dir, rows),
        _missing(rows),
        "<h2>Stages</h2>",
        _stage_table(run_dir, rows, titles),
        *(_counts(row, titles[row.name]) for row in rows if row.counts),
        _run_card(read_run_card(run_dir)),
    ]
    write_atomically(target, page(f"Sotopia-π: {run}", "\n".join(part for part in parts if part)).encode())
    return target


def _headline(run_dir: Path, rows: list[StageStatus]) -> str:
    """The answer as the results notebook wrote it; only that of a stage that is complete."""
    complete = [run_dir / row.name / HEADLINE for row in rows if row.state == "complete"]
    return "\n".join(f"<section>{path.read_text(encoding='utf-8')}</section>" for path in complete if path.is_file())


def _missing(rows: list[StageStatus]) -> str:
    absent = [f"{row.name} ({row.state})" for row in rows if row.state != "complete"]
    return warning(f"Not complete yet: {', '.join(absent)}.") if absent else ""


def _stage_table(run_dir: Path, rows: list[StageStatus], titles: Mapping[str, str]) -> str:
    body = []
    for row in rows:
        title = titles[row.name]
        made = (run_dir / row.name / PAGE).is_file()
        wall = duration(row.wall_s) if row.wall_s is not None else ""
        peak = f"{row.peak_rss_mib:.0f} MiB" if row.peak_rss_mib is not None else ""
        body.append((row.name, link(f"../{row.name}/{PAGE}", title) if made else title, row.state, wall, peak))
    return table(("stage", "page", "status", "wall time", "peak memory"), body, numbers=(3, 4))


def _counts(row: StageStatus, title: str) -> str:
    return details(f"Counts of {row.name}: {title}", table((), row.counts.items(), numbers=(1,)))


def _run_card(card: Mapping[str, Any] | None) -> str:
    if card is None:
        return ""
    machine = card["machine"]
    known = {
        "preset": card["preset"]["file"],
        "package": " ".join(f"{name} {version}" for name, version in card["package"].items()),
        "git": f"{card['git']['state']} {card['git'].get('commit', '')}".strip(),
        "machine": f"{machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, GPU {machine['gpu']}",
        "Python": machine["python"],
        "written": card["written"],
    }
    parts = ["<h2>Run card</h2>", facts(known), f"<p>{link('../run.json', 'The whole card as JSON')}</p>"]
    for stage, entry in card["stages"].items():
        if entry.get("notes"):
            parts.append(details(f"Notes of {stage}", facts(entry["notes"])))
    for stage, params in card["params"].items():
        parts.append(details(f"Parameters of {stage}", facts(params)))
    parts.append(details("Library versions", facts(card["libraries"])))
    return "\n".join(parts)
