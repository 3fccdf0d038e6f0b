"""Training in processes of its own: `torchrun --nproc-per-node 2 -m sotopia_pi.app.train outputs/paper/03_.../bc`.

`accelerate launch --multi_gpu --num_processes 2 -m sotopia_pi.app.train FOLDER` does the same (with `--cpu` that starts
one process only). The folder holds the plan that the stage wrote; killed and started again, with the same number of
processes or another, it goes on from its checkpoint.
"""

import argparse
from pathlib import Path

from tqdm import tqdm


class Bar:
    """Steps as a bar on the terminal of the first process."""

    def __init__(self, total: int):
        self._bar = tqdm(total=total, unit="step")

    def advance(self, failed: bool = False, **info) -> None:
        self._bar.set_postfix(info, refresh=False)
        self._bar.update()


def main(arguments: list[str] | None = None) -> int:
    """Carry out the plan in a folder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sotopia_pi.app.train", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the stage wrote plan.json, and where the adapter goes")
    folder = parser.parse_args(arguments).folder
    from sotopia_pi.stages.finetune import planned_steps
    from sotopia_pi.stages.ranks import launched
    from sotopia_pi.stages.training_plan import TrainingPlan

    plan, ranks = TrainingPlan.read(folder), launched()
    bar = Bar(planned_steps(plan.read_examples(folder), plan.settings)) if ranks.first else None
    result = plan.carry_out(folder, bar, ranks)
    if ranks.first:
        print(
            f"{folder}: {result.steps} steps, loss {result.loss_first:.3f} to {result.loss_last:.3f}, "
            f"{result.adapter_digest}"
        )
    ranks.leave()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
