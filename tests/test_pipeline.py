"""The pipeline on tiny notebooks: what runs, what is skipped, what survives, what is said when something breaks."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from toy_project import ToyProject, line_count, wait_until

from sotopia_pi.app.pipeline import StageFailed
from sotopia_pi.store.items import without_times

THREE = ("01_items", "02_depends", "03_alone")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> ToyProject:
    """Three stages, run once through the command line."""
    project = ToyProject(tmp_path_factory.mktemp("toy"), *THREE, preset="seed: 7\n01_items:\n  n: 4\n")
    project.first = project.command("run", "params/toy.yaml")
    assert project.first.returncode == 0, project.first.stderr
    return project


@pytest.fixture
def copied(finished, tmp_path) -> ToyProject:
    """A copy of the finished project, to be changed."""
    subprocess.run(["cp", "-a", f"{finished.root}/.", tmp_path], check=True)
    project = ToyProject.__new__(ToyProject)
    project.root, project.run_dir, project.preset = tmp_path, tmp_path / "outputs/toy", tmp_path / "params/toy.yaml"
    return project


def test_a_run_says_one_plain_line_at_start_and_end_of_each_stage_and_where_the_report_is(finished):
    lines = finished.first.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[name, word] for name in THREE for word in ("started", "done")] + [
        ["Report:", "outputs/toy/report/index.html"]
    ]
    assert all(character.isprintable() for line in lines for character in line)


def test_each_stage_leaves_its_notebook_its_page_its_parameters_and_a_manifest(finished):
    for name in THREE:
        folder = finished.run_dir / name
        assert {"notebook.ipynb", "report.html", "params.yaml", "manifest.json"} <= {p.name for p in folder.iterdir()}
        assert not list(folder.glob("*.part"))
    assert yaml.safe_load((finished.run_dir / "01_items/params.yaml").read_text()) == {
        "run": "toy",
        "seed": 7,
        "n": 4,
        "pause_s": 0.0,
    }


def test_a_manifest_names_inputs_items_counts_and_cost(finished):
    first, second = finished.manifest("01_items"), finished.manifest("02_depends")
    assert first["items"]["items.jsonl"] == [item["id"] for item in finished.items("01_items")]
    assert second["inputs"] == {"01_items/items.jsonl": first["digests"]["items.jsonl"]}
    assert first["counts"] == {"items": 4, "made now": 4} and first["notes"] == {"seed": 7}
    assert first["wall_s"] > 0 and first["peak_rss_mib"] > 10


def test_the_sum_was_computed_from_the_items_of_the_stage_before(finished):
    total = json.loads((finished.run_dir / "02_depends/total.json").read_text())["total"]
    assert total == pytest.approx(sum(item["value"] for item in finished.items("01_items")))


def test_a_second_run_skips_everything_and_loads_no_notebook_machinery(copied):
    script = (
        "import sys; from sotopia_pi.app.cli import main; status = main(['run', 'params/toy.yaml']);"
        "print(sorted({'torch', 'papermill', 'nbconvert', 'pandas'} & set(sys.modules))); sys.exit(status)"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=copied.root, capture_output=True, text=True, check=True)
    assert answer.stdout.count("unchanged") == 3 and answer.stdout.splitlines()[-1] == "[]"


def test_editing_prose_comments_or_layout_runs_nothing(copied):
    copied.change_cell("01_items", "markdown", "Items, one after the other", "Another heading")
    copied.change_cell("01_items", "code", "here = items.ids()", "here  =  items.ids()  # what lies there")
    assert copied.run() == []


def test_editing_code_runs_that_stage_and_not_those_whose_inputs_stay_equal(copied):
    copied.change_cell("01_items", "code", "left = [number", "here = set(here)\nleft = [number")
    assert copied.run() == ["01_items"]
    assert copied.manifest("01_items")["counts"]["made now"] == 0


def test_a_changed_parameter_runs_what_depends_on_it_and_sets_aside_what_is_no_longer_wanted(copied):
    assert copied.run("01_items.n=2") == ["01_items", "02_depends"]
    assert len(copied.items("01_items")) == 2
    assert len(copied.items("01_items", "items.stale.jsonl")) == 2
    assert copied.manifest("01_items")["counts"]["set aside as stale from items.jsonl"] == 2


def test_items_set_aside_come_back_when_they_are_wanted_again(copied):
    before = {item["id"]: item for item in copied.items("01_items")}
    copied.run("01_items.n=2", only=("01",))
    copied.run(only=("01",))
    assert {item["id"]: item for item in copied.items("01_items")} == before
    assert copied.manifest("01_items")["counts"]["made now"] == 0


def test_a_deleted_artefact_runs_only_the_stage_that_makes_it(copied):
    (copied.run_dir / "03_alone/words/said.txt").unlink()
    assert copied.run() == ["03_alone"]


def test_a_deleted_items_file_is_made_again_and_what_reads_equal_items_stays(copied):
    before = without_times(copied.items("01_items"))
    (copied.run_dir / "01_items/items.jsonl").unlink()
    assert copied.run() == ["01_items"]
    assert without_times(copied.items("01_items")) == before


def test_a_deleted_page_is_rendered_again_without_running_anything(copied):
    (copied.run_dir / "01_items/report.html").unlink()
    assert copied.run() == []
    assert "Items, one after the other" in (copied.run_dir / "01_items/report.html").read_text()


def test_only_from_and_force_choose_stages(copied):
    assert copied.run(force=True, only=("3",)) == ["03_alone"]
    assert copied.run(force=True, first="02_depends") == ["02_depends", "03_alone"]


def test_a_preset_may_name_a_part_of_the_stages(tmp_path):
    project = ToyProject(tmp_path / "toy", *THREE, preset="stages: ['03']\n")
    assert project.run() == ["03_alone"]


@pytest.mark.slow
def test_a_stage_run_by_hand_with_its_own_parameters_file_gives_the_same_items(copied):
    before = without_times(copied.items("01_items"))
    (copied.run_dir / "01_items/items.jsonl").unlink()
    words = ["papermill", "notebooks/01_items.ipynb", "out.ipynb", "-f", "outputs/toy/01_items/params.yaml"]
    executable = Path(sys.executable).with_name(words[0])
    subprocess.run([executable, *words[1:], "--no-progress-bar"], cwd=copied.root, check=True, capture_output=True)
    assert without_times(copied.items("01_items")) == before
    assert copied.manifest("01_items")["key"] is None


@pytest.mark.slow
def test_a_failing_notebook_yields_its_page_and_names_stage_cell_error_and_the_next_command(tmp_path):
    project = ToyProject(tmp_path / "toy", "03_alone", "04_fails", "05_forgets")
    answer = project.command("run", "params/toy.yaml", "--set", "word=good day")
    assert answer.returncode == 1
    assert '04_fails failed in code cell 4 (`raise RuntimeError("the <b>toy</b> breaks here")`)' in answer.stderr
    assert "RuntimeError: the <b>toy</b> breaks here" in answer.stderr
    assert "sotopia-pi run params/toy.yaml --set 'word=good day'" in answer.stderr
    page = (project.run_dir / "04_fails/report.html").read_text()
    assert "reached before it failed" in page and "&lt;b&gt;toy&lt;/b&gt; breaks" in page and "<b>toy</b>" not in page
    assert project.manifest("04_fails") is None and not (project.run_dir / "05_forgets").exists()
    stopped = "04_fails (begun, not finished; it stopped with RuntimeError: the &lt;b&gt;toy&lt;/b&gt; breaks here)"
    assert stopped in (project.run_dir / "report/index.html").read_text()


def test_a_notebook_that_never_finishes_its_stage_fails(tmp_path):
    with pytest.raises(StageFailed, match=r"05_forgets .*never called stage.finish"):
        ToyProject(tmp_path / "toy", "05_forgets").run()


def test_a_kernel_that_ends_by_itself_is_a_failure_that_says_so(tmp_path):
    with pytest.raises(StageFailed, match=r"07_dies .*kernel ended by itself"):
        ToyProject(tmp_path / "toy", "07_dies").run()


@pytest.mark.slow
def test_an_input_that_is_not_made_names_the_command_that_makes_it(tmp_path):
    project = ToyProject(tmp_path / "toy", "01_items", "02_depends")
    answer = project.command("run", "params/toy.yaml", "--only", "02")
    assert "MissingInput: 02_depends needs toy/01_items/items.jsonl" in answer.stderr
    assert "sotopia-pi run params/toy.yaml --only 01_items" in answer.stderr


@pytest.mark.slow
def test_a_killed_run_continues_with_the_same_ids_and_nothing_twice(tmp_path):
    slow = ToyProject(tmp_path / "toy", "01_items", preset="n: 40\npause_s: 0.1\n")
    items = slow.run_dir / "01_items/items.jsonl"
    process = slow.start("run", "params/toy.yaml")
    wait_until(lambda: line_count(items) >= 5, "five items")
    process.kill()
    process.communicate()
    with items.open("a") as file:
        file.write('{"id": "torn')
    kept = line_count(items)
    answer = slow.command("run", "params/toy.yaml")
    assert answer.returncode == 0, answer.stderr
    whole = ToyProject(tmp_path / "whole", "01_items", preset="n: 40\n")
    whole.run()
    assert without_times(slow.items("01_items")) == without_times(whole.items("01_items"))
    assert 5 <= kept < 40 and 0 < slow.manifest("01_items")["counts"]["made now"] <= 40 - kept


@pytest.mark.slow
def test_an_interrupted_run_ends_its_kernel_and_says_how_to_continue(tmp_path):
    project = ToyProject(tmp_path / "toy", "01_items", preset="n: 400\npause_s: 0.1\n")
    items = project.run_dir / "01_items/items.jsonl"
    process = project.start("run", "params/toy.yaml")
    wait_until(lambda: line_count(items) >= 2, "two items")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Continue with: sotopia-pi run params/toy.yaml" in said and "Traceback" not in said
    assert "progress.json" in {path.name for path in items.parent.iterdir()}
    settled = line_count(items)
    with pytest.raises(AssertionError, match="another item"):
        wait_until(lambda: line_count(items) > settled, "another item", seconds=1.0)


@pytest.mark.slow
def test_a_second_run_on_one_folder_is_refused_and_the_first_goes_on(tmp_path):
    project = ToyProject(tmp_path / "toy", "01_items", preset="n: 60\npause_s: 0.1\n")
    items = project.run_dir / "01_items/items.jsonl"
    process = project.start("run", "params/toy.yaml")
    wait_until(lambda: line_count(items) >= 1, "an item")
    second = project.command("run", "params/toy.yaml")
    status = project.command("status", "toy")
    assert second.returncode == 2
    assert f"process {process.pid} on " in second.stderr and "start again; nothing is lost" in second.stderr
    assert "running" in status.stdout and "/60 items" in status.stdout
    process.communicate(timeout=120)
    assert process.returncode == 0 and len(project.items("01_items")) == 60


def test_a_corrupt_line_in_the_middle_stops_the_stage_and_names_file_and_line(copied):
    path = copied.run_dir / "01_items/items.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:20]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(StageFailed, match=r"CorruptLine: .*items\.jsonl, line 2: .*mend or delete this one line"):
        copied.run()
    path.write_text("\n".join(lines[:1] + lines[2:]) + "\n")
    assert copied.run() == ["01_items"]
    assert copied.manifest("01_items")["counts"]["made now"] == 1


@pytest.mark.slow
def test_a_full_disk_is_named_and_what_was_written_is_kept(tmp_path):
    project = ToyProject(tmp_path / "toy", "08_fills")
    limit = 1_500_000
    script = (
        "import resource, signal, sys; from sotopia_pi.app.cli import main;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); sys.exit(main(['run', 'params/toy.yaml']))"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=project.root, capture_output=True, text=True)
    assert answer.returncode == 1
    assert (
        '08_fills failed in code cell 3 (`items = stage.items("items.jsonl")`)' in answer.stderr
        and "OSError: [Errno 27] File too large" in answer.stderr
    )
    assert "What is finished is kept." in answer.stderr
    assert line_count(project.run_dir / "08_fills/items.jsonl") > 1000
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.slow
def test_seeds_are_runs_of_their_own_then_pooled_and_skipped_the_second_time(tmp_path):
    project = ToyProject(tmp_path / "toy", "01_items", "09_pools")
    words = ("seeds", "params/toy.yaml", "--seeds", "0", "1")
    first, again = project.command(*words), project.command(*words)
    assert first.returncode == again.returncode == 0, first.stderr
    assert again.stdout.count("unchanged") == 3
    values = {}
    for seed in (0, 1):
        lines = (project.root / f"outputs/toy-seed{seed}/01_items/items.jsonl").read_text().splitlines()
        values[seed] = [json.loads(line)["value"] for line in lines]
    assert len(values[0]) == 3 and not set(values[0]) & set(values[1])
    pooled = json.loads(project.command("results", "toy-compared", "--json").stdout)
    assert pooled["results"][0]["mean"] == pytest.approx(sum(values[0] + values[1]) / 6)
    assert not (project.root / "outputs/toy-seed0/09_pools").exists()
    assert (project.root / "outputs/toy-compared/report/index.html").is_file()


def test_a_reader_that_goes_before_the_end_is_no_error(finished):
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "sotopia_pi.app.cli", "status", "toy"]
    told = subprocess.run(words, cwd=finished.root, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (told.returncode, told.stderr) == (141, b"")
