"""A finished run as other commands read it: what its manifests name, and nothing of it is touched."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sotopia_pi.app.status import find_run
from sotopia_pi.store.items import ItemFile, items_digest
from sotopia_pi.store.manifest import Manifest, read_manifest
from sotopia_pi.store.notebook import stage_names
from sotopia_pi.store.params import ParameterError, find_stage
from sotopia_pi.world.tasks import SocialTask

TASKS = "01_social_tasks"


class NotFinished(FileNotFoundError):
    """A run lacks a complete stage; the message names the stage, those there are, and the command that makes it."""


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

    def stage(self, asked: str) -> str:
        """The stage that a number or a name means. Raises ParameterError with the closest name."""
        return find_stage(asked, stage_names(self.root))

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

    def tasks(self) -> dict[str, SocialTask]:
        """The tasks of all splits by id."""
        return {task["id"]: SocialTask.from_dict(task) for task in self.items(TASKS, "tasks.jsonl")}
