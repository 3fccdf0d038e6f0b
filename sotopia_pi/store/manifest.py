"""Manifests: what a stage read and wrote, written last, so that a complete stage is one that has a manifest."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sotopia_pi.store.digest import imported_modules, imports_in, source_digest
from sotopia_pi.store.items import canonical, items_digest, without_times, write_atomically
from sotopia_pi.store.notebook import Notebook, imports_text

SCHEMA = "manifest/1"
MANIFEST = "manifest.json"
PART = "manifest.json.part"
PACKAGE_ROOT = Path(__file__).resolve().parents[1]

Manifest = dict[str, Any]


def read_manifest(stage_dir: Path, name: str = MANIFEST) -> Manifest | None:
    """A stage's manifest, or None when the stage is not complete. Raises ValueError for a damaged one."""
    path = stage_dir / name
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not readable ({error}). Delete this file and run the stage again.") from error


def write_manifest(stage_dir: Path, manifest: Manifest, name: str = MANIFEST) -> None:
    """Write a manifest atomically."""
    write_atomically(stage_dir / name, (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())


def n_unanswered(manifest: Manifest) -> int:
    """How many items of a complete stage no server gave an answer to, over all its files."""
    return sum(manifest.get("unanswered", {}).values())


def describe_files(stage_dir: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """sha256, bytes and modification time of each file, folders with all that is in them, by relative path.

    Raises FileNotFoundError for a name that is not there.
    """
    described = {}
    for name in names:
        path = stage_dir / name
        if not path.exists():
            raise FileNotFoundError(f"{path}: named as a result of the stage, but nothing was written there.")
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            stat = file.stat()
            described[file.relative_to(stage_dir).as_posix()] = {
                "sha256": file_sha256(file),
                "bytes": stat.st_size,
                "mtime_ns": stat.st_mtime_ns,
            }
    return described


def changed_file(stage_dir: Path, manifest: Manifest) -> str | None:
    """The first file that is gone or differs from the manifest, or None when all match.

    A file with the size and modification time on record counts as unchanged; others are read and compared.
    """
    for name, known in manifest["files"].items():
        path = stage_dir / name
        if not path.is_file():
            return name
        stat = path.stat()
        if stat.st_size == known["bytes"] and stat.st_mtime_ns == known["mtime_ns"]:
            continue
        if stat.st_size != known["bytes"] or file_sha256(path) != known["sha256"]:
            return name
    return None


def result_digests(stage_dir: Path, files: Iterable[str]) -> dict[str, str]:
    """Digest of every result, times left out: what the key of a stage that reads it depends on.

    One entry a file and one a folder, at any depth. JSON and JSON Lines count by content, other files by their bytes,
    a folder by the names and digests of all files in it.
    """
    single = {name: _file_digest(stage_dir / name) for name in files}
    folders = {parent.as_posix() for name in single for parent in Path(name).parents} - {"."}
    inside = {folder: {n: d for n, d in single.items() if n.startswith(f"{folder}/")} for folder in folders}
    return {**single, **{folder: _sha256(digests) for folder, digests in sorted(inside.items())}}


def _file_digest(path: Path) -> str:
    if path.suffix == ".jsonl":
        return items_digest(json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
    if path.suffix == ".json":
        return _sha256(without_times(json.loads(path.read_text(encoding="utf-8"))))
    return file_sha256(path)


def code_digest(notebook: Notebook) -> str:
    """Digest of all code a stage runs: its code cells, the modules of ours they import, and those rooms' data files."""
    modules = sorted(imports_in(imports_text(notebook.code)))
    source = source_digest(*modules) if modules else ""
    return _sha256([notebook.code_text(), source, _data_digest(modules)])


def stage_key(code: str, params: Mapping[str, Any], inputs: Mapping[str, str | None]) -> str:
    """Digest of all that determines a stage's results: code digest, resolved parameters, digests of its inputs."""
    return _sha256({"code": code, "params": dict(params), "inputs": dict(inputs)})


def current_inputs(run_dir: Path, names: Iterable[str]) -> dict[str, str | None]:
    """Digests of inputs as their stages' manifests have them now; None where there is no such result.

    names: `stage/file` of this run, or `run:stage/file` of another one.
    """
    found: dict[str, str | None] = {}
    for name in names:
        stage_dir, file = locate_input(run_dir, name)
        manifest = read_manifest(stage_dir)
        found[name] = manifest["digests"].get(file) if manifest else None
    return found


def locate_input(run_dir: Path, name: str) -> tuple[Path, str]:
    """Folder of the stage that makes an input, and the input's name in it."""
    run, _, inner = name.rpartition(":")
    stage, _, file = inner.partition("/")
    return (run_dir.parent / run if run else run_dir) / stage, file


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _data_digest(modules: Iterable[str]) -> str:
    """Digest of the data files that lie in the rooms of these modules and of all they import."""
    rooms = sorted({module.split(".")[1] for module in imported_modules(*modules) if "." in module})
    paths = [
        path for room in rooms for path in sorted(PACKAGE_ROOT.joinpath(room, "data").rglob("*")) if path.is_file()
    ]
    return _sha256({path.relative_to(PACKAGE_ROOT).as_posix(): file_sha256(path) for path in paths})


def _sha256(value: Any) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()
