"""Results for scripts: what the results notebook found, with what each stage cost."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sotopia_pi.store.manifest import read_manifest
from sotopia_pi.store.notebook import stage_names

RESULTS_FILE = "results.json"
COLUMNS = ("tasks", "variant", "side", "dimension", "mean", "low", "high", "n_tasks", "n_episodes", "missing")


class NoResults(FileNotFoundError):
    """The results stage of a run is not complete; the message names the command that completes it."""


def run_results(root: Path, run_dir: Path) -> dict[str, Any]:
    """`{"run", "results": [...], "stages": [{"stage", "wall_s", "peak_rss_mib"}]}` of a run. Raises NoResults.

    Pooled runs have no stages of their own; they name the runs instead: `"runs": [...]`, `"left_out": {run: why}`.
    """
    pooled = run_dir / RESULTS_FILE
    if pooled.is_file():
        return {**json.loads(pooled.read_text(encoding="utf-8")), "stages": []}
    manifests = {name: read_manifest(run_dir / name) for name in stage_names(root)}
    paths = [run_dir / name / RESULTS_FILE for name, manifest in manifests.items() if manifest is not None]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        raise NoResults(
            f"Run {run_dir.name} has no {RESULTS_FILE} of a complete stage yet. "
            f"See how far it is: sotopia-pi status {run_dir.name}; then run its preset again."
        )
    found = json.loads(paths[-1].read_text(encoding="utf-8"))
    stages = [
        {"stage": name, "wall_s": manifest["wall_s"], "peak_rss_mib": manifest["peak_rss_mib"]}
        for name, manifest in manifests.items()
        if manifest is not None
    ]
    return {"run": run_dir.name, "results": found["results"], "stages": stages}


def results_table(results: Sequence[dict[str, Any]]) -> str:
    """Results as plain aligned text: mean, interval, n, and why others are missing."""
    rows = [COLUMNS, *(tuple(_cell(result.get(column)) for column in COLUMNS) for result in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, dict):
        return ", ".join(f"{reason} {n}" for reason, n in value.items()) or "none"
    return str(value)
