"""What a run measured of a trained variant, as far as it is still about that variant's adapter."""

import ast
import csv
from collections.abc import Iterator, Mapping
from typing import Any

from sotopia_pi.app.finished_run import FinishedRun, TrainedVariant
from sotopia_pi.app.results import RESULTS_FILE, run_results
from sotopia_pi.formats.cards import Measured
from sotopia_pi.formats.shown_model import shown_model
from sotopia_pi.store.manifest import Manifest, read_manifest

EVALUATION, SAFETY, KNOWLEDGE, RESULTS = "06_social_evaluation", "07_safety", "08_mmlu", "10_results"
SETTINGS = ("turn_limit", "limit_semantics", "prompt_format", "temperature", "top_p", "max_new_tokens", "seed")
AGENTS = ("variant", "reference", "first", "second")
"""Columns that name an agent."""
BESIDE = ("base", "expert")


def measured(run: FinishedRun, variant: TrainedVariant) -> tuple[Measured | None, str]:
    """The results of a run, or None and why there are none for this variant's adapter as it is now."""
    evaluation, results = read_manifest(run.dir / EVALUATION), read_manifest(run.dir / RESULTS)
    if evaluation is None or results is None:
        return None, f"stage {EVALUATION if evaluation is None else RESULTS} of the run is not complete"
    if not _is_about(run, evaluation, variant):
        return None, f"stage {EVALUATION} of the run has not played this adapter"
    if not _has_read(results, evaluation):
        return None, f"stage {RESULTS} of the run has not read the latest evaluation"
    run.file(RESULTS, RESULTS_FILE)
    scores = [
        row
        for row in run_results(run.root, run.dir)["results"]
        if row["dimension"] == "goal" and row["side"] == "agent"
    ]
    if variant.name not in {row["variant"] for row in scores}:
        return None, f"stage {EVALUATION} of the run played no episode of {variant.name}"
    return _measured(run, variant, evaluation, scores), ""


def _measured(
    run: FinishedRun, variant: TrainedVariant, evaluation: Manifest, scores: list[dict[str, Any]]
) -> Measured:
    roles = evaluation["notes"].get("roles", {})
    both_sides = list(_table(run, RESULTS, "both_sides"))
    parts = [row for row in _table(run, RESULTS, "parts") if row["tasks"] == "all" and row["side"] == "agent"]
    pairs = [row for row in _table(run, RESULTS, "paired") if variant.name in (row["variant"], row["reference"])]
    questions, knowledge = _knowledge(run, variant)
    return Measured(
        judge=shown_model(roles.get("judge", "")),
        partner=shown_model(roles.get("partner", "")),
        expert=shown_model(roles.get("expert", "")),
        settings={key: evaluation["params"][key] for key in SETTINGS if key in evaluation["params"]},
        method=both_sides[0]["method"] if both_sides else "an interval whose method the run does not name",
        scores=[_named(row) for row in scores],
        parts=[row for row in parts if row["variant"] in (variant.name, *BESIDE)],
        pairs=[_rounded(row) for row in pairs],
        knowledge=knowledge,
        questions=questions,
        safety=_safety(run, variant),
    )


def _knowledge(run: FinishedRun, variant: TrainedVariant) -> tuple[str, list[dict[str, Any]]]:
    """Which questions were asked, and this variant against the others; nothing where they were asked of another."""
    manifest = read_manifest(run.dir / KNOWLEDGE)
    if manifest is None or not _is_about(run, manifest, variant) or not _has_read(run.manifest(RESULTS), manifest):
        return "", []
    rows = [row for row in _table(run, RESULTS, "knowledge") if variant.name in (row["first"], row["second"])]
    return manifest["notes"].get("questions", ""), [_rounded(row) for row in rows]


def _safety(run: FinishedRun, variant: TrainedVariant) -> list[dict[str, Any]]:
    """What the rules measured of this variant and the base; nothing where another adapter played."""
    manifest = read_manifest(run.dir / SAFETY)
    if manifest is None or not _is_about(run, manifest, variant):
        return []
    return [row for row in _table(run, SAFETY, "safety_rules") if row["variant"] in (variant.name, "base")]


def _is_about(run: FinishedRun, manifest: Manifest, variant: TrainedVariant) -> bool:
    """Whether a stage read a variant's adapter as it is now."""
    adapter = f"{variant.folder}/adapter"
    now = run.manifest(variant.stage)["digests"].get(adapter)
    return now is not None and manifest["inputs"].get(f"{variant.stage}/{adapter}") == now


def _has_read(reader: Manifest, source: Manifest) -> bool:
    """Whether a stage read what another one holds now."""
    stage = f"{source['stage']}/"
    read = {name.removeprefix(stage): d for name, d in reader["inputs"].items() if name.startswith(stage)}
    return bool(read) and all(source["digests"].get(name) == digest for name, digest in read.items())


def _table(run: FinishedRun, stage: str, name: str) -> Iterator[dict[str, Any]]:
    """Rows of a stage's table, none where it wrote no such table."""
    file = f"tables/{name}.csv"
    if file not in run.manifest(stage)["files"]:
        return
    with run.file(stage, file).open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            missing = row.get("missing", "")
            yield row | ({"missing": ast.literal_eval(missing)} if missing.startswith("{") else {})


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose agents are named as a stranger may read them."""
    return {**row, **{key: shown_model(row[key]) for key in AGENTS if key in row}}


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of comparisons with its numbers as a reader wants them, and its difference as the mean of an interval."""
    shown = {"mean": row.get("difference", "")}
    for key in ("p", "p_holm"):
        shown |= {key: _p(row[key])} if key in row else {}
    if "difference_points" in row:
        shown["difference_points"] = f"{float(row['difference_points']):.1f}".replace("-", "−")
    return {**_named(row), **shown}


def _p(value: str) -> str:
    if not value:
        return "–"
    return "below 0.001" if float(value) < 0.001 else f"{float(value):.3f}"
