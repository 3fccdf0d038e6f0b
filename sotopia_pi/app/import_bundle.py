"""A bundle back into a run: everything checked before anything lies under outputs/, and nothing there is lost."""

import hashlib
import json
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sotopia_pi.app.bundle import SCHEMA, TABLE, BundleError
from sotopia_pi.app.pipeline import reason_to_run
from sotopia_pi.app.rekeyed import manifests, rename
from sotopia_pi.app.report import known_stages, write_report
from sotopia_pi.store.items import write_atomically
from sotopia_pi.store.lock import RunLock
from sotopia_pi.store.manifest import MANIFEST, file_sha256
from sotopia_pi.store.manifest import SCHEMA as MANIFEST_SCHEMA
from sotopia_pi.store.notebook import read_notebook
from sotopia_pi.store.params import check_run_name, plan_run
from sotopia_pi.store.run_card import CARD, read_run_card

CARD_SCHEMA = "run/1"
MAX_FILES = 50_000
MAX_TABLE_BYTES = 64 * 1024**2
MAX_RATIO = 250
"""Most bytes that one of a zip may unpack to, for files above RATIO_FROM; items and pages stay below 40."""
RATIO_FROM = 8 * 1024**2
MAX_NAME = 240
CHUNK = 1024**2
MANIFEST_PARTS = ("params", "inputs", "files", "items", "digests", "counts", "notes")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def import_bundle(root: Path, bundle: Path, run: str | None, force: bool, max_bytes: int) -> dict[str, Any]:
    """Lay a bundle's run under outputs/ and return what it is and how `sotopia-pi run` would treat its stages.

    run: another name for it. force: set a run of that name aside instead of refusing. max_bytes: most that it may
    unpack to. Raises BundleError, RunLocked, ParameterError for a name that is none.
    """
    try:
        archive = zipfile.ZipFile(bundle)
    except FileNotFoundError as error:
        raise BundleError(f"There is no file {bundle}; a bundle is what `sotopia-pi bundle RUN` wrote.") from error
    except (zipfile.BadZipFile, OSError) as error:
        raise BundleError(f"{bundle} is no readable zip ({error}); fetch or make it again.") from error
    with archive:
        table = read_table(archive, bundle, max_bytes)
        name = check_run_name(run or table["run"])
        target = root / "outputs" / name
        if target.exists() and not force:
            raise BundleError(
                f"There is a run {name} already. Name another one with --run, or set that one aside with --force."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=target.parent) as beside:
            unpacked = Path(beside) / name
            _unpack(archive, bundle, table, unpacked)
            _check_schemas(root, bundle, unpacked)
            _settle(root, unpacked, name, table, file_sha256(bundle))
            aside = _set_aside(target) if target.exists() else None
            unpacked.replace(target)
    write_report(root, name, known_stages(root, name))
    return {
        "schema": SCHEMA,
        "run": name,
        "bundled_as": table["run"],
        "files": len(table["files"]),
        "left_out": table["left_out"],
        "set_aside": str(aside) if aside else None,
        "report": str(target / "report" / "index.html"),
        **treatment(root, name),
    }


def treatment(root: Path, run: str) -> dict[str, Any]:
    """How `sotopia-pi run` treats a run that lies here: the preset it would need, and why a stage would run again."""
    preset = root / "params" / f"{run}.yaml"
    plan = plan_run(root, preset).params if preset.is_file() else {}
    reasons = {}
    for stage, manifest in manifests(root, root / "outputs" / run).items():
        notebook = read_notebook(root / "notebooks" / f"{stage}.ipynb")
        reasons[stage] = reason_to_run(root / "outputs" / run, notebook, plan.get(stage, manifest["params"]))
    told = f"sotopia-pi run params/{preset.name}"
    return {
        "goes_on_with": told if plan else f"{told}, once that file is there: run.json has what the preset set",
        "left_as_they_are": [stage for stage, reason in reasons.items() if reason is None],
        "would_run_again": {stage: reason for stage, reason in reasons.items() if reason},
    }


def read_table(archive: zipfile.ZipFile, bundle: Path, max_bytes: int) -> dict[str, Any]:
    """The bundle's table of files, after every entry of the zip was checked against it. Raises BundleError."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MAX_FILES:
        raise BundleError(f"{bundle} holds {len(entries):,} files; at most {MAX_FILES:,} are read.")
    for entry in entries:
        if complaint := _complaint(entry):
            raise BundleError(f"{bundle}: {entry.filename!r} {complaint}, so nothing was imported.")
    total = sum(entry.file_size for entry in entries)
    if total > max_bytes:
        raise BundleError(
            f"{bundle} unpacks to {total / 1024**3:.1f} GiB; at most {max_bytes / 1024**3:.1f} are read. If you trust "
            f"it: --max-gib {total // 1024**3 + 1}"
        )
    tables = [entry for entry in entries if PurePosixPath(entry.filename).parts[1:] == (TABLE,)]
    if len(tables) != 1 or tables[0].file_size > MAX_TABLE_BYTES:
        raise BundleError(f"{bundle} is no bundle: it needs one RUN/{TABLE}, and has {len(tables)}.")
    table = _parsed(archive.read(tables[0]), bundle)
    given = [entry.filename for entry in entries if entry is not tables[0]]
    wanted = {f"{table['run']}/{name}" for name in table["files"]}
    if len(set(given)) != len(given) or set(given) != wanted or tables[0].filename != f"{table['run']}/{TABLE}":
        odd = sorted(set(given) ^ wanted) or sorted(name for name in given if given.count(name) > 1) or given
        raise BundleError(
            f"{bundle}: its files are not those of its {TABLE}, first {odd[0]!r}. Fetch or make it again."
        )
    return table


def _parsed(data: bytes, bundle: Path) -> dict[str, Any]:
    try:
        table = json.loads(data)
        schema = table["schema"]
    except (ValueError, LookupError, TypeError) as error:
        raise BundleError(f"{bundle}: its {TABLE} cannot be read ({error}). Fetch or make it again.") from error
    if schema != SCHEMA:
        raise BundleError(
            f"{bundle} is of schema {schema!r}; this version reads {SCHEMA!r}. Use the one that wrote it."
        )
    files = table.get("files")
    if not isinstance(files, dict) or not all(_is_description(known) for known in files.values()):
        raise BundleError(f"{bundle}: its {TABLE} names no digests and sizes of files. Fetch or make it again.")
    check_run_name(str(table.get("run")))
    return table | {"left_out": table.get("left_out", [])}


def _is_description(known: Any) -> bool:
    return isinstance(known, dict) and isinstance(known.get("sha256"), str) and isinstance(known.get("bytes"), int)


def _complaint(entry: zipfile.ZipInfo) -> str:
    """What is wrong with an entry of a zip, "" for a file that may be unpacked."""
    name = entry.orig_filename
    parts = name.split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if name.startswith("/") or "\\" in name or ":" in name or not name.isprintable():
        return "is an absolute path or has characters that no bundle uses"
    if any(part in ("", ".", "..") or part.startswith(".") for part in parts) or len(parts) < 2:
        return "leads out of the run's folder or is hidden"
    if len(name) > MAX_NAME:
        return f"is longer than {MAX_NAME} characters"
    if kind not in (0, stat.S_IFREG):
        return "is a link or no regular file"
    if entry.flag_bits & 1 or entry.compress_type not in METHODS:
        return "is encrypted or packed in a way that no bundle uses"
    if entry.file_size > RATIO_FROM and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        return f"unpacks to more than {MAX_RATIO} times its size"
    return ""


def _unpack(archive: zipfile.ZipFile, bundle: Path, table: Mapping[str, Any], folder: Path) -> None:
    """Every file into a folder, each against its size and digest. Raises BundleError for the first that differs."""
    needed, free = sum(known["bytes"] for known in table["files"].values()), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise BundleError(
            f"{bundle} needs {needed / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free; make room first."
        )
    for name, known in table["files"].items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        try:
            with archive.open(f"{table['run']}/{name}") as source, target.open("wb") as file:
                while size <= known["bytes"] and (chunk := source.read(CHUNK)):
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
        except (zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise BundleError(f"{bundle}: {name} is damaged ({error}). Fetch or make it again.") from error
        if size != known["bytes"] or digest.hexdigest() != known["sha256"]:
            raise BundleError(
                f"{bundle}: {name} is not what its {TABLE} says (sha256 {digest.hexdigest()[:12]}…, {size:,} bytes or "
                f"more; wanted {known['sha256'][:12]}…, {known['bytes']:,} bytes). Fetch or make it again."
            )


def _check_schemas(root: Path, bundle: Path, run_dir: Path) -> None:
    """Raises BundleError for a manifest or a run card of a version that is not read here."""
    try:
        complete = manifests(root, run_dir)
        found = {f"{stage}/{MANIFEST}": one["schema"] for stage, one in complete.items()}
        wanted = dict.fromkeys(found, MANIFEST_SCHEMA)
        if (card := read_run_card(run_dir)) is not None:
            found[CARD], wanted[CARD] = card["schema"], CARD_SCHEMA
            _ = dict(card["params"])
        shapeless = [stage for stage, one in complete.items() if not _has_shape(one)]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(f"{bundle}: a manifest or its run card cannot be read ({error}).") from error
    for name, schema in found.items():
        if schema != wanted[name]:
            raise BundleError(
                f"{bundle}: {name} is of schema {schema!r}; this version reads {wanted[name]!r}. Use the one "
                f"that wrote it."
            )
    if shapeless:
        raise BundleError(f"{bundle}: {shapeless[0]}/{MANIFEST} lacks what a manifest has. Fetch or make it again.")
    if not complete:
        raise BundleError(f"{bundle}: none of its stages is complete and known here, so there is nothing to import.")


def _has_shape(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest has the parts that readers take for granted."""
    parts = [isinstance(manifest.get(part), dict) for part in MANIFEST_PARTS]
    return (
        all(parts)
        and {"key", "wall_s", "peak_rss_mib"} <= set(manifest)
        and all(
            _is_description(known) and isinstance(known.get("mtime_ns"), int) for known in manifest["files"].values()
        )
    )


def _settle(root: Path, run_dir: Path, name: str, table: Mapping[str, Any], digest: str) -> None:
    """Make an unpacked run one of this project: file times as its manifests have them, its name, its origin."""
    for stage, manifest in manifests(root, run_dir).items():
        for file, known in manifest["files"].items():
            path = run_dir / stage / file
            if f"{stage}/{file}" in table["files"]:
                os.utime(path, ns=(known["mtime_ns"], known["mtime_ns"]))
    card = read_run_card(run_dir)
    if name != table["run"]:
        rename(root, run_dir, name)
    if card is not None:
        card |= {"run": name, "imported": {"bundled_as": table["run"], "sha256": digest}}
        params = {
            stage: {**values, "run": name} if "run" in values else values for stage, values in card["params"].items()
        }
        write_atomically(
            run_dir / CARD, (json.dumps(card | {"params": params}, indent=1, ensure_ascii=False) + "\n").encode()
        )


def _set_aside(run_dir: Path) -> Path:
    """Move a run out of the way, under a name that nothing has. Raises RunLocked while somebody writes into it."""
    with RunLock(run_dir):
        number = next(n for n in range(1, 10_000) if not _aside(run_dir, n).exists())
        return run_dir.replace(_aside(run_dir, number))


def _aside(run_dir: Path, number: int) -> Path:
    return run_dir.with_name(f"{run_dir.name}.before-import-{number}")
