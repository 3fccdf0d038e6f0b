"""Ablations: a preset at every point of a factor, a run each that shares what does not change, and what came of it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sotopia_pi.analysis.figure_parts import figure_bytes
from sotopia_pi.analysis.publish import Publisher
from sotopia_pi.analysis.sweep_tables import sweep_figure, sweep_table
from sotopia_pi.analysis.tables import EVALUATION_STAGE, pooled, results_frame, shown
from sotopia_pi.app.console import Lines
from sotopia_pi.app.fragments import Chapter, chaptered, joined, link, paragraph, picture, warning
from sotopia_pi.app.pipeline import Settings
from sotopia_pi.app.render import page
from sotopia_pi.app.report import REPORT
from sotopia_pi.app.report_results import frame_html
from sotopia_pi.app.seeds import RunPlan, what_is_unfinished
from sotopia_pi.app.shared_stages import take_over
from sotopia_pi.app.sweep_file import Sweep, read_sweep, sweep_plans
from sotopia_pi.store.items import write_atomically
from sotopia_pi.store.lock import RunLock
from sotopia_pi.store.params import Plan

Plans = Mapping[str, Sequence[Plan]]


def run_sweep(root: Path, path: Path, settings: Sequence[str], command: str, run_plan: RunPlan) -> int:
    """Run every point of a sweep once per seed, then draw goal against the factor; returns the exit status.

    Stops at the first run that fails; the same command continues there. What is complete by then is drawn all the same.
    """
    sweep, lines = read_sweep(path), Lines()
    plans = sweep_plans(root, sweep, settings)
    everything = [plan for of_point in plans.values() for plan in of_point]
    status = 0
    for number, plan in enumerate(everything, 1):
        lines.say(f"Run {plan.run}, {number} of {len(everything)}")
        shared = take_over(root, plan, everything[: number - 1])
        if shared:
            lines.say(f"Taken over from an earlier point: {', '.join(shared)}")
        status = run_plan(root, plan, Settings(command=command), lines)
        if status:
            break
    if all(EVALUATION_STAGE in plan.stages for plan in everything):
        folder = root / "outputs" / f"{sweep.name}-sweep"
        with RunLock(folder):
            write_sweep(root, folder, sweep, plans)
        lines.say(f"Goal against {sweep.factor}: {os.path.relpath(folder / REPORT)}")
    return status


def write_sweep(root: Path, folder: Path, sweep: Sweep, plans: Plans) -> None:
    """Write tables/goal.csv, figures/goal.png and .svg, and the page, from the runs that are complete."""
    unfinished = {plan.run: what_is_unfinished(root, plan) for of_point in plans.values() for plan in of_point}
    frames = {
        point: pooled(results_frame(root / "outputs" / plan.run) for plan in of_point if not unfinished[plan.run])
        for point, of_point in plans.items()
    }
    models = dict.fromkeys(plan.params[EVALUATION_STAGE]["model"] for of_point in plans.values() for plan in of_point)
    judges = dict.fromkeys(plan.params[EVALUATION_STAGE]["judge"] for of_point in plans.values() for plan in of_point)
    goals = sweep_table(frames)
    label = f"{', '.join(models)}, scored by {', '.join(judges)}"
    figure = sweep_figure(goals, sweep.factor, label)
    publisher = Publisher(folder)
    publisher.table("goal", goals)
    publisher.figure("goal", figure)
    lead = paragraph(f"{label}; preset {sweep.base.stem}, seeds {', '.join(map(str, sweep.seeds))}", "quiet")
    words = "Goal completion at each point of the factor; the table below has the numbers."
    answer = [
        *(warning(f"Not drawn: {run} ({why}).") for run, why in unfinished.items() if why),
        picture(figure_bytes(figure), words),
        frame_html(shown(goals) if len(goals) else goals),
    ]
    runs = [paragraph(link(f"../../{run}/report/index.html", run)) for run, why in unfinished.items() if not why]
    chapters = [Chapter("answer", "The answer", joined(answer)), Chapter("runs", "Runs", joined(runs))]
    body = chaptered(f"Sweep {sweep.name}: goal against {sweep.factor}", lead, chapters)
    write_atomically(folder / REPORT, page(f"Sweep {sweep.name}", body).encode())
