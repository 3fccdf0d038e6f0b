"""Manifests of a run that moved: its name or the paths in its files are others, digests and keys fit again.

A stage keeps its standing only where it had one: its key is made anew only if the old one was that of the present code.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from sotopia_pi.store.items import write_atomically
from sotopia_pi.store.manifest import (
    Manifest,
    code_digest,
    describe_files,
    read_manifest,
    result_digests,
    stage_key,
    write_manifest,
)
from sotopia_pi.store.notebook import NotebookError, read_notebook, stage_names

PARAMS = "params.yaml"


def redigest(root: Path, run_dir: Path, copy: Path, rewritten: Collection[str]) -> None:
    """Bring the manifests of a run's copy up to date with files of it that were rewritten. rewritten: their names."""
    before = manifests(root, run_dir)
    after = {stage: _described(copy / stage, stage, old, rewritten) for stage, old in before.items()}
    for stage, old in before.items():
        inputs = {name: _followed(name, digest, before, after) for name, digest in old["inputs"].items()}
        new = after[stage] | {"inputs": inputs}
        if new != old:
            write_manifest(copy / stage, rekeyed(root, stage, old, new))


def rename(root: Path, run_dir: Path, run: str) -> None:
    """Give the stages of a run another name for it in their parameters."""
    for stage, old in manifests(root, run_dir).items():
        if "run" not in old["params"]:
            continue
        params = {**old["params"], "run": run}
        write_atomically(run_dir / stage / PARAMS, yaml.safe_dump(params, sort_keys=False, allow_unicode=True).encode())
        write_manifest(run_dir / stage, rekeyed(root, stage, old, old | {"params": params}))


def rekeyed(root: Path, stage: str, old: Manifest, new: Manifest) -> Manifest:
    """`new` with a key of the present code, its parameters and inputs if `old` had that; else with the key of `old`."""
    try:
        code = code_digest(read_notebook(root / "notebooks" / f"{stage}.ipynb"))
    except NotebookError:
        return new
    was_current = old["key"] == stage_key(code, old["params"], old["inputs"])
    return new | {"key": stage_key(code, new["params"], new["inputs"])} if was_current else new


def manifests(root: Path, run_dir: Path) -> dict[str, Manifest]:
    """Manifests of all complete stages that this project has."""
    found = {stage: read_manifest(run_dir / stage) for stage in stage_names(root)}
    return {stage: manifest for stage, manifest in found.items() if manifest}


def _described(stage_dir: Path, stage: str, old: Manifest, rewritten: Collection[str]) -> Manifest:
    """A manifest with sizes and digests of the rewritten files of its stage; parameters as params.yaml has them now."""
    files = [name for name in old["files"] if f"{stage}/{name}" in rewritten]
    new: dict[str, Any] = read_manifest(stage_dir)
    for name, described in describe_files(stage_dir, files).items():
        new["files"][name] |= {key: described[key] for key in ("sha256", "bytes")}
    if any(name in old["digests"] for name in files):
        new["digests"] = result_digests(stage_dir, [name for name in old["files"] if name in old["digests"]])
    return new


def _followed(name: str, digest: str | None, before: dict[str, Manifest], after: dict[str, Manifest]) -> str | None:
    """The digest of an input of this run, followed to its new value where it was the one before."""
    stage, _, file = name.partition("/")
    if ":" in name or stage not in before or before[stage]["digests"].get(file) != digest:
        return digest
    return after[stage]["digests"].get(file)
