"""Digests of source code, so that a mended rule changes the ids of what it decided."""

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path

PACKAGE = "sotopia_pi"


@cache
def source_digest(*modules: str) -> str:
    """12 hex digits over the code of these modules and all of ours that they import.

    Comments, docstrings and layout do not count. modules: dotted names inside `sotopia_pi`.
    """
    digest = hashlib.sha256()
    for module in sorted(imported_modules(*modules)):
        digest.update(module.encode())
        digest.update(_code_of(_path_of(module)).encode())
    return digest.hexdigest()[:12]


def imported_modules(*modules: str) -> set[str]:
    """These modules and every module of ours they import, directly or not (read from the text, nothing is run)."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        waiting.extend(_imports_of(_path_of(module)))
    return found


def imports_in(source: str) -> set[str]:
    """Modules of ours that a piece of Python text imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}"
                names.add(dotted if _path_of(dotted, missing_ok=True) else node.module)
    return names


@cache
def _imports_of(path: Path) -> set[str]:
    return imports_in(path.read_text())


@cache
def _path_of(module: str, missing_ok: bool = False) -> Path | None:
    root = Path(importlib.util.find_spec(PACKAGE).origin).parent
    base = root.joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    if missing_ok:
        return None
    raise ModuleNotFoundError(f"{module} is no module of {PACKAGE}")


@cache
def _code_of(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            node.body = [n for n in body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    return ast.dump(tree)
