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
TOLD_APART = ("kind", "run", "layout", "variant")
"""What two exports must share for one to replace the other."""


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
    """The folder of an export. shared: names of files that may hold other people's entries as well; `write` finds them
    as they lie here and adds to them, and they are never removed."""

    path: Path
    force: bool = False
    shared: tuple[str, ...] = ()

    def fill(self, write: Callable[[Path], ExportReport]) -> dict[str, Any]:
        """Let `write` write into an empty folder, then put what it wrote here; returns the report with all files.

        Files of an earlier export of the same are replaced as long as nobody changed them. Raises WouldReplace, before
        anything is changed, for other files in the way and for earlier ones that this export would not write again;
        with `force` the former are replaced and the latter removed.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        try:
            taken_along = self._taken_along(made)
            report = write(made).to_dict()
            files = {name: file_sha256(made / name) for name in _files(made)}
            own = {name: digest for name, digest in files.items() if name not in taken_along}
            outdated = self._outdated(report, own)
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

    def _taken_along(self, made: Path) -> list[str]:
        """Copy the shared files that somebody else wrote or changed, for `write` to add to them."""
        known = self.earlier().get("files", {})
        there = [name for name in self.shared if (self.path / name).is_file()]
        foreign = [name for name in there if file_sha256(self.path / name) != known.get(name)]
        for name in foreign:
            shutil.copyfile(self.path / name, made / name)
        return foreign

    def _outdated(self, report: Mapping[str, Any], files: Mapping[str, str]) -> list[str]:
        """Unchanged files of the earlier export that this one no longer has. Raises WouldReplace."""
        earlier = self.earlier()
        known = earlier.get("files", {})
        there = [name for name in {**files, **known} if (self.path / name).is_file()]
        same = {name for name in there if file_sha256(self.path / name) in (known.get(name), files.get(name))}
        foreign = [name for name in there if name in files and name not in same]
        if (self.path / REPORT).is_file() and any(earlier.get(key) != report.get(key) for key in TOLD_APART):
            foreign.append(REPORT)
        outdated = [name for name in known if name in same and name not in files and name not in self.shared]
        if (foreign or outdated) and not self.force:
            reasons = (("that this export did not write, or that were changed since", foreign),)
            reasons += (("of an earlier export that this one lacks", outdated),)
            told = [f"{len(names)} files {which}, first {names[0]}" for which, names in reasons if names]
            raise WouldReplace(
                f"{self.path} holds {' and '.join(told)}. Name another folder with --out, or replace and remove them "
                f"with --force."
            )
        return outdated

    def _put(self, made: Path, names: Sequence[str]) -> None:
        for name in names:
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (made / name).replace(target)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
