"""A sweep's file: one factor at several points, a preset to start from, and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sotopia_pi.store.params import ParameterError, Plan, check_run_name, plan_run

KEYS = ("base", "factor", "points", "seeds", "chained")


@dataclass(frozen=True)
class Sweep:
    """What a sweep's file asks for.

    name: the file's stem, part of every run's name. base: the preset. factor: what varies, as the figure's axis names
    it. points: label -> settings in the form of --set, in the order of the file. chained: every point continues the run
    of the point before it, of the same seed (rounds of self-reinforcement).
    """

    name: str
    base: Path
    factor: str
    points: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    chained: bool = False


def read_sweep(path: Path | str) -> Sweep:
    """Read a sweep's file; `base` is a preset in the folder above or beside it.

    points: a list of values of the parameter `factor`, or a mapping of labels to {parameter: value}. Raises
    ParameterError that names the file, the key, what came and what is allowed.
    """
    path = Path(path)
    given = _mapping(path)
    unknown = [key for key in given if key not in KEYS]
    absent = [key for key in ("base", "factor", "points") if not given.get(key)]
    if unknown or absent:
        raise ParameterError(f"{path}: unknown {unknown}, missing {absent}; a sweep has the keys {', '.join(KEYS)}.")
    seeds = given.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
        raise ParameterError(f"{path}: seeds must be a list of whole numbers, got {seeds!r}.")
    chained = given.get("chained", False)
    if not isinstance(chained, bool):
        raise ParameterError(f"{path}: chained must be true or false, got {chained!r}.")
    base = f"{str(given['base']).removesuffix('.yaml')}.yaml"
    found = [folder / base for folder in (path.parent, path.parent.parent) if (folder / base).is_file()]
    if not found:
        raise ParameterError(f"{path}: there is no preset {base} beside this file or in the folder above it.")
    factor, once = str(given["factor"]), tuple(dict.fromkeys(seeds))
    points = _points(path, factor, given["points"])
    return Sweep(check_run_name(path.stem), found[0], factor, points, once, chained)


def sweep_plans(root: Path, sweep: Sweep, settings: Sequence[str] = ()) -> dict[str, list[Plan]]:
    """Point -> its plans, a run `<sweep>-<point>-seed<n>` for each seed. settings: for all points, as for --set."""
    plans: dict[str, list[Plan]] = {}
    before: list[Plan] = []
    for label, own in sweep.points.items():
        goes_on = [[f"continues={plan.run}"] for plan in before] or [[] for _ in sweep.seeds]
        plans[label] = [
            plan_run(root, sweep.base, [*settings, *own, *on, f"seed={seed}"], f"{sweep.name}-{label}-seed{seed}")
            for seed, on in zip(sweep.seeds, goes_on, strict=True)
        ]
        before = plans[label] if sweep.chained else []
    return plans


def _mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise ParameterError(f"There is no sweep {path}. Files there: {', '.join(near) or 'none'}.")
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ParameterError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(given, dict):
        raise ParameterError(f"{path}: a sweep is a mapping with the keys {', '.join(KEYS)}, not {given!r}.")
    return given


def _points(path: Path, factor: str, given: Any) -> dict[str, tuple[str, ...]]:
    """Label -> settings. A list gives a point a value; its label is the value as it is written."""
    if isinstance(given, list) and all(isinstance(value, str | int | float) for value in given):
        points = {str(value): (_setting(factor, value),) for value in given}
    elif isinstance(given, dict) and all(isinstance(own, dict) and own for own in given.values()):
        points = {str(label): tuple(_setting(k, v) for k, v in own.items()) for label, own in given.items()}
    else:
        raise ParameterError(
            f"{path}: points must be a list of values of {factor}, or a mapping of names to {{parameter: value}}; "
            f"got {given!r}."
        )
    return {check_run_name(label): own for label, own in points.items()}


def _setting(key: str, value: Any) -> str:
    return f"{key}={yaml.safe_dump(value, default_flow_style=True).removesuffix('...' + chr(10)).strip()}"
