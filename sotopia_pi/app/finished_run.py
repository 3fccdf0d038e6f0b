"""A finished run as other commands read it: what its manifests name, and nothing of it is touched."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sotopia_pi.app.status import find_run
from sotopia_pi.store.items import ItemFile, items_digest
from sotopia_pi.store.manifest import Manifest, file_sha256, read_manifest
from sotopia_pi.store.notebook import stage_names
from sotopia_pi.store.params import ParameterError
from sotopia_pi.world.tasks import SocialTask

TASKS, CLONING, REINFORCEMENT = "01_social_tasks", "03_behavior_cloning", "05_self_reinforcement"
TASKS_FILE, EPISODES = "tasks.jsonl", "episodes.jsonl"
TRAINING = (CLONING, REINFORCEMENT)
EXAMPLES, VARIANTS, PLAN_FILE = "examples.jsonl", "variants.jsonl", "plan.json"


class NotFinished(FileNotFoundError):
    """A run lacks a complete stage; the message names the stage, those there are, and the command that makes it."""


@dataclass(frozen=True)
class TrainedVariant:
    """A variant that a stage was to train. folder: in the stage's, with adapter, plan and settings; "" where it was not
    trained, and reason says why."""

    name: str
    stage: str
    folder: str
    reason: str = ""


@dataclass(frozen=True)
class FinishedRun:
    """dir: outputs/<run>/ under root, the project's folder."""

    root: Path
    dir: Path

    @classmethod
    def named(cls, root: Path, run: str) -> "FinishedRun":
        """The run of this name or path. Raises ParameterError with the closest name and what makes a run."""
        try:
            return cls(root, find_run(root, run))
        except ParameterError as error:
            preset = f"{Path(run).name}.yaml"
            known = preset if (root / "params" / preset).is_file() else "PRESET.yaml"
            raise ParameterError(f"{error} A run is made by: sotopia-pi run params/{known}") from error

    @property
    def name(self) -> str:
        return self.dir.name

    def stages_with(self, *files: str) -> list[str]:
        """Complete stages whose results hold these files or folders, in order."""
        found = {name: read_manifest(self.dir / name) for name in stage_names(self.root)}
        return [name for name, manifest in found.items() if manifest and all(f in manifest["digests"] for f in files)]

    def manifest(self, stage: str) -> Manifest:
        """The manifest of a complete stage. Raises NotFinished."""
        found = read_manifest(self.dir / stage)
        if found is None:
            raise NotFinished(f"Run {self.name} has no complete {stage}. {self.advice(stage)}")
        return found

    def advice(self, stage: str) -> str:
        """What is complete, and the command that makes a stage."""
        complete = ", ".join(name for name in stage_names(self.root) if read_manifest(self.dir / name)) or "none"
        preset = f"params/{self.name}.yaml"
        makes = f"sotopia-pi run {preset} --only {stage}"
        if not (self.root / preset).is_file():
            makes = f"run the preset of {self.name} again (how far it is: sotopia-pi status {self.name})"
        return f"Complete: {complete}. Make it: {makes}"

    def items(self, stage: str, file: str) -> list[dict[str, Any]]:
        """The items that a stage's manifest names for a file, in its order.

        Raises NotFinished, also where the file is not what the stage wrote.
        """
        manifest = self.manifest(stage)
        if file not in manifest["items"]:
            raise NotFinished(f"{self.name}/{stage} has no items {file!r}; it has: {', '.join(manifest['items'])}.")
        wanted: Sequence[str] = manifest["items"][file]
        found = {item["id"]: item for item in ItemFile(self.dir / stage / file).read()}
        items = [found[item_id] for item_id in wanted if item_id in found]
        if len(items) != len(wanted) or items_digest(items) != manifest["digests"][file]:
            raise NotFinished(
                f"{self.dir / stage / file} is not what its stage wrote ({len(items)} of {len(wanted)} items found). "
                f"{self.advice(stage)}"
            )
        return items

    def file(self, stage: str, name: str) -> Path:
        """A file that a stage wrote. Raises NotFinished where it is gone or differs from the manifest."""
        path, known = self.dir / stage / name, self.manifest(stage)["files"].get(name)
        if known is None or not path.is_file() or file_sha256(path) != known["sha256"]:
            raise NotFinished(f"{path} is gone, or not what its stage wrote. {self.advice(stage)}")
        return path

    def variants(self) -> list[TrainedVariant]:
        """What the complete training stages trained, or did not. Raises NotFinished where none is complete."""
        stages = self.stages_with(EXAMPLES)
        if not stages:
            raise NotFinished(f"Run {self.name} has no complete stage that trains. {self.advice(CLONING)}")
        found = []
        for stage in stages:
            if VARIANTS in self.manifest(stage)["items"]:
                told = self.items(stage, VARIANTS)
                found += [TrainedVariant(one["id"], stage, one["folder"], one["reason"]) for one in told]
            else:
                found.append(TrainedVariant("BC", stage, "bc"))
        return found

    def tasks(self, stage: str = "") -> dict[str, SocialTask]:
        """The tasks of all splits by id. stage: one that read them; they must not have changed since."""
        items = self.input(stage, TASKS_FILE) if stage else self.items(TASKS, TASKS_FILE)
        return {task["id"]: SocialTask.from_dict(task) for task in items}

    def input(self, stage: str, file: str) -> list[dict[str, Any]]:
        """The items of an earlier stage that a stage read. Raises NotFinished where they were made anew since."""
        inputs = self.manifest(stage)["inputs"]
        ((name, digest),) = [(name, digest) for name, digest in inputs.items() if name.endswith(f"/{file}")]
        source = name.removesuffix(f"/{file}")
        if self.manifest(source)["digests"].get(file) != digest:
            raise NotFinished(f"{self.name}/{name} was made anew since {stage} read it. {self.advice(stage)}")
        return self.items(source, file)
