"""Notebooks as text: their title, their declared parameters, and the code that decides what they compute."""

import ast
import io
import json
import os
import re
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOME_VARIABLE = "SOTOPIA_PI_HOME"
STAGE_NAME = re.compile(r"\d\d[a-z]?_\w+")
"""Two digits, a letter for a notebook between two numbers, a name: 03_behavior_cloning, 10b_paper_comparison."""
PLAIN_TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}


class NotebookError(ValueError):
    """A notebook does not have the shape of a stage; the message names the notebook and what to change."""


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `name: type = default  # help`.

    type: as it is written, one of str, int, float, bool, list, dict, list[str], list[int], list[float], list[dict].
    """

    name: str
    type: str
    default: Any
    help: str = ""

    def accepts(self, value: Any) -> bool:
        """Whether a value has the declared type; a whole number is a float too, a bool is never a number."""
        outer, _, inner = self.type.partition("[")
        if not _has_type(value, outer):
            return False
        if outer == "list" and inner:
            return all(_has_type(item, inner.rstrip("]")) for item in value)
        return True


@dataclass(frozen=True)
class Notebook:
    """A stage's notebook, read from its file.

    title: text of the first level-one heading, or the stage's name. code: sources of the code cells in order,
    the parameters cell left out (its values are part of the resolved parameters).
    """

    name: str
    path: Path
    title: str
    parameters: dict[str, Parameter]
    code: tuple[str, ...]

    def code_text(self) -> str:
        """The code cells without comments and layout: what a change of prose leaves as it is."""
        return "\n".join(_normal_form(cell) for cell in self.code)


def project_root(start: Path | None = None) -> Path:
    """The folder that holds `notebooks/` and `params/`: SOTOPIA_PI_HOME if set, else found by walking up from here.

    Raises FileNotFoundError when there is none.
    """
    if os.environ.get(HOME_VARIABLE):
        return Path(os.environ[HOME_VARIABLE]).resolve()
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    raise FileNotFoundError(
        f"No folder above {start} holds notebooks/ and params/. Change into the checkout, or set {HOME_VARIABLE} to it."
    )


def stage_names(root: Path) -> list[str]:
    """Names of all stages, in the order in which they run."""
    return sorted(path.stem for path in (root / "notebooks").glob("*.ipynb") if STAGE_NAME.fullmatch(path.stem))


def read_notebook(path: Path | str) -> Notebook:
    """Read one notebook. Raises NotebookError if it is no notebook or has no readable parameters cell."""
    path = Path(path)
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError) as error:
        raise NotebookError(f"{path}: not a readable notebook ({error}).") from error
    sources = [(cell["cell_type"], _source(cell), _tags(cell)) for cell in cells]
    declared = [source for kind, source, tags in sources if kind == "code" and "parameters" in tags]
    if len(declared) != 1:
        raise NotebookError(f"{path}: {len(declared)} cells are tagged `parameters`; a stage has exactly one.")
    code = tuple(s for kind, s, tags in sources if kind == "code" and not tags & {"parameters", "injected-parameters"})
    prose = "\n".join(source for kind, source, _ in sources if kind == "markdown")
    heading = re.search(r"^# +(.+)$", prose, re.MULTILINE)
    title = heading.group(1).strip() if heading else path.stem
    return Notebook(path.stem, path, title, parse_parameters(declared[0], path), code)


def parse_parameters(source: str, path: Path | str) -> dict[str, Parameter]:
    """Parameters declared by a cell, by name. Raises NotebookError for a line that papermill could not fill in."""
    remarks = _comments(source)
    found: dict[str, Parameter] = {}
    for node in ast.parse(source).body:
        name, annotation, value = _assignment(node)
        if name is None:
            raise NotebookError(f"{path}, parameters cell: `{ast.unparse(node)}` is not `name: type = value  # help`.")
        try:
            default = ast.literal_eval(value)
        except ValueError as error:
            raise NotebookError(
                f"{path}, parameter {name}: the default must be a plain value, not an expression."
            ) from error
        parameter = Parameter(name, annotation or type(default).__name__, default, remarks.get(node.end_lineno, ""))
        if parameter.type.partition("[")[0] not in PLAIN_TYPES:
            allowed = ", ".join(PLAIN_TYPES)
            raise NotebookError(
                f"{path}, parameter {name}: papermill cannot read type {parameter.type}; allowed: {allowed}."
            )
        if not parameter.accepts(default):
            raise NotebookError(f"{path}, parameter {name}: the default {default!r} is no {parameter.type}.")
        found[name] = parameter
    return found


def assigned_names(source: str) -> set[str]:
    """Names that the top level of a cell assigns; none when the cell is no plain Python (a magic)."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return set()
    targets = [t for node in body if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def imports_text(code: Sequence[str]) -> str:
    """The import statements of code cells as one Python text (magics and other statements left out)."""
    found = []
    for cell in code:
        try:
            tree = ast.parse(cell)
        except SyntaxError:
            continue
        found += [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(found)


def _assignment(node: ast.stmt) -> tuple[str | None, str | None, ast.expr | None]:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        return node.target.id, ast.unparse(node.annotation), node.value
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, None, node.value
    return None, None, None


def _has_type(value: Any, type_name: str) -> bool:
    if type_name == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if type_name == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, PLAIN_TYPES.get(type_name, object))


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ").strip() for token in tokens if token.type == tokenize.COMMENT}


def _normal_form(cell: str) -> str:
    try:
        return ast.dump(ast.parse(cell))
    except SyntaxError:
        return cell.strip()


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def _tags(cell: dict[str, Any]) -> set[str]:
    return set(cell.get("metadata", {}).get("tags", ()))
