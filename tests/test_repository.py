"""The repository's own rules: rooms, notebooks, pinned versions, and what an import costs."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from papermill.inspection import inspect_notebook

from sotopia_pi.store.notebook import read_notebook, stage_names

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sotopia_pi"
BENCH = PACKAGE / "app" / "bench"
"""Its modules measure models; only the command `bench` loads them."""
ALLOWED = {
    "store": {"store"},
    "world": {"store", "world"},
    "models": {"store", "world", "models"},
    "stages": {"store", "world", "models", "stages", "formats"},
    "formats": {"store", "world", "models", "stages", "formats"},
    "analysis": {"store", "world", "models", "stages", "formats", "analysis"},
    "app": {"store", "world", "models", "stages", "formats", "analysis", "app"},
}
"""Which rooms each room may call: imports point one way."""

MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
STAGES = [ROOT / "notebooks" / f"{name}.ipynb" for name in stage_names(ROOT)]
TINY = sorted((ROOT / "tests" / "notebooks").glob("*.ipynb"))
HEAVY = {"torch", "transformers", "peft", "accelerate", "bitsandbytes"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports_of(path: Path) -> set[str]:
    """Full names of all modules a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text())["cells"]


def code(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way_between_the_rooms(path):
    room = path.relative_to(PACKAGE).parts[0]
    if room == "__init__.py":
        return
    ours = {name.split(".")[1] for name in imports_of(path) if name.startswith("sotopia_pi.")}
    assert ours <= ALLOWED[room], f"{name_of(path)} may not import from {ours - ALLOWED[room]}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_stay_readable(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 350
    tree = ast.parse("\n".join(lines))
    long = [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.end_lineno - n.lineno >= 60]
    assert not long
    assert not lines or ast.get_docstring(tree), "a module says what it is for"
    assert path.stem not in {"utils", "helpers", "misc", "common"}


@pytest.mark.parametrize("room", ["store", "world", "formats", "analysis", "app"])
def test_rooms_that_need_no_torch_do_not_load_it(room):
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in MODULES
        if path.parts[len(PACKAGE.parts)] == room and (path.parent != BENCH or path.stem in {"command", "work"})
    ]
    script = (
        f"import importlib, sys; [importlib.import_module(m) for m in {modules}]; print({HEAVY} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "set()"


@pytest.mark.parametrize("path", [p for p in STAGES if p.stem[:2] in {"01", "02", "09", "10", "11", "12"}], ids=name_of)
def test_notebooks_that_need_no_torch_do_not_pay_for_it(path):
    imports = "\n".join(
        ast.unparse(n)
        for cell in code(path)
        for n in ast.parse(cell).body
        if isinstance(n, ast.Import | ast.ImportFrom)
    )
    script = f"{imports}\nimport sys; print({HEAVY} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "set()"


@pytest.mark.parametrize("path", [*STAGES, *TINY], ids=name_of)
def test_a_notebook_is_stored_without_outputs_and_runs_in_the_plain_kernel(path):
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.parametrize("path", [*STAGES, *TINY], ids=name_of)
def test_a_notebook_narrates_and_keeps_its_code_elsewhere(path):
    assert "".join(cells(path)[0]["source"]).startswith("# "), "it begins with its title"
    parameters = {"".join(cell["source"]) for cell in cells(path) if "parameters" in cell["metadata"].get("tags", ())}
    for cell in code(path):
        assert len(cell.splitlines()) <= 15 or cell in parameters, cell
        assert "asyncio.run" not in cell
        defined = [
            n for n in ast.walk(ast.parse(cell)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        ]
        assert not defined, f"{defined[0].name} belongs into the package"


@pytest.mark.parametrize("path", [*STAGES, *TINY], ids=name_of)
def test_a_notebook_declares_typed_parameters_with_help_and_opens_its_own_stage(path):
    notebook = read_notebook(path)
    assert "run" in notebook.parameters
    assert all(parameter.help for parameter in notebook.parameters.values()), "every parameter says what it is"
    assert f'open_stage("{path.stem}", globals())' in "\n".join(notebook.code)
    declared = next(c for c in cells(path) if "parameters" in c["metadata"].get("tags", ()))
    assert len("".join(declared["source"]).splitlines()) > 1, (
        "IPython reads a lone line that begins with `run` as a magic"
    )


@pytest.mark.parametrize("path", sorted((ROOT / "params").glob("*.yaml")), ids=name_of)
def test_every_preset_resolves(path):
    from sotopia_pi.store.params import plan_run

    assert plan_run(ROOT, path).stages


def test_direct_dependencies_are_pinned_exactly():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+(\[[a-z]+\])?==[0-9][0-9a-z.]*", line)] == []
    assert "torch==2.13.0" in lines


def test_the_conda_environment_only_wraps_the_project_file():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python, pip, wrapped = environment["dependencies"]
    assert python == f"python{project['requires-python']}"
    assert pip == "pip" and wrapped == {"pip": ["-e .[dev]"]}
    assert set(re.findall(r"\[(\w+)\]", wrapped["pip"][0])) <= set(project["optional-dependencies"])


def test_what_the_package_imports_is_declared():
    """Third-party modules that our code imports are direct dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {line.split("==")[0].lower().replace("-", "_") for line in project["dependencies"]}
    ours = [path for path in MODULES if not path.name.startswith("peer_")]  # these run in an environment of their own
    imported = {name.split(".")[0] for path in ours for name in imports_of(path)}
    known_as = {
        "yaml": "pyyaml",
        "pydantic_core": "pydantic",
        "IPython": "ipykernel",
        "pygments": "nbconvert",
        "jupyter_client": "nbclient",
    }
    foreign = {known_as.get(name, name).lower() for name in imported - set(sys.stdlib_module_names) - {"sotopia_pi"}}
    assert foreign <= declared


def test_the_licence_and_the_citation_are_there():
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:300]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    paper = citation["preferred-citation"]
    assert citation["license"] == "Apache-2.0" and paper["url"].endswith("2403.08715") and len(paper["authors"]) == 8
    assert citation["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_runs_stay_out_of_git():
    words = ["git", "check-ignore", "outputs/laptop/run.json", "outputs/README.md"]
    answer = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if answer.returncode == 128:
        pytest.skip("not a git checkout")
    assert answer.stdout.splitlines() == ["outputs/laptop/run.json"]


@pytest.mark.parametrize("path", STAGES, ids=name_of)
def test_papermill_reads_every_parameter_as_we_do(path):
    """A comment that its line reader stumbles over would make the parameter unknown to it."""
    assert set(inspect_notebook(str(path))) == set(read_notebook(path).parameters)
