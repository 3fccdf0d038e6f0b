"""What a run measured of a trained variant, as far as it is still about that variant's adapter."""

import ast
import csv
from collections.abc import Iterator, Mapping
from typing import Any

from sotopia_pi.app.finished_run import FinishedRun, TrainedVariant
from sotopia_pi.app.results import RESULTS_FILE, run_results
from sotopia_pi.app.shown_model import shown_model
from sotopia_pi.formats.cards import Measured
from sotopia_pi.store.manifest import read_manifest

EVALUATION, KNOWLEDGE, RESULTS = "06_social_evaluation", "08_mmlu", "10_results"
SETTINGS = ("turn_limit", "limit_semantics", "prompt_format", "temperature", "top_p", "max_new_tokens", "seed")
BESIDE = ("base", "expert")


def measured(run: FinishedRun, variant: TrainedVariant) -> tuple[Measured | None, str]:
    """The results of a run, or None and why there are none for this variant's adapter as it is now."""
    evaluation, results = read_manifest(run.dir / EVALUATION), read_manifest(run.dir / RESULTS)
    if evaluation is None or results is None:
        missing = EVALUATION if evaluation is None else RESULTS
        return None, f"stage {missing} of the run is not complete"
    adapter = f"{variant.folder}/adapter"
    now = run.manifest(variant.stage)["digests"].get(adapter)
    if evaluation["inputs"].get(f"{variant.stage}/{adapter}") != now:
        return None, f"stage {EVALUATION} of the run has not played this adapter"
    inputs = {name: digest for name, digest in results["inputs"].items() if name.startswith(f"{EVALUATION}/")}
    if any(evaluation["digests"].get(name.partition("/")[2]) != digest for name, digest in inputs.items()):
        return None, f"stage {RESULTS} of the run has not read the latest evaluation"
    run.file(RESULTS, RESULTS_FILE)
    scores = [
        row
        for row in run_results(run.root, run.dir)["results"]
        if row["dimension"] == "goal" and row["side"] == "agent"
    ]
    if variant.name not in {row["variant"] for row in scores}:
        return None, f"stage {EVALUATION} of the run played no episode of {variant.name}"
    return _measured(run, variant.name, evaluation, scores), ""


def _measured(run: FinishedRun, variant: str, evaluation: Mapping[str, Any], scores: list[dict[str, Any]]) -> Measured:
    roles = evaluation["notes"].get("roles", {})
    both_sides = list(_table(run, "both_sides"))
    parts = [row for row in _table(run, "parts") if row["tasks"] == "all" and row["side"] == "agent"]
    knowledge = [row for row in _table(run, "knowledge") if variant in (row["first"], row["second"])]
    questions = read_manifest(run.dir / KNOWLEDGE)
    return Measured(
        judge=shown_model(roles.get("judge", "")),
        partner=shown_model(roles.get("partner", "")),
        expert=shown_model(roles.get("expert", "")),
        settings={key: evaluation["params"][key] for key in SETTINGS if key in evaluation["params"]},
        method=both_sides[0]["method"] if both_sides else "an interval whose method the run does not name",
        scores=scores,
        parts=[row for row in parts if row["variant"] in (variant, *BESIDE)],
        pairs=[_rounded(row) for row in _table(run, "paired") if variant in (row["variant"], row["reference"])],
        knowledge=[_rounded(row) for row in knowledge],
        questions=questions["notes"].get("questions", "") if questions else "",
    )


def _table(run: FinishedRun, name: str) -> Iterator[dict[str, Any]]:
    """Rows of a table of the results stage, none where it wrote no such table."""
    file = f"tables/{name}.csv"
    if file not in run.manifest(RESULTS)["files"]:
        return
    with run.file(RESULTS, file).open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            missing = row.get("missing", "")
            yield row | ({"missing": ast.literal_eval(missing)} if missing.startswith("{") else {})


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of comparisons with its numbers as a reader wants them, and its difference as the mean of an interval."""
    shown = {"mean": row.get("difference", "")}
    for key in ("p", "p_holm"):
        shown |= {key: _p(row[key])} if key in row else {}
    if "difference_points" in row:
        shown["difference_points"] = f"{float(row['difference_points']):.1f}".replace("-", "−")
    return {**row, **shown}


def _p(value: str) -> str:
    if not value:
        return "–"
    return "below 0.001" if float(value) < 0.001 else f"{float(value):.3f}"
