"""Parameters: what a preset may say, and how a slip is refused."""

import pytest
from toy_project import ToyProject

from sotopia_pi.store.notebook import NotebookError, parse_parameters, read_notebook
from sotopia_pi.store.params import ParameterError, check_run_name, find_stage, plan_run

NAMES = ["01_items", "02_depends", "03_alone"]


@pytest.fixture
def project(tmp_path):
    return ToyProject(tmp_path / "toy", *NAMES)


def resolved(project: ToyProject, preset: str, *settings: str) -> dict:
    project.preset.write_text(preset)
    return plan_run(project.root, project.preset, settings).params


def test_defaults_give_way_to_common_parameters_then_sections_then_the_command_line(project):
    assert resolved(project, "")["01_items"] == {"run": "toy", "seed": 0, "n": 3, "pause_s": 0.0}
    assert resolved(project, "seed: 1\n")["01_items"]["seed"] == 1
    assert resolved(project, "seed: 1\n01_items:\n  seed: 2\n")["01_items"]["seed"] == 2
    assert resolved(project, "01_items:\n  seed: 2\n", "seed=3")["01_items"]["seed"] == 3
    assert resolved(project, "01_items:\n  seed: 2\n", "1.seed=4", "n=9")["01_items"] == {
        "run": "toy",
        "seed": 4,
        "n": 9,
        "pause_s": 0.0,
    }


def test_a_common_parameter_reaches_only_the_stages_that_declare_it(project):
    params = resolved(project, "word: hi\n")
    assert params["03_alone"]["word"] == "hi" and "word" not in params["01_items"]


def test_a_preset_extends_another_and_keeps_what_it_does_not_change(project):
    (project.root / "params/below.yaml").write_text("seed: 5\n01_items:\n  n: 8\n  pause_s: 1\n")
    params = resolved(project, "extends: below\n01_items:\n  n: 9\n")
    assert params["01_items"] == {"run": "toy", "seed": 5, "n": 9, "pause_s": 1}


def test_presets_that_extend_each_other_are_refused(project):
    with pytest.raises(ParameterError, match="circle"):
        resolved(project, "extends: toy\n")


@pytest.mark.parametrize(
    ("preset", "settings", "message"),
    [
        ("sed: 1\n", (), r"toy\.yaml: unknown parameter 'sed'\. Did you mean 'seed'\?"),
        ("01_items:\n  paus_s: 1\n", (), r"toy\.yaml, 01_items: unknown parameter 'paus_s'\. Did you mean 'pause_s'\?"),
        ("01_itmes:\n  n: 1\n", (), r"there is no stage '01_itmes'\. Did you mean '01_items'\?"),
        ("", ("m=1",), r"--set: unknown parameter 'm'"),
        ("", ("02_depnds.n=1",), r"There is no stage '02_depnds'\. Did you mean '02_depends'\?"),
        ("", ("seed",), r"--set 'seed': write it as key=value"),
        ("01_items:\n  n: many\n", (), r"parameter n must be int, got 'many' \(str\)"),
        ("01_items:\n  n: 2.5\n", (), r"parameter n must be int, got 2\.5 \(float\)"),
        ("01_items:\n  n: true\n", (), r"parameter n must be int, got True \(bool\)"),
        ("loud: 'false'\n", (), r"parameter loud must be bool, got 'false' \(str\)"),
        ("word: null\n", (), r"parameter word must be str, got None"),
        ("01_items: 3\n", (), r"section 01_items must be a mapping"),
        ("- seed\n", (), r"a preset is a mapping"),
        ("seed: [1\n", (), r"toy\.yaml: not readable as YAML"),
        ("stages: 01_items\n", (), r"stages must be a list"),
        ("openai_api_key: abc\n", (), r"openai_api_key looks like a secret.*environment"),
        ("word: sk-" + "abcdefghijklmnop1234\n", (), r"word looks like a secret"),
    ],
)
def test_a_slip_is_refused_with_its_place_and_the_closest_name(project, preset, settings, message):
    with pytest.raises(ParameterError, match=message):
        resolved(project, preset, *settings)


@pytest.mark.parametrize("name", ["max_new_tokens", "max_tokens", "secret", "keep_failed_turns", "monkey"])
def test_ordinary_names_are_no_secrets(name):
    from sotopia_pi.store.params import refuse_secret

    refuse_secret("preset", name, 3)


def test_a_missing_preset_names_the_closest_one(project):
    with pytest.raises(ParameterError, match=r"Did you mean 'toy\.yaml'"):
        plan_run(project.root, project.root / "params/tuy.yaml")


@pytest.mark.parametrize("asked", ["02", "2", "depends", "02_depends"])
def test_a_stage_may_be_named_by_number_or_name(asked):
    assert find_stage(asked, NAMES) == "02_depends"


@pytest.mark.parametrize(("asked", "found"), [("10", "10_a"), ("10b", "10b_c_d"), ("c_d", "10b_c_d"), ("a", "10_a")])
def test_a_letter_after_the_number_tells_two_stages_apart(asked, found):
    assert find_stage(asked, ["10_a", "10b_c_d"]) == found


@pytest.mark.parametrize("run", ["../up", "a/b", "", ".hidden", "two words"])
def test_a_run_is_named_so_that_it_can_be_a_folder(run):
    with pytest.raises(ParameterError, match="cannot name a folder"):
        check_run_name(run)


def test_a_parameters_cell_tells_name_type_default_and_help():
    cell = 'run: str = "x"  # its name\nsides: list[int] = [0, 1]  # which # sides\nshare = 0.5\n'
    found = parse_parameters(cell, "toy")
    assert [(p.name, p.type, p.default, p.help) for p in found.values()] == [
        ("run", "str", "x", "its name"),
        ("sides", "list[int]", [0, 1], "which # sides"),
        ("share", "float", 0.5, ""),
    ]
    assert found["share"].accepts(1) and not found["share"].accepts("1")
    assert found["sides"].accepts([]) and not found["sides"].accepts(["0"])


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("n: int | None = None", r"papermill cannot read type int \| None"),
        ("n: int = 1.5", r"the default 1\.5 is no int"),
        ("n: int = 2 * 3", r"must be a plain value"),
        ("import os", r"is not `name: type = value"),
    ],
)
def test_a_parameters_cell_that_papermill_could_not_fill_in_is_refused(cell, message):
    with pytest.raises(NotebookError, match=message):
        parse_parameters(cell, "toy")


def test_papermill_reads_the_same_parameters_as_we_do(project):
    import papermill

    path = project.root / "notebooks/01_items.ipynb"
    theirs = papermill.inspect_notebook(str(path))
    ours = read_notebook(path).parameters
    assert {name: (p["inferred_type_name"], p["help"]) for name, p in theirs.items()} == {
        name: (p.type, p.help) for name, p in ours.items()
    }
