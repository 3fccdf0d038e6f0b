"""Items, manifests, digests and locks: what lies on the disk stays true."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sotopia_pi.store.digest import imports_in, source_digest
from sotopia_pi.store.items import CorruptLine, ItemFile, content_id, items_digest, without_times, write_atomically
from sotopia_pi.store.lock import OWNER_VARIABLE, RunLock, RunLocked, lock_for_notebook
from sotopia_pi.store.manifest import changed_file, describe_files, read_manifest, result_digests, write_manifest
from sotopia_pi.store.progress import Progress, ProgressState, read_progress

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_items_come_back_as_they_were_written(tmp_path_factory, value):
    items = ItemFile(tmp_path_factory.mktemp("items") / "a.jsonl")
    items.append({"id": "one", "value": value})
    items.append({"id": "two", "value": [value]})
    assert items.read() == [{"id": "one", "value": value}, {"id": "two", "value": [value]}]


def test_a_torn_last_line_is_ignored_and_cut_off_before_the_next_item(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "one"}\n{"id": "tw')
    items = ItemFile(path)
    assert items.ids() == {"one"}
    items.append({"id": "two"})
    assert path.read_text() == '{"id": "one"}\n{"id": "two"}\n'


@pytest.mark.parametrize("line", ["{", "[1]", '{"no": "id"}', "3"])
def test_a_broken_line_in_the_middle_names_its_file_and_number(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"id": "one"}}\n{line}\n{{"id": "three"}}\n')
    with pytest.raises(CorruptLine, match=r"a\.jsonl, line 2"):
        ItemFile(path).read()


def test_of_two_items_with_one_id_the_first_counts(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "one", "n": 1}\n{"id": "one", "n": 2}\n')
    assert ItemFile(path).read() == [{"id": "one", "n": 1}]


def test_unwanted_items_move_aside_and_are_kept_once(tmp_path):
    items = ItemFile(tmp_path / "a.jsonl")
    for name in ("one", "two", "three"):
        items.append({"id": name})
    assert items.keep_only(["two"]) == 2
    items.append({"id": "one"})
    assert items.keep_only(["two"]) == 1
    assert items.ids() == {"two"}
    assert [item["id"] for item in ItemFile(tmp_path / "a.stale.jsonl").read()] == ["one", "three"]


def test_ids_depend_on_content_and_not_on_the_order_of_keys():
    assert content_id("task", {"a": 1, "b": [2]}) == content_id("task", {"b": [2], "a": 1})
    assert content_id("task", {"a": 1}) != content_id("task", {"a": 2}) != content_id("rating", {"a": 2})


def test_times_and_order_are_no_part_of_a_digest():
    one = [{"id": "a", "turns": [{"text": "hi", "timing": {"s": 1}}]}, {"id": "b", "timing": 3}]
    other = [{"id": "b"}, {"id": "a", "turns": [{"timing": 9, "text": "hi"}]}]
    assert items_digest(one) == items_digest(other)
    assert items_digest(one) != items_digest([{"id": "b"}])
    assert without_times(one) == [{"id": "a", "turns": [{"text": "hi"}]}, {"id": "b"}]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "no bytes")
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_manifest_notices_a_file_that_is_gone_or_differs_but_not_one_that_was_only_touched(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("folder/one.bin", "two.txt"):
        (tmp_path / name).write_text("same length")
    manifest = {"files": describe_files(tmp_path, ["folder", "two.txt"])}
    assert sorted(manifest["files"]) == ["folder/one.bin", "two.txt"]
    os.utime(tmp_path / "two.txt", ns=(1, 1))
    assert changed_file(tmp_path, manifest) is None
    (tmp_path / "two.txt").write_text("other words")
    assert changed_file(tmp_path, manifest) == "two.txt"
    (tmp_path / "folder/one.bin").unlink()
    assert changed_file(tmp_path, manifest) == "folder/one.bin"


def test_a_result_that_was_never_written_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"adapter: named as a result of the stage, but nothing was written"):
        describe_files(tmp_path, ["adapter"])


def test_the_digest_of_a_folder_depends_on_names_and_contents_but_not_on_times(tmp_path):
    digests = []
    for number, (name, value, wall) in enumerate([("a", 1, 5), ("a", 1, 6), ("b", 1, 5), ("a", 2, 5)]):
        folder = tmp_path / str(number) / "adapter"
        folder.mkdir(parents=True)
        (folder / f"{name}.json").write_text(json.dumps({"value": value, "timing": {"wall_s": wall}}))
        digests.append(result_digests(folder.parent, describe_files(folder.parent, ["adapter"]))["adapter"])
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_a_damaged_manifest_says_what_to_delete(tmp_path):
    assert read_manifest(tmp_path) is None
    write_manifest(tmp_path, {"stage": "x"})
    assert read_manifest(tmp_path) == {"stage": "x"}
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json: not readable .* Delete this file"):
        read_manifest(tmp_path)


def test_imports_are_read_from_the_text_and_resolved_to_modules():
    text = "import os\nfrom sotopia_pi.store.items import ItemFile\nfrom sotopia_pi.store import digest\n"
    assert imports_in(text) == {"sotopia_pi.store.items", "sotopia_pi.store.digest"}


def test_the_source_digest_of_a_module_covers_what_it_imports():
    assert source_digest("sotopia_pi.store.items") != source_digest("sotopia_pi.store.manifest")
    assert source_digest("sotopia_pi.store.items") == source_digest("sotopia_pi.store.items")
    with pytest.raises(ModuleNotFoundError):
        source_digest("sotopia_pi.store.nothing")


def test_one_process_holds_a_run_and_another_is_told_who(tmp_path):
    script = (
        "import sys; from pathlib import Path; from sotopia_pi.store.lock import RunLock;"
        "lock = RunLock(Path(sys.argv[1])).acquire(); print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        assert RunLock(tmp_path).is_held()
        with pytest.raises(RunLocked, match=rf"process {other.pid} on .* is writing into this run"):
            RunLock(tmp_path).acquire()
        other.kill()
        other.wait()
    with RunLock(tmp_path):
        pass
    assert not RunLock(tmp_path).is_held()


def test_a_notebook_takes_the_run_once_and_lets_go_of_the_one_before(tmp_path, monkeypatch):
    monkeypatch.delenv(OWNER_VARIABLE, raising=False)
    one, other = tmp_path / "one", tmp_path / "other"
    lock_for_notebook(one)
    lock_for_notebook(one)
    assert RunLock(one).is_held() and RunLock(one, "kernel").is_held()
    lock_for_notebook(other)
    assert not RunLock(one).is_held() and RunLock(other).is_held()


def test_a_kernel_of_the_pipeline_takes_only_its_own_lock(tmp_path, monkeypatch):
    run = (tmp_path / "mine").resolve()
    monkeypatch.setenv(OWNER_VARIABLE, str(run))
    with RunLock(run):
        lock_for_notebook(run)
        assert RunLock(run, "kernel").is_held()


def test_progress_tells_how_much_is_done_failed_and_left(tmp_path):
    with Progress(4, "episodes", tmp_path / "progress.json", done=1) as bar:
        bar.advance()
        bar.advance(failed=True)
    state = read_progress(tmp_path)
    assert (state.label, state.done, state.total, state.failed) == ("episodes", 3, 4, 1)
    assert state.left_s == pytest.approx(state.elapsed_s / 2)


def test_the_time_left_is_unknown_before_the_first_item_of_this_sitting():
    assert ProgressState("episodes", done=10, total=20, failed=0, elapsed_s=5.0, resumed=10).left_s is None
