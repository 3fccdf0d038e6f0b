"""Several seeds of one preset: a run each, resumable, then the notebooks that pool several runs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sotopia_pi.app.console import Lines
from sotopia_pi.app.pipeline import Settings
from sotopia_pi.store.notebook import read_notebook, stage_names
from sotopia_pi.store.params import POOLED, Plan, plan_run

RunPlan = Callable[[Path, Plan, Settings, Lines], int]


def run_seeds(
    root: Path, preset: Path, seeds: Sequence[int], settings: Sequence[str], command: str, run_plan: RunPlan
) -> int:
    """Run a preset once per seed as runs `<stem>-seed<n>`, then pool; returns the exit status.

    Stops at the first run that fails; the same command continues there.
    """
    lines = Lines()
    plans = seed_plans(root, preset, seeds, settings)
    for number, plan in enumerate(plans, 1):
        lines.say(f"Run {plan.run}, {number} of {len(plans)}")
        status = run_plan(root, plan, Settings(command=command), lines)
        if status:
            return status
    pooled = pooling_plan(root, preset, [plan.run for plan in plans], settings)
    if not pooled.stages:
        return 0
    lines.say(f"Run {pooled.run}, pooled over {len(plans)} seeds")
    return run_plan(root, pooled, Settings(command=command), lines)


def seed_plans(root: Path, preset: Path, seeds: Sequence[int], settings: Sequence[str]) -> list[Plan]:
    """One plan a seed. Raises ParameterError when the notebooks declare no seed."""
    return [
        plan_run(root, preset, [*settings, f"seed={seed}"], run=f"{preset.stem}-seed{seed}")
        for seed in sorted(set(seeds))
    ]


def pooling_plan(root: Path, preset: Path, runs: Sequence[str], settings: Sequence[str]) -> Plan:
    """The plan of run `<stem>-seeds`: the notebooks that declare `runs`, told which runs to pool; it may be empty."""
    names = stage_names(root)
    declaring = [name for name in names if POOLED in read_notebook(root / "notebooks" / f"{name}.ipynb").parameters]
    told = [*settings, f"{POOLED}={list(runs)}"] if declaring else settings
    return replace(plan_run(root, preset, told, run=f"{preset.stem}-seeds"), stages=tuple(declaring))
