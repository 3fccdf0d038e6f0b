"""Parameters: a preset's file and command-line settings, resolved against what the notebooks declare."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sotopia_pi.store.notebook import STAGE_NAME, Notebook, Parameter, read_notebook, stage_names

SECRET_NAME = re.compile(
    r"(api|access|secret|private)_?key|^token$|(auth|api|hf|access|bearer)_?token$|passw|credential", re.IGNORECASE
)
SECRET_VALUE = re.compile(r"\b(sk|hf|ghp|xox[bp])[-_][A-Za-z0-9_-]{16,}")
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


POOLED = "runs"
"""A notebook that declares this parameter reads several finished runs; it takes part only where a plan names it."""
ON_REQUEST = (POOLED, "measured")
"""So does one that declares `measured`: it shows what was measured of the machine, and belongs to no run."""


class ParameterError(ValueError):
    """A parameter or a stage is unknown, ill-typed or not allowed; the message says which and names the closest."""


@dataclass(frozen=True)
class Plan:
    """What a preset asks for: the stages to run, in order, and each one's resolved parameters.

    run: name of the run's folder under outputs/. preset: the file it came from.
    """

    run: str
    preset: Path
    stages: tuple[str, ...]
    params: dict[str, dict[str, Any]]


def plan_run(root: Path, preset: Path | str, settings: Iterable[str] = (), run: str | None = None) -> Plan:
    """Resolve a preset: notebook defaults, then its common parameters, then its sections, then `key=value` settings.

    run: another name for the run than the file's stem. Every declared parameter gets a value that has its type.
    Raises ParameterError naming the file, the key, what came, what is allowed and the closest known name.
    """
    preset = Path(preset)
    names = stage_names(root)
    notebooks = {name: read_notebook(root / "notebooks" / f"{name}.ipynb") for name in names}
    given = load_preset(preset)
    single = [name for name in names if not notebooks[name].parameters.keys() & set(ON_REQUEST)]
    stages = _stage_list(given.pop("stages", single), names, preset)
    run = check_run_name(run or preset.stem)
    layers = [(str(preset), given), ("--set", _parse_settings(settings, names))]
    resolved = {name: {p.name: p.default for p in notebook.parameters.values()} for name, notebook in notebooks.items()}
    for source, layer in layers:
        _apply(source, layer, notebooks, resolved)
    for params in resolved.values():
        if "run" in params:
            params["run"] = run
    return Plan(run, preset, stages, {name: resolved[name] for name in names})


def load_preset(path: Path | str, _seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A preset's mapping, laid over the one that its `extends` names (relative to its own folder)."""
    path = Path(path)
    if path.resolve() in _seen:
        raise ParameterError(f"{path}: `extends` goes round in a circle ({', '.join(p.name for p in _seen)}).")
    if not path.is_file():
        known = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise ParameterError(f"There is no preset {path}.{_closest(path.name, known)}")
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ParameterError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(given, dict):
        raise ParameterError(
            f"{path}: a preset is a mapping of parameter names to values, not a {type(given).__name__}."
        )
    parent = given.pop("extends", None)
    if parent is None:
        return given
    below = load_preset(
        path.parent / (parent if str(parent).endswith(".yaml") else f"{parent}.yaml"), (*_seen, path.resolve())
    )
    return _merged(below, given)


def check_values(name: str, declared: Mapping[str, Parameter], values: Mapping[str, Any]) -> None:
    """Check the values a notebook got. Raises ParameterError for an unknown name, a wrong type or a secret."""
    for key, value in values.items():
        check_value(f"notebooks/{name}.ipynb", key, value, declared)


def check_value(source: str, key: str, value: Any, declared: Mapping[str, Parameter]) -> None:
    """Check one value against the declared parameters of a notebook."""
    refuse_secret(source, key, value)
    if key not in declared:
        raise ParameterError(f"{source}: unknown parameter {key!r}.{_closest(key, declared)}")
    if not declared[key].accepts(value):
        raise ParameterError(
            f"{source}: parameter {key} must be {declared[key].type}, got {value!r} ({type(value).__name__})."
            f"{_boolean_hint(declared[key], value)}"
        )


def refuse_secret(source: str, key: str, value: Any) -> None:
    """Keys and tokens may not become parameters: papermill writes parameters into notebooks."""
    if SECRET_NAME.search(key) or SECRET_VALUE.search(str(value)):
        raise ParameterError(
            f"{source}: {key} looks like a secret. Parameters are written into notebooks and run cards; "
            f"put keys into the environment (OPENAI_API_KEY, HF_TOKEN) and take this line out."
        )


def find_stage(asked: str, names: Iterable[str]) -> str:
    """The stage that a number ("03", "3", "10b"), a full name or a name without its number means."""
    names = list(names)
    number = asked.zfill(2) if asked.isdigit() else asked
    for name in names:
        own_number, _, rest = name.partition("_")
        if asked in (name, rest) or number == own_number:
            return name
    raise ParameterError(f"There is no stage {asked!r}.{_closest(asked, names)}")


def check_run_name(run: str) -> str:
    """A run's name becomes a folder: letters, digits and `. _ + -` only."""
    if not RUN_NAME.fullmatch(run):
        raise ParameterError(f"run: {run!r} cannot name a folder; use letters, digits and . _ + - only.")
    return run


def closest(asked: str, known: Iterable[str]) -> str | None:
    """The most similar known name, or None when nothing is similar."""
    found = difflib.get_close_matches(asked, list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def _apply(
    source: str, layer: dict[str, Any], notebooks: dict[str, Notebook], resolved: dict[str, dict[str, Any]]
) -> None:
    """Write one layer into the resolved parameters: first what all stages share, then the stages' sections."""
    shared = {key: value for key, value in layer.items() if not STAGE_NAME.fullmatch(key)}
    sections = {key: value for key, value in layer.items() if STAGE_NAME.fullmatch(key)}
    everything = {key for notebook in notebooks.values() for key in notebook.parameters}
    for key, value in shared.items():
        if key not in everything:
            refuse_secret(source, key, value)
            raise ParameterError(f"{source}: unknown parameter {key!r}.{_closest(key, everything | set(notebooks))}")
        for name, notebook in notebooks.items():
            if key in notebook.parameters:
                check_value(source, key, value, notebook.parameters)
                resolved[name][key] = value
    for name, values in sections.items():
        if name not in notebooks:
            raise ParameterError(f"{source}: there is no stage {name!r}.{_closest(name, notebooks)}")
        for key, value in _section(source, name, values).items():
            check_value(f"{source}, {name}", key, value, notebooks[name].parameters)
            resolved[name][key] = value


def _section(source: str, name: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict | None):
        raise ParameterError(f"{source}: section {name} must be a mapping of parameters to values, got {values!r}.")
    return values or {}


def _parse_settings(settings: Iterable[str], names: list[str]) -> dict[str, Any]:
    """`key=value` and `stage.key=value` as a preset's mapping; values are read as YAML."""
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ParameterError(f"--set {setting!r}: write it as key=value or stage.key=value.")
        stage, dot, inner = key.partition(".")
        value = yaml.safe_load(text)
        if dot:
            parsed.setdefault(find_stage(stage, names), {})[inner] = value
        else:
            parsed[key] = value
    return parsed


def _stage_list(asked: Any, names: list[str], preset: Path) -> tuple[str, ...]:
    if not isinstance(asked, list) or not asked:
        raise ParameterError(f"{preset}: stages must be a list of stage names, got {asked!r}.")
    return tuple(sorted({find_stage(str(name), names) for name in asked}))


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both_sections = STAGE_NAME.fullmatch(key) and isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both_sections else value
    return merged


def _closest(asked: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = closest(asked, known)
    return f" Did you mean {near!r}?" if near else f" Known: {', '.join(known)}."


def _boolean_hint(parameter: Parameter, value: Any) -> str:
    if parameter.type == "bool" and isinstance(value, str):
        return " papermill's -p reads only True and False; use `-y 'name: true'` or a file with -f."
    return ""
