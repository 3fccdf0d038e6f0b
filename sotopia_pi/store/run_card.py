"""The run card: everything a reader needs to judge and repeat a run, and never a secret."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from sotopia_pi.store.items import write_atomically
from sotopia_pi.store.manifest import read_manifest
from sotopia_pi.store.params import Plan, refuse_secret

CARD = "run.json"
PACKAGE = "sotopia-pi"


def write_run_card(root: Path, plan: Plan) -> dict[str, Any]:
    """Collect the card of a run from its manifests and this machine and write outputs/<run>/run.json."""
    run_dir = root / "outputs" / plan.run
    card = {
        "schema": "run/1",
        "run": plan.run,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "package": {PACKAGE: importlib.metadata.version(PACKAGE)},
        "git": git_state(root),
        "preset": {
            "file": _shown(plan.preset, root),
            "given": yaml.safe_load(plan.preset.read_text(encoding="utf-8")) or {},
        },
        "params": {name: plan.params[name] for name in plan.stages},
        "stages": {name: stage_entry(run_dir / name) for name in plan.stages},
        "machine": machine(),
        "libraries": library_versions(),
    }
    _refuse_secrets(card["params"])
    write_atomically(run_dir / CARD, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
    return card


def read_run_card(run_dir: Path) -> dict[str, Any] | None:
    """The card of a run, or None when it has not been written yet."""
    path = run_dir / CARD
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def stage_entry(stage_dir: Path) -> dict[str, Any]:
    """What a stage's manifest adds to the card: its notes, counts, key, wall time (s) and peak memory (MiB)."""
    manifest = read_manifest(stage_dir)
    if manifest is None:
        return {"status": "not complete"}
    kept = ("key", "wall_s", "peak_rss_mib", "counts", "notes", "inputs", "digests")
    return {"status": "complete", **{field: manifest[field] for field in kept}}


def git_state(root: Path) -> dict[str, Any]:
    """Commit and whether files differ from it; says so where the folder is no git checkout."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return {"state": "not a git checkout"}
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain")
    return {"state": "dirty" if changed else "clean", "commit": commit or "no commit yet"}


def machine() -> dict[str, Any]:
    """Cores, memory in GiB, operating system, Python and graphics cards; no host or user name."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "gpu": graphics_cards() or "none",
    }


def graphics_cards() -> list[str]:
    """Names and memory of NVIDIA cards as their driver tells them, without importing torch."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    asked = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []


def library_versions() -> dict[str, str]:
    """Installed versions of the direct dependencies."""
    required = importlib.metadata.requires(PACKAGE) or []
    names = [re.match(r"[A-Za-z0-9_.-]+", line).group() for line in required if "extra ==" not in line]
    return {name: importlib.metadata.version(name) for name in sorted(names, key=str.lower)}


def _git(root: Path, *words: str) -> str | None:
    if shutil.which("git") is None:
        return None
    answer = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def _shown(path: Path, root: Path) -> str:
    path = path.resolve()
    return path.relative_to(root.resolve()).as_posix() if path.is_relative_to(root.resolve()) else path.name


def _refuse_secrets(params: Mapping[str, Mapping[str, Any]]) -> None:
    for stage, values in params.items():
        for key, value in values.items():
            refuse_secret(f"run card, {stage}", key, value)
