"""A stage as its notebook sees it, without a kernel: parameters, inputs, items and the closing manifest."""

import pytest
from toy_project import ToyProject

from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.manifest import read_manifest
from sotopia_pi.store.params import ParameterError
from sotopia_pi.store.stage import MissingInput, count_table, open_stage


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """The working folder is a toy project."""
    toy = ToyProject(tmp_path / "toy", "01_items", "02_depends", "03_alone")
    monkeypatch.chdir(toy.root / "notebooks")
    monkeypatch.delenv("SOTOPIA_PI_HOME", raising=False)
    return toy


def opened(name="01_items", **changed):
    defaults = {"01_items": {"run": "toy", "seed": 0, "n": 3, "pause_s": 0.0}, "02_depends": {"run": "toy"}}
    defaults["03_alone"] = {"run": "toy", "word": "hello", "loud": False}
    return open_stage(name, {**defaults[name], **changed})


def finished_items(*ids):
    stage = opened()
    items = stage.items("items.jsonl")
    for item_id in ids:
        items.append({"id": item_id, "value": 1})
    stage.finish(items={"items.jsonl": ids})
    return stage


def test_a_stage_knows_its_run_its_folder_and_its_parameters(project):
    stage = opened(n=5)
    assert (stage.name, stage.run, stage.params["n"]) == ("01_items", "toy", 5)
    assert stage.dir == project.root / "outputs/toy/01_items" and stage.path("a/b.txt").parent.is_dir()


def test_a_name_that_is_not_declared_is_refused_with_the_closest(project):
    with pytest.raises(ParameterError, match=r"unknown parameter 'pause'\. Did you mean 'pause_s'"):
        opened(pause=1.0)


def test_a_flag_that_arrives_as_a_string_is_refused_and_told_how_to_write_it(project):
    with pytest.raises(ParameterError, match=r"parameter loud must be bool, got 'false' .* reads only True and False"):
        opened("03_alone", loud="false")


def test_a_parameters_cell_that_was_not_run_is_told_so(project):
    with pytest.raises(ParameterError, match="n, pause_s, run, seed not set; run the parameters cell first"):
        open_stage("01_items", {})


def test_modules_functions_and_private_names_are_no_parameters(project):
    assert opened(_hidden=1, pytest=pytest, help_me=opened).params["n"] == 3


def test_run_all_works_a_second_time_in_the_same_kernel_and_still_sees_a_slip(project):
    cells = [
        "",
        "run: str = 'toy'\nseed: int = 0",
        'stage = open_stage("01_items", globals())',
        "left = [1, 2]\nn_left = 2",
    ]
    later = {"left": [1, 2], "n_left": 2, "others": [3]}
    opening = f"{cells[2]}\nothers = [3]"
    papermill = "# Parameters\nseeed = 3"
    assert opened(**later, In=[*cells, cells[1], cells[2]]).params["n"] == 3
    assert opened(**later, In=[*cells, cells[1], opening]).params["n"] == 3, "what its own cell is about to set is none"
    with pytest.raises(ParameterError, match="unknown parameter 'seeed'"):
        opened(**later, seeed=3, In=[*cells, cells[1] + "\nseeed = 3", cells[2]])
    with pytest.raises(ParameterError, match="unknown parameter 'seeed'"):
        opened(seeed=3, In=["", cells[1], papermill, cells[2]])


def test_inputs_are_the_items_the_manifest_names_in_its_order(project):
    finished_items("b", "a")
    ItemFile(project.run_dir / "01_items/items.jsonl").append({"id": "later", "value": 2})
    stage = opened("02_depends")
    assert [item["id"] for item in stage.input("01_items", "items.jsonl")] == ["b", "a"]
    stage.finish()
    recorded = read_manifest(stage.dir)["inputs"]
    assert recorded == {"01_items/items.jsonl": project.manifest("01_items")["digests"]["items.jsonl"]}


def test_an_input_that_is_not_made_yet_names_the_command_that_makes_it(project):
    stage = opened("02_depends")
    with pytest.raises(MissingInput, match=r"sotopia-pi run params/toy\.yaml --only 01_items"):
        stage.input("01_items", "items.jsonl")
    with pytest.raises(MissingInput, match="--only 01_items"):
        stage.input_path("01_items", "adapter/")
    assert not stage.has_input("01_items", "items.jsonl")


def test_an_absent_input_that_was_asked_for_is_on_record(project):
    stage = opened("02_depends")
    stage.has_input("01_items", "items.jsonl")
    stage.finish()
    assert read_manifest(stage.dir)["inputs"] == {"01_items/items.jsonl": None}


def test_an_input_whose_content_was_changed_by_hand_is_refused(project):
    finished_items("a", "b")
    path = project.run_dir / "01_items/items.jsonl"
    path.write_text(path.read_text().replace('"value": 1', '"value": 9', 1))
    with pytest.raises(ValueError, match=r"not what its stage wrote .* Make it again: .*--only 01_items"):
        opened("02_depends").input("01_items", "items.jsonl")


def test_a_folder_is_handed_on_by_path_and_digest(project):
    stage = opened("03_alone")
    stage.path("words/said.txt").write_text("hello")
    stage.finish(artefacts=["words/"])
    reader = opened("02_depends")
    assert (reader.input_path("03_alone", "words/") / "said.txt").read_text() == "hello"
    reader.finish()
    assert reader.input_path("03_alone", "words/said.txt").is_file() and not reader.has_input("03_alone", "word")
    assert list(read_manifest(reader.dir)["inputs"]) == ["03_alone/words"]


def test_results_of_another_run_are_found_and_recorded_under_its_name(project):
    stage = opened("03_alone", run="other")
    stage.path("said.txt").write_text("hello")
    stage.finish(artefacts=["said.txt"])
    reader = opened("02_depends")
    assert reader.input_path("03_alone", "said.txt", run="other").read_text() == "hello"
    with pytest.raises(MissingInput, match=r"sotopia-pi run params/third\.yaml --only 03_alone"):
        reader.input_path("03_alone", "said.txt", run="third")
    reader.finish()
    assert list(read_manifest(reader.dir)["inputs"]) == ["other:03_alone/said.txt"]


def test_a_stage_that_names_items_it_never_wrote_is_refused(project):
    stage = opened()
    stage.items("items.jsonl").append({"id": "a"})
    with pytest.raises(ValueError, match="1 of 2 named items are not there, first b"):
        stage.finish(items={"items.jsonl": ["a", "b"]})


def test_opening_a_stage_again_takes_its_manifest_away_until_it_is_finished(project):
    finished_items("a")
    assert project.manifest("01_items") is not None
    opened()
    assert project.manifest("01_items") is None


def test_unnamed_items_are_set_aside_counted_and_taken_back_when_wanted(project, capsys):
    finished_items("a", "b")
    opened().finish(items={"items.jsonl": ["a"]}, counts={"kept": 1})
    counts = {"kept": 1, "set aside as stale from items.jsonl": 1}
    assert project.manifest("01_items")["counts"] == counts
    assert count_table(counts) in capsys.readouterr().out
    assert opened().items("items.jsonl", wanted=["a", "b"]).ids() == {"a", "b"}


def test_a_torn_line_that_nothing_followed_is_no_part_of_the_result(project):
    finished_items("a", "b")
    with (project.run_dir / "01_items/items.jsonl").open("a") as file:
        file.write('{"id": "c", "val')
    opened().finish(items={"items.jsonl": ["a", "b"]})
    assert [item["id"] for item in project.items("01_items")] == ["a", "b"]


def test_a_result_without_items_is_a_result(project):
    stage = opened()
    stage.finish(items={"items.jsonl": []})
    assert opened("02_depends").input("01_items", "items.jsonl") == []


def test_the_table_of_counts_is_aligned_plain_text():
    assert count_table({"in": 12, "kept by rule": 3}) == "in                  12\nkept by rule         3"
