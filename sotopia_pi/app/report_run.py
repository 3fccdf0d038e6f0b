"""A run as its report reads it: whatever is there, and for everything else why it is not."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sotopia_pi.app.status import StageStatus, run_status
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.manifest import Manifest, read_manifest
from sotopia_pi.store.run_card import read_run_card

FINISHED = ("complete", "unanswered")
"""States of a stage whose results may be shown."""


@dataclass(frozen=True)
class ReportRun:
    """A run of a project. root: the project's folder; name: the run's; stages: those that its plan has.

    Only what the manifest of a finished stage names is shown. Everything here answers None or nothing where a stage
    is not finished; a damaged file raises OSError or ValueError.
    """

    root: Path
    name: str
    stages: tuple[str, ...]

    @property
    def dir(self) -> Path:
        return self.root / "outputs" / self.name

    @cached_property
    def rows(self) -> list[StageStatus]:
        """Status of the stages, in their order."""
        return [row for row in run_status(self.root, self.name) if row.name in self.stages]

    @cached_property
    def card(self) -> dict[str, Any]:
        """The run card, {} where none is written yet."""
        return read_run_card(self.dir) or {}

    @cached_property
    def manifests(self) -> dict[str, Manifest]:
        """Manifests of the finished stages."""
        return {row.name: read_manifest(self.dir / row.name) for row in self.rows if row.state in FINISHED}

    def param(self, stage: str, key: str) -> Any:
        """A parameter that a finished stage ran with."""
        return self.manifests.get(stage, {}).get("params", {}).get(key)

    def notes(self, stage: str) -> dict[str, Any]:
        """What a finished stage told the run card."""
        return self.manifests.get(stage, {}).get("notes", {})

    def counts(self, stage: str) -> dict[str, Any]:
        """Counts of a finished stage by label."""
        return self.manifests.get(stage, {}).get("counts", {})

    def path(self, stage: str, file: str) -> Path | None:
        """A file that a finished stage wrote."""
        path = self.dir / stage / file
        return path if file in self.manifests.get(stage, {}).get("files", {}) and path.is_file() else None

    def table(self, stage: str, name: str) -> pd.DataFrame | None:
        """A table that a finished stage published as tables/<name>.csv."""
        path = self.path(stage, f"tables/{name}.csv")
        return None if path is None else pd.read_csv(path, converters={"missing": _missing})

    def items(self, stage: str, file: str) -> list[dict[str, Any]]:
        """The items that a finished stage's manifest names for a file; [] where there are none."""
        if (stage, file) not in self._read:
            self._read[stage, file] = self._items(stage, file)
        return self._read[stage, file]

    @cached_property
    def _read(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        return {}

    def _items(self, stage: str, file: str) -> list[dict[str, Any]]:
        named = self.manifests.get(stage, {}).get("items", {}).get(file, ())
        if not named:
            return []
        wanted = set(named)
        return [item for item in ItemFile(self.dir / stage / file).read() if item["id"] in wanted]

    def published(self, kind: str, suffix: str) -> Sequence[tuple[str, str]]:
        """(stage, name) of everything that finished stages published in a folder: kind "tables" or "figures"."""
        names = ((stage, Path(file)) for stage, found in self.manifests.items() for file in found["files"])
        return [(stage, file.stem) for stage, file in names if file.parts[0] == kind and file.suffix == suffix]


def _missing(text: str) -> Any:
    """The column `missing` of a table as it was before it became text: reasons and their counts."""
    return ast.literal_eval(text) if text.startswith("{") else text
