"""Several seeds of one preset: a run each, resumable, then pooled into tables, figures and a page of their own."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sotopia_pi.analysis.pooling import differing_parameters, missing_variants
from sotopia_pi.analysis.publish import Publisher
from sotopia_pi.analysis.tables import EVALUATION_STAGE, pooled, results_frame, results_json, shown
from sotopia_pi.app.console import Lines
from sotopia_pi.app.pipeline import Settings
from sotopia_pi.app.pooled_report import REPORT, Pool, pool_figures, pooled_page
from sotopia_pi.app.results import RESULTS_FILE, NoResults
from sotopia_pi.app.status import run_status
from sotopia_pi.store.items import ItemFile, write_atomically
from sotopia_pi.store.lock import RunLock
from sotopia_pi.store.manifest import MANIFEST, read_manifest
from sotopia_pi.store.notebook import read_notebook, stage_names
from sotopia_pi.store.params import POOLED, Plan, plan_run

RunPlan = Callable[[Path, Plan, Settings, Lines], int]
VARIANTS_FILE = "variants.jsonl"


def run_seeds(
    root: Path,
    preset: Path,
    seeds: Sequence[int],
    settings: Sequence[str],
    command: str,
    run_plan: RunPlan,
    pool_only: bool = False,
) -> int:
    """Run a preset once per seed as runs `<stem>-seed<n>`, then pool them; returns the exit status.

    Stops at the first run that fails; the same command continues there. pool_only: run nothing, pool the runs that
    are complete and name the others. Raises NoResults when not one is complete.
    """
    lines = Lines()
    plans = seed_plans(root, preset, seeds, settings)
    status = 0 if pool_only else _run_all(root, plans, command, run_plan, lines)
    if status:
        return status
    if EVALUATION_STAGE in stage_names(root):
        folder = root / "outputs" / f"{preset.stem}-pooled"
        with RunLock(folder):
            _tell(write_pool(root, folder, plans, command), folder, lines)
    extra = pooling_plan(root, preset, [plan.run for plan in plans], settings)
    if pool_only or not extra.stages:
        return 0
    lines.say(f"Run {extra.run}, pooled over {len(plans)} seeds")
    return run_plan(root, extra, Settings(command=command), lines)


def seed_plans(root: Path, preset: Path, seeds: Sequence[int], settings: Sequence[str]) -> list[Plan]:
    """One plan a seed. Raises ParameterError when the notebooks declare no seed."""
    return [
        plan_run(root, preset, [*settings, f"seed={seed}"], run=f"{preset.stem}-seed{seed}")
        for seed in sorted(set(seeds))
    ]


def pooling_plan(root: Path, preset: Path, runs: Sequence[str], settings: Sequence[str]) -> Plan:
    """The plan of run `<stem>-compared`: the notebooks that declare `runs`, told which; it may have none."""
    names = stage_names(root)
    declaring = [name for name in names if POOLED in read_notebook(root / "notebooks" / f"{name}.ipynb").parameters]
    told = [*settings, f"{POOLED}={list(runs)}"] if declaring else settings
    return replace(plan_run(root, preset, told, run=f"{preset.stem}-compared"), stages=tuple(declaring))


def what_is_unfinished(root: Path, plan: Plan) -> str:
    """Why a run is not ready to be pooled, or "" when every stage of its plan is complete.

    Items without an answer are missing values with a reason, and hold up no pooling.
    """
    if not (root / "outputs" / plan.run).is_dir():
        return "not started"
    rows = [row for row in run_status(root, plan.run) if row.name in plan.stages]
    return ", ".join(f"{row.name} {row.state}" for row in rows if row.state not in ("complete", "unanswered"))


def read_pool(root: Path, name: str, plans: Sequence[Plan], command: str = "") -> Pool:
    """The complete ones of these runs as one. command: what makes the others, for the message of NoResults."""
    unfinished = {plan.run: what_is_unfinished(root, plan) for plan in plans}
    left_out = {run: why for run, why in unfinished.items() if why}
    runs = tuple(run for run in unfinished if run not in left_out)
    if not runs:
        missing = "; ".join(f"{run}: {why}" for run, why in left_out.items())
        raise NoResults(f"There is no complete run to pool yet ({missing}). Make them: {command}")
    frame = pooled(results_frame(root / "outputs" / run) for run in runs)
    told = {run: ItemFile(root / "outputs" / run / EVALUATION_STAGE / VARIANTS_FILE).read() for run in runs}
    params = {run: _parameters(root / "outputs" / run) for run in runs}
    models = dict.fromkeys(stages[EVALUATION_STAGE]["model"] for stages in params.values())
    return Pool(
        name=name,
        frame=frame,
        runs=runs,
        label=f"rule-scored negotiation, {', '.join(models)}, {len(runs)} runs pooled",
        missing=missing_variants(frame, told),
        left_out=left_out,
        differences=tuple(differing_parameters(params)),
    )


def write_pool(root: Path, folder: Path, plans: Sequence[Plan], command: str = "") -> Pool:
    """Pool the complete runs and write tables/, figures/, results.json and last the page; returns what was pooled."""
    pool = read_pool(root, folder.name, plans, command)
    figures = pool_figures(pool)
    publisher = Publisher(folder)
    for name, table in {**pool.tables, "missing_variants": pool.missing}.items():
        publisher.table(name, table)
    for name, figure in figures.items():
        publisher.figure(name, figure)
    results = {"run": pool.name, "runs": list(pool.runs), "left_out": dict(pool.left_out)}
    results |= {"results": results_json(pool.frame)}
    write_atomically(folder / RESULTS_FILE, json.dumps(results, indent=1, ensure_ascii=False).encode())
    write_atomically(folder / REPORT, pooled_page(pool, figures, folder).encode())
    return pool


def _run_all(root: Path, plans: Sequence[Plan], command: str, run_plan: RunPlan, lines: Lines) -> int:
    """Run the plans in order; the status of the first that fails, else 0."""
    for number, plan in enumerate(plans, 1):
        lines.say(f"Run {plan.run}, {number} of {len(plans)}")
        status = run_plan(root, plan, Settings(command=command), lines)
        if status:
            lines.say(f"To pool the runs that are complete: {command} --pool-only")
            return status
    return 0


def _parameters(run_dir: Path) -> dict[str, dict[str, Any]]:
    """Parameters each complete stage of a run ran with, by stage."""
    manifests = {path.parent.name: read_manifest(path.parent) for path in sorted(run_dir.glob(f"*/{MANIFEST}"))}
    return {stage: manifest["params"] for stage, manifest in manifests.items() if manifest}


def _tell(pool: Pool, folder: Path, lines: Lines) -> None:
    """The answer in short, on the terminal: what is pooled, shares of the expert's goal, trivial play, the page."""
    lines.say(f"\nPooled: {', '.join(pool.runs)}")
    for run, why in pool.left_out.items():
        lines.say(f"Not in this pool: {run} ({why})")
    for variant, why in pool.notes.items():
        lines.say(f"{variant}: {why}")
    for line in pool.differences:
        lines.say(f"The runs do not share a parameter: {line}")
    lines.say("\nGoal as a share of the expert's")
    lines.say(shown(pool.tables["share_of_expert"]).to_string(index=False))
    lines.say("\nDoes trivial play win? The expert minus each trivial policy, goal points")
    lines.say(shown(pool.tables["trivial_check"]).to_string(index=False))
    lines.say(f"\nReport: {os.path.relpath(folder / REPORT)}")
