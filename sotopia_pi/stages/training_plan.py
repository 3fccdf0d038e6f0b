"""A training written down: all that `train_adapter` needs, so that other processes can carry it out."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sotopia_pi.models.weights import prepare
from sotopia_pi.stages.examples import SFTExample
from sotopia_pi.stages.finetune import Advances, TrainingResult, finished_training, train_adapter
from sotopia_pi.stages.lora import LoraSettings
from sotopia_pi.stages.ranks import ALONE, Ranks
from sotopia_pi.store.items import ItemFile, write_atomically

PLAN_FILE = "plan.json"


class NotTrainedYet(RuntimeError):
    """A stage was told not to train here, and nobody has trained elsewhere; the message says how to."""


@dataclass(frozen=True)
class TrainingPlan:
    """One adapter to train.

    model: a name that `prepare` knows, a folder or a hub id. examples: items file, relative to the folder the adapter
    goes to; example_ids: which of its items, in order. start_from: adapter to continue, relative to the same folder;
    "" begins anew.
    """

    model: str
    settings: LoraSettings
    examples: str
    example_ids: tuple[str, ...]
    start_from: str = ""

    @classmethod
    def of(
        cls,
        out_dir: Path,
        model: str,
        settings: LoraSettings,
        examples_file: Path,
        examples: Sequence[SFTExample],
        start_from: Path | None = None,
    ) -> "TrainingPlan":
        """The plan for `out_dir`, its paths made relative to it so that a run's folder may be moved."""
        relative = [os.path.relpath(path, out_dir) if path else "" for path in (examples_file, start_from)]
        return cls(model, settings, relative[0], tuple(example.id for example in examples), relative[1])

    def to_dict(self) -> dict[str, Any]:
        record = {"schema": "training-plan/1", **vars(self), "settings": self.settings.to_dict()}
        return {**record, "example_ids": list(self.example_ids)}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "TrainingPlan":
        body = {key: value for key, value in record.items() if key != "schema"}
        body["settings"] = LoraSettings.from_dict(body["settings"])
        return cls(**{**body, "example_ids": tuple(body["example_ids"])})

    def write(self, out_dir: Path) -> None:
        write_atomically(out_dir / PLAN_FILE, (json.dumps(self.to_dict(), indent=1) + "\n").encode())

    @classmethod
    def read(cls, out_dir: Path) -> "TrainingPlan":
        """The plan in a folder. Raises FileNotFoundError that says which stage writes one."""
        path = out_dir / PLAN_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is not there: a plan is written by the stage that trains (03 or 05) before it begins. Run it "
                f"with train_here=false first"
            )
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))

    def read_examples(self, out_dir: Path) -> list[SFTExample]:
        """The examples in the plan's order. Raises ValueError when the file lacks one of them."""
        found = {item["id"]: item for item in ItemFile(out_dir / self.examples).read()}
        absent = [name for name in self.example_ids if name not in found]
        if absent:
            raise ValueError(
                f"{out_dir / self.examples}: {len(absent)} of {len(self.example_ids)} planned examples are not there, "
                f"first {absent[0]}. Run the stage that wrote the plan again"
            )
        return [SFTExample.from_dict(found[name]) for name in self.example_ids]

    def carry_out(self, out_dir: Path, progress: Advances | None = None, ranks: Ranks = ALONE) -> TrainingResult:
        """Train as planned, alone or as one of several processes."""
        start_from = out_dir / self.start_from if self.start_from else None
        examples = self.read_examples(out_dir)
        return train_adapter(prepare(self.model), examples, self.settings, out_dir, start_from, progress, ranks)


def train_as_planned(
    plan: TrainingPlan, out_dir: Path, here: bool = True, progress: Advances | None = None
) -> TrainingResult:
    """Write the plan and carry it out, or (here False) take what other processes trained after it.

    Raises NotTrainedYet with the command for them while they have not.
    """
    plan.write(out_dir)
    if here:
        return plan.carry_out(out_dir, progress)
    start_from = out_dir / plan.start_from if plan.start_from else None
    done = finished_training(prepare(plan.model), plan.read_examples(out_dir), plan.settings, out_dir, start_from)
    if done is None:
        raise NotTrainedYet(
            f"{out_dir}: train_here is false and this adapter is not trained yet ({len(plan.example_ids)} examples). "
            f"Train it, for example on two graphics cards:\n"
            f"    torchrun --nproc-per-node 2 -m sotopia_pi.app.train {os.path.relpath(out_dir)}\n"
            f"then run the same command again; it goes on from there."
        )
    return done
