"""How far a run is: one row a stage, from its manifests and the progress its kernels write."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sotopia_pi.app.console import duration, progress_words
from sotopia_pi.store.lock import RunLock
from sotopia_pi.store.manifest import Manifest, changed_file, n_unanswered, read_manifest
from sotopia_pi.store.notebook import stage_names
from sotopia_pi.store.params import ParameterError, closest
from sotopia_pi.store.progress import read_progress

DETAIL_WIDTH = 90


@dataclass(frozen=True)
class StageStatus:
    """One stage of a run. state: complete, unanswered, changed, damaged, running, unfinished or not started.

    unanswered: it came to its end, but servers gave no answer to some items. damaged: its manifest cannot be read.
    detail: counts or progress.
    """

    name: str
    state: str
    wall_s: float | None
    peak_rss_mib: float | None
    detail: str
    counts: dict[str, Any]


def run_status(root: Path, run: str) -> list[StageStatus]:
    """Status of every stage. Raises ParameterError naming the closest run when there is no such folder."""
    run_dir = find_run(root, run)
    running = RunLock(run_dir, "kernel").is_held() or RunLock(run_dir).is_held()
    return [_stage_status(run_dir / name, running) for name in stage_names(root)]


def find_run(root: Path, run: str) -> Path:
    """Folder of a run, by its name or its path. Raises ParameterError naming the closest known run."""
    run_dir = root / "outputs" / Path(run).name
    if not run_dir.is_dir():
        known = sorted(path.name for path in (root / "outputs").glob("*") if path.is_dir())
        near = closest(run, known)
        hint = f"Did you mean {near!r}?" if near else f"Runs here: {', '.join(known) or 'none yet'}."
        raise ParameterError(f"There is no run {run!r} under outputs/. {hint}")
    return run_dir


def status_table(rows: list[StageStatus]) -> str:
    """The rows as plain aligned text."""
    lines = [f"{'stage':<26}  {'state':<11}  {'wall time':>12}  {'peak MiB':>8}  detail"]
    for row in rows:
        wall = duration(row.wall_s) if row.wall_s is not None else ""
        peak = f"{row.peak_rss_mib:.0f}" if row.peak_rss_mib is not None else ""
        detail = row.detail if len(row.detail) <= DETAIL_WIDTH else row.detail[: DETAIL_WIDTH - 1] + "…"
        lines.append(f"{row.name:<26}  {row.state:<11}  {wall:>12}  {peak:>8}  {detail}".rstrip())
    return "\n".join(lines)


def _stage_status(stage_dir: Path, running: bool) -> StageStatus:
    try:
        manifest = read_manifest(stage_dir)
    except ValueError as error:
        return StageStatus(stage_dir.name, "damaged", None, None, str(error), {})
    if manifest is not None:
        state, detail = _state(stage_dir, manifest)
        return StageStatus(
            stage_dir.name, state, manifest["wall_s"], manifest["peak_rss_mib"], detail, manifest["counts"]
        )
    progress = read_progress(stage_dir)
    if progress is None:
        begun = stage_dir.is_dir() and any(stage_dir.iterdir())
        return StageStatus(stage_dir.name, "unfinished" if begun else "not started", None, None, "", {})
    return StageStatus(stage_dir.name, "running" if running else "unfinished", None, None, progress_words(progress), {})


def _state(stage_dir: Path, manifest: Manifest) -> tuple[str, str]:
    """State and detail of a stage that came to its end."""
    if file := changed_file(stage_dir, manifest):
        return "changed", f"{file} is gone or changed"
    counts = ", ".join(f"{label} {value}" for label, value in manifest["counts"].items())
    if left := n_unanswered(manifest):
        return "unanswered", f"{left} without an answer, asked for again at the next start; {counts}"
    return "complete", counts
