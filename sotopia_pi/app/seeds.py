"""Several seeds of one preset: a run each, resumable, then what the results notebook can pool over them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sotopia_pi.app.console import Lines
from sotopia_pi.app.pipeline import Settings
from sotopia_pi.store.params import Plan, plan_run

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
    return 0


def seed_plans(root: Path, preset: Path, seeds: Sequence[int], settings: Sequence[str]) -> list[Plan]:
    """One plan a seed. Raises ParameterError when the notebooks declare no seed."""
    return [
        plan_run(root, preset, [*settings, f"seed={seed}"], run=f"{preset.stem}-seed{seed}")
        for seed in sorted(set(seeds))
    ]
