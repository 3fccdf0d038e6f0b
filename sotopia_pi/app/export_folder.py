"""Where an export goes: made whole beside its folder, then put there; only what an earlier export wrote is replaced."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sotopia_pi.store.manifest import file_sha256
from sotopia_pi.store.params import ParameterError

REPORT = "export.json"
"""What an export wrote, in its folder; by it the next one knows its own files."""
SCHEMA = "export/1"


class WouldReplace(ParameterError):
    """A folder holds files that this export did not write; the message names them and says what to do."""


@dataclass(frozen=True)
class LeftOut:
    """Something that an export lacks. what: a stage, a variant, an episode; n: how many of them; why: in words."""

    what: str
    n: int
    why: str

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class ExportReport:
    """What came of an export. what: kind, run and whatever tells it from another one in the same place; counts: by
    part; remarks: what its reader should know."""

    what: Mapping[str, Any]
    counts: Mapping[str, Mapping[str, int]]
    left_out: Sequence[LeftOut] = ()
    remarks: Sequence[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            **self.what,
            "counts": {part: dict(counts) for part, counts in self.counts.items()},
            **self.more,
            "left_out": [one.to_dict() for one in self.left_out],
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True)
class ExportFolder:
    """The folder of an export. shared: names of files in it that hold other people's entries as well; they are made
    anew with those entries in them, and never removed."""

    path: Path
    force: bool = False
    shared: tuple[str, ...] = ()

    def fill(self, write: Callable[[Path], ExportReport]) -> dict[str, Any]:
        """Let `write` write into an empty folder, then put what it wrote here; returns the report with all files.

        Files of an earlier export that are unchanged are replaced or, where this one has no such file, removed.
        Raises WouldReplace, before anything is changed, for any other file in the way, unless `force` is set.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        try:
            report = write(made).to_dict()
            files = {name: file_sha256(made / name) for name in _files(made)}
            own = {name: digest for name, digest in files.items() if name not in self.shared}
            outdated = self._outdated(report, files)
            self._put(made, files)
            text = json.dumps(report | {"files": own}, ensure_ascii=False, indent=1)
            (made / REPORT).write_text(f"{text}\n", encoding="utf-8")
            self._put(made, [REPORT])
            for name in outdated:
                (self.path / name).unlink()
        finally:
            shutil.rmtree(made)
        return report | {"folder": str(self.path), "files": sorted(files)}

    def earlier(self) -> dict[str, Any]:
        """The report of the export that lies here, {} where there is none."""
        path = self.path / REPORT
        if not path.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return {}
        return found if isinstance(found, dict) and found.get("schema") == SCHEMA else {}

    def _outdated(self, report: Mapping[str, Any], files: Mapping[str, str]) -> list[str]:
        """Files of the earlier export that this one no longer has. Raises WouldReplace."""
        earlier = self.earlier()
        known = earlier.get("files", {})
        there = [name for name in {**files, **known, REPORT: ""} if (self.path / name).is_file()]
        same = {name for name in there if file_sha256(self.path / name) in (known.get(name), files.get(name))}
        foreign = [name for name in there if name in files and name not in same and name not in self.shared]
        identity = {key: earlier.get(key) for key in report if key in ("kind", "run", "layout")}
        if REPORT in there and any(report[key] != value for key, value in identity.items()):
            foreign.append(REPORT)
        if foreign and not self.force:
            raise WouldReplace(
                f"{self.path} holds {len(foreign)} files that this export did not write or that were changed since, "
                f"first {foreign[0]}. Name another folder with --out, or replace them with --force."
            )
        return [name for name in known if name in same and name not in files]

    def _put(self, made: Path, names: Sequence[str]) -> None:
        for name in names:
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (made / name).replace(target)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
