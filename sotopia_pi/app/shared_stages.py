"""Stages that two runs have in common: the one takes over what the other has made, instead of making it again."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import yaml

from sotopia_pi.app.pipeline import reason_to_run
from sotopia_pi.store.items import write_atomically
from sotopia_pi.store.manifest import MANIFEST, code_digest, read_manifest, stage_key, write_manifest
from sotopia_pi.store.notebook import read_notebook
from sotopia_pi.store.params import Plan


def take_over(root: Path, plan: Plan, others: Iterable[Plan]) -> list[str]:
    """Copy into a run that has not begun the leading stages that another one made alike; returns their names.

    Alike: the same resolved parameters but for the run's name, complete, and as their manifests say. The first stage
    that differs and all after it are left to the pipeline. The run with most stages in common gives them.
    """
    run_dir = root / "outputs" / plan.run
    if run_dir.exists():
        return []
    common = {other.run: _common(root, plan, other) for other in others if other.run != plan.run}
    source = max(common, key=lambda run: len(common[run]), default=None)
    if source is None:
        return []
    for name in common[source]:
        _copy_stage(root, plan, root / "outputs" / source / name)
    return common[source]


def _common(root: Path, plan: Plan, other: Plan) -> list[str]:
    names = []
    for name in plan.stages:
        notebook = read_notebook(root / "notebooks" / f"{name}.ipynb")
        alike = {**other.params[name], "run": plan.run} == plan.params[name]
        if not alike or reason_to_run(root / "outputs" / other.run, notebook, other.params[name]):
            break
        names.append(name)
    return names


def _copy_stage(root: Path, plan: Plan, source: Path) -> None:
    """A stage's folder under the new run's name; the manifest comes last, so that a torn copy counts as not made."""
    target = root / "outputs" / plan.run / source.name
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(MANIFEST))
    params = plan.params[source.name]
    write_atomically(target / "params.yaml", yaml.safe_dump(params, sort_keys=False, allow_unicode=True).encode())
    manifest = read_manifest(source)
    code = code_digest(read_notebook(root / "notebooks" / f"{source.name}.ipynb"))
    manifest |= {"params": params, "key": stage_key(code, params, manifest["inputs"])}
    manifest["notes"] = manifest["notes"] | {"taken over from run": source.parent.name}
    write_manifest(target, manifest)
