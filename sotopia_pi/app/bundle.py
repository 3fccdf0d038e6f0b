"""One zip of a run that can be given away: report, stage pages, items, cards, parameters, adapters, and their digests.

The same run gives the same bytes. Nothing of it names a secret or a folder of the machine.
"""

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sotopia_pi.app.bundle_scan import Places, Secrets, told_projects
from sotopia_pi.app.export_command import PLACE as EXPORTS
from sotopia_pi.app.export_folder import LeftOut
from sotopia_pi.app.finished_run import TASKS, FinishedRun
from sotopia_pi.app.pipeline import NOTEBOOK
from sotopia_pi.app.rekeyed import redigest
from sotopia_pi.app.report import known_stages, write_report
from sotopia_pi.app.status import run_status
from sotopia_pi.stages.human_ratings import FILE as HUMAN_RATINGS
from sotopia_pi.store.items import write_atomically
from sotopia_pi.store.lock import RunLock
from sotopia_pi.store.manifest import MANIFEST, file_sha256
from sotopia_pi.store.params import ParameterError
from sotopia_pi.store.progress import PROGRESS
from sotopia_pi.store.run_card import CARD, PACKAGE, read_run_card

SCHEMA = "bundle/1"
TABLE = "MANIFEST.json"
"""Name, digest and size of every file of a bundle, in its folder."""
WEIGHTS = ".safetensors"
README = "README.md"
CARDS = "cards"
"""Folder of a bundle for the cards that exports made; the exports themselves stay out."""
UNFINISHED = (".part", ".pt")
"""Endings of what a killed process leaves, and of checkpoints that only the same machine goes on from."""
TEXT = {".html", ".ipynb", ".json", ".jsonl", ".yaml", ".csv", ".md", ".txt", ".svg", ".bib", ".cff"}
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The time of all files in a bundle: the earliest that a zip can name."""


class BundleError(ParameterError):
    """A run cannot be bundled, or a bundle not be read; the message names the file, what it holds, and what to do."""


@dataclass(frozen=True)
class Content:
    """What goes into a bundle. files: name in the bundle -> file; left_out: what does not go in, and why."""

    files: dict[str, Path]
    left_out: list[LeftOut]


def bundle_run(root: Path, run: str, target: Path | None, adapters: bool, force: bool) -> dict[str, Any]:
    """Write the bundle and return what came of it.

    target: None for outputs/<run>-bundle.zip. Raises ParameterError for an unknown run, RunLocked while somebody writes
    into it, BundleError where nothing is complete, for a secret, and for a file in the way that is no bundle.
    """
    of = FinishedRun.named(root, run)
    target = target or root / "outputs" / f"{of.name}-bundle.zip"
    _check_target(target, force)
    with RunLock(of.dir):
        _check_run(of)
        write_report(root, of.name, known_stages(root, of.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{of.name}.", dir=target.parent) as beside:
            copy = Path(beside) / of.name
            _lay_out(copy, chosen(of.dir, adapters=True).files)
            rewritten = cleaned(root, of.dir, copy)
            names = list(chosen(copy, adapters).files)
            left_out = chosen(of.dir, adapters).left_out
            _write(target, copy, names, {"rewritten": rewritten, "left_out": [one.to_dict() for one in left_out]})
            remarks = [*_remarks(copy, names), *_doubts(of)]
    return {
        "schema": SCHEMA,
        "run": of.name,
        "file": str(target),
        "bytes": target.stat().st_size,
        "sha256": file_sha256(target),
        "files": len(names),
        "rewritten": rewritten,
        "left_out": [one.to_dict() for one in left_out],
        "remarks": remarks,
    }


def chosen(run_dir: Path, adapters: bool) -> Content:
    """The files of a run that belong into a bundle, and what is left out, each kind with its number and reason.

    Hidden files are no part of a run: locks, and what was being written.
    """
    files: dict[str, Path] = {}
    dropped: dict[str, list[str]] = {}
    for path in sorted(run_dir.rglob("*")):
        name = path.relative_to(run_dir).as_posix()
        hidden = any(part.startswith(".") for part in name.split("/"))
        if hidden or (path.is_dir() and not path.is_symlink()):
            continue
        if path.name == README and name.startswith(f"{EXPORTS}/") and not path.is_symlink():
            files[f"{CARDS}{name.removeprefix(EXPORTS)}"] = path
        elif reason := _reason_to_leave(path, name, adapters):
            dropped.setdefault(reason, []).append(name)
        else:
            files[name] = path
    return Content(dict(sorted(files.items())), [LeftOut(of[0], len(of), why) for why, of in sorted(dropped.items())])


def cleaned(root: Path, run_dir: Path, copy: Path) -> list[str]:
    """Rewrite folders of the machine in the texts of a run's copy, and the digests that hang on them; returns which.

    Raises BundleError for a secret in any file, and for a folder of the machine in one that is no text.
    """
    secrets = Secrets.of_environment()
    places = Places.of_machine(root, told_projects(sorted(copy.glob(f"*/{NOTEBOOK}"))))
    rewritten = []
    for path in sorted(path for path in copy.rglob("*") if path.is_file()):
        name, data = path.relative_to(copy).as_posix(), path.read_bytes()
        if found := secrets.find(data):
            raise BundleError(
                f"{copy.name}/{name} holds {found}, so nothing was bundled. Take it out of the file, or remove the "
                f"file and run its stage again; and change the key, since it was written down."
            )
        if path.suffix in TEXT:
            text = data.decode("utf-8", errors="surrogateescape")
            clean = places.rewritten(text, data=path.suffix == ".jsonl")
            if clean != text:
                write_atomically(path, clean.encode("utf-8", errors="surrogateescape"))
                rewritten.append(name)
        elif place := places.in_bytes(data):
            raise BundleError(
                f"{copy.name}/{name} names the folder {place} of this machine and is no text that could be "
                f"rewritten, so nothing was bundled. Remove the file, or make it without that path."
            )
    redigest(root, run_dir, copy, rewritten)
    return rewritten


def _lay_out(copy: Path, files: Mapping[str, Path]) -> None:
    """The files under another folder: as further names of the same bytes where the disk can, else copied."""
    for name, path in files.items():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)


def _reason_to_leave(path: Path, name: str, adapters: bool) -> str:
    """Why a file stays out of a bundle, "" for one that goes in."""
    if path.is_symlink():
        return "links are not followed"
    if name.split("/")[0] == EXPORTS:
        return "exports can be made again from the bundle"
    if "/index/" in name:
        return "indices of the episode browser, which makes them again"
    if path.suffix in UNFINISHED or path.name == PROGRESS:
        return "checkpoints and unfinished files"
    return "weights of adapters, left out as asked" if path.suffix == WEIGHTS and not adapters else ""


def _check_run(of: FinishedRun) -> None:
    """Raises BundleError for a run with nothing complete, and for a manifest or a run card that cannot be read."""
    rows = run_status(of.root, of.name)
    for row in rows:
        if row.state == "damaged":
            raise BundleError(f"Run {of.name} is not bundled: {row.detail}")
    if not any((of.dir / row.name / MANIFEST).is_file() for row in rows):
        raise BundleError(f"Run {of.name} has no complete stage, so there is nothing to bundle. {of.advice(TASKS)}")
    try:
        read_run_card(of.dir)
    except ValueError as error:
        raise BundleError(f"{of.dir / CARD} cannot be read ({error}). Run the preset of {of.name} again.") from error


def _check_target(target: Path, force: bool) -> None:
    if force or not target.exists():
        return
    try:
        with zipfile.ZipFile(target) as archive:
            is_bundle = any(name.split("/")[1:] == [TABLE] for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        is_bundle = False
    if not is_bundle:
        raise BundleError(f"{target} is there and is no bundle. Name another file with --out, or replace it: --force.")


def _write(target: Path, copy: Path, names: Sequence[str], told: Mapping[str, Any]) -> None:
    """The zip, made beside its place and put there whole."""
    card = read_run_card(copy) or {}
    files = {name: {"sha256": file_sha256(copy / name), "bytes": (copy / name).stat().st_size} for name in names}
    package = card.get("package", {PACKAGE: "unknown"})
    table = {"schema": SCHEMA, "run": copy.name, "package": package, **told, "files": files}
    beside = target.with_name(f".{target.name}.part")
    try:
        with zipfile.ZipFile(beside, "w") as archive:
            _add(archive, f"{copy.name}/{TABLE}", (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode())
            for name in names:
                _add(archive, f"{copy.name}/{name}", (copy / name).read_bytes())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """One file, with a time and rights that are always the same."""
    entry = zipfile.ZipInfo(name, FIRST_DAY)
    entry.create_system, entry.external_attr = 3, 0o100644 << 16  # a regular file, as Unix writes it
    archive.writestr(entry, data, zipfile.ZIP_DEFLATED, 6)


def _remarks(copy: Path, names: Sequence[str]) -> list[str]:
    """What the one who gives the bundle away should know."""
    entered = [name for name in names if name.endswith(HUMAN_RATINGS) and (copy / name).stat().st_size]
    return [f"{name} holds what people entered, under the names they gave" for name in entered]


def _doubts(of: FinishedRun) -> list[str]:
    """Stages whose files are not what their manifests say."""
    changed = [row for row in run_status(of.root, of.name) if row.state == "changed"]
    return [f"{row.name}: {row.detail} since its stage wrote it; it goes in as it is" for row in changed]
