"""Importing bundles: what comes back is the run that was given away, and nothing hostile or damaged gets in."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_project import ToyProject

from sotopia_pi.app import import_bundle as module
from sotopia_pi.app.bundle import TABLE, BundleError, bundle_run
from sotopia_pi.app.import_bundle import import_bundle
from sotopia_pi.app.status import run_status
from sotopia_pi.store.lock import RunLock, RunLocked
from sotopia_pi.store.manifest import read_manifest
from sotopia_pi.store.params import ParameterError
from sotopia_pi.store.run_card import read_run_card

STAGES = ("01_items", "02_depends", "10_results")
GIB = 1024**3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """The bundle of a run of three stages, made in a project that is then gone."""
    project = ToyProject(tmp_path_factory.mktemp("there") / "project", *STAGES, preset="seed: 3\n")
    answer = project.command("run", "params/toy.yaml")
    assert answer.returncode == 0, answer.stderr
    target = tmp_path_factory.mktemp("bundles") / "toy.zip"
    bundle_run(project.root, "toy", target, True, False)
    shutil.rmtree(project.root)
    return target


@pytest.fixture
def here(tmp_path) -> ToyProject:
    """Another project with the same notebooks and preset and no run."""
    return ToyProject(tmp_path / "here", *STAGES, preset="seed: 3\n")


def imported(here: ToyProject, path: Path, run: str | None = None, force: bool = False, max_bytes: int = GIB) -> dict:
    return import_bundle(here.root, path, run, force, max_bytes)


def spoilt(bundle: Path, target: Path, change: Callable[[dict[str, bytes]], None], keep_table: bool = True) -> Path:
    """A copy of a bundle after a change of its files; keep_table: False where the table is brought up to date."""
    with zipfile.ZipFile(bundle) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    change(held)
    if not keep_table:
        table = json.loads(held.pop(f"toy/{TABLE}"))
        table["files"] = {
            name.removeprefix("toy/"): {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in held.items()
        }
        held[f"toy/{TABLE}"] = json.dumps(table).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in held.items():
            archive.writestr(name, data)
    return target


def refused(here: ToyProject, path: Path, words: str, **how) -> None:
    with pytest.raises(BundleError, match=words):
        imported(here, path, **how)
    assert not (here.root / "outputs").exists() or not list((here.root / "outputs").iterdir())


def test_the_imported_run_has_the_same_items_results_and_a_report(here, bundle):
    told = imported(here, bundle)
    with zipfile.ZipFile(bundle) as archive:
        for name in ("01_items/items.jsonl", "10_results/results.json"):
            assert (here.run_dir / name).read_bytes() == archive.read(f"toy/{name}")
    assert told["run"] == "toy" and told["files"] == len(archive.namelist()) - 1
    assert {row.state for row in run_status(here.root, "toy")} == {"complete"}
    assert json.loads(here.command("results", "toy", "--json").stdout)["results"][0]["mean"] == 4.9
    page = (here.run_dir / "report/index.html").read_text()
    assert "The answer comes first." in page and "imported from a bundle of run toy" in page


def test_the_pipeline_finds_nothing_to_do_in_an_imported_run(here, bundle):
    told = imported(here, bundle)
    assert told["left_as_they_are"] == list(STAGES) and told["would_run_again"] == {}
    answer = here.command("run", "params/toy.yaml")
    assert answer.returncode == 0 and answer.stdout.count("unchanged") == 3 and "started" not in answer.stdout


def test_the_pipeline_finds_nothing_to_do_under_another_name_either(here, bundle):
    (here.root / "params/other.yaml").write_text("seed: 3\n")
    told = imported(here, bundle, run="other")
    assert told["would_run_again"] == {} and told["bundled_as"] == "toy"
    assert read_manifest(here.root / "outputs/other/01_items")["params"]["run"] == "other"
    assert read_run_card(here.root / "outputs/other")["run"] == "other"
    assert "run other</h1>" in (here.root / "outputs/other/report/index.html").read_text()
    answer = here.command("run", "params/other.yaml")
    assert answer.stdout.count("unchanged") == 3 and "started" not in answer.stdout


def test_other_code_here_is_told_and_its_items_are_kept(here, bundle):
    here.change_cell("02_depends", "code", "stage.finish", "_ = 1\nstage.finish")
    told = imported(here, bundle)
    assert told["would_run_again"] == {"02_depends": "code changed"}
    renamed = imported(here, bundle, run="other")
    assert renamed["would_run_again"] == {"02_depends": "code changed"}


def test_a_preset_that_is_not_here_is_named(here, bundle):
    told = imported(here, bundle, run="other")
    assert "params/other.yaml, once that file is there" in told["goes_on_with"]


def test_a_bundle_of_an_imported_run_is_the_same_but_for_its_origin(here, bundle, tmp_path):
    imported(here, bundle)
    bundle_run(here.root, "toy", tmp_path / "again.zip", True, False)
    with zipfile.ZipFile(bundle) as first, zipfile.ZipFile(tmp_path / "again.zip") as second:
        assert first.namelist() == second.namelist()
        differing = [name for name in first.namelist() if first.read(name) != second.read(name)]
    assert differing == ["toy/MANIFEST.json", "toy/report/index.html", "toy/run.json"]


def test_an_existing_run_is_refused_and_with_force_set_aside_whole(here, bundle):
    here.run_dir.mkdir(parents=True)
    (here.run_dir / "mine.txt").write_text("made here")
    with pytest.raises(BundleError, match=r"There is a run toy already.*--run.*--force"):
        imported(here, bundle)
    assert (here.run_dir / "mine.txt").is_file()
    told = imported(here, bundle, force=True)
    assert (Path(told["set_aside"]) / "mine.txt").read_text() == "made here"
    second = imported(here, bundle, force=True)
    assert second["set_aside"] != told["set_aside"] and Path(told["set_aside"]).is_dir()


def test_a_run_that_somebody_writes_into_is_not_set_aside(here, bundle):
    with RunLock(here.run_dir), pytest.raises(RunLocked):
        imported(here, bundle, force=True)
    assert [path.name for path in (here.root / "outputs").iterdir()] == ["toy"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("toy/../../escaped.txt", "leads out of the run's folder"),
        ("../escaped.txt", "leads out of the run's folder"),
        ("/etc/escaped.txt", "is an absolute path"),
        ("C:/escaped.txt", "is an absolute path"),
        ("toy\\..\\escaped.txt", "is an absolute path or has characters"),
        ("toy/.hidden", "hidden"),
        ("toy/01_items/\u202etxt.exe", "characters that no bundle uses"),
        ("toy/" + "a" * 300, "longer than"),
        ("escaped.txt", "leads out of the run's folder"),
        ("toy/01_items/extra.txt", "are not those of its MANIFEST.json, first 'toy/01_items/extra.txt'"),
        ("other/01_items/extra.txt", "are not those of its MANIFEST.json"),
    ],
)
def test_names_that_lead_elsewhere_or_are_not_listed_are_refused(here, bundle, tmp_path, name, words):
    refused(here, spoilt(bundle, tmp_path / "bad.zip", lambda held: held.update({name: b"x"})), words)
    assert not list(tmp_path.rglob("escaped*"))


def test_links_inside_a_bundle_are_refused(here, bundle, tmp_path):
    shutil.copy(bundle, tmp_path / "bad.zip")
    entry = zipfile.ZipInfo("toy/01_items/passwd")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    refused(here, tmp_path / "bad.zip", "'toy/01_items/passwd' is a link or no regular file")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(here, bundle, tmp_path):
    shutil.copy(bundle, tmp_path / "bad.zip")
    with zipfile.ZipFile(tmp_path / "bad.zip", "a") as archive:
        archive.writestr("toy/run.json", "{}")
    refused(here, tmp_path / "bad.zip", "first 'toy/run.json'")


def test_files_that_grew_changed_or_are_gone_are_refused(here, bundle, tmp_path):
    name = "toy/01_items/items.jsonl"

    def changed(held):
        held[name] = held[name].replace(b"0", b"1", 1)

    def grown(held):
        held[name] += b"{}\n"

    refused(
        here, spoilt(bundle, tmp_path / "a.zip", changed), r"01_items/items.jsonl is not what its MANIFEST.json says"
    )
    refused(here, spoilt(bundle, tmp_path / "b.zip", grown), r"01_items/items.jsonl is not what its MANIFEST.json says")
    refused(here, spoilt(bundle, tmp_path / "c.zip", lambda held: held.pop(name)), f"first '{name}'")


def test_a_damaged_zip_is_refused(here, bundle, tmp_path):
    data = bytearray(bundle.read_bytes())
    with zipfile.ZipFile(bundle) as archive:
        middle = archive.getinfo("toy/01_items/items.jsonl").header_offset + 60
    data[middle] ^= 255
    (tmp_path / "a.zip").write_bytes(data)
    refused(here, tmp_path / "a.zip", "items.jsonl is (damaged|not what)")
    (tmp_path / "b.zip").write_bytes(bundle.read_bytes()[:-400])
    refused(here, tmp_path / "b.zip", "is no readable zip")
    refused(here, tmp_path / "c.zip", "There is no file")


def test_bombs_are_refused_before_anything_is_unpacked(here, bundle, tmp_path, monkeypatch):
    bomb = spoilt(
        bundle, tmp_path / "a.zip", lambda held: held.update({"toy/01_items/zeros": bytes(20 * 1024**2)}), False
    )
    refused(here, bomb, "'toy/01_items/zeros' unpacks to more than 250 times its size")
    refused(here, bundle, r"unpacks to 0\.0 GiB; at most 0\.0 are read.*--max-gib 1", max_bytes=1000)
    monkeypatch.setattr(module, "MAX_FILES", 5)
    refused(here, bundle, "at most 5 are read")


def test_a_file_that_is_longer_than_the_zip_says_is_cut_off_and_refused(here, bundle, tmp_path):
    def lie(held):
        table = json.loads(held[f"toy/{TABLE}"])
        table["files"]["01_items/items.jsonl"]["bytes"] = 3
        held[f"toy/{TABLE}"] = json.dumps(table).encode()

    refused(here, spoilt(bundle, tmp_path / "a.zip", lie), "items.jsonl is not what")


@pytest.mark.parametrize(
    ("file", "schema", "words"),
    [
        (TABLE, "bundle/2", "schema 'bundle/2'; this version reads 'bundle/1'"),
        ("01_items/manifest.json", "manifest/9", "01_items/manifest.json is of schema 'manifest/9'"),
        ("run.json", "run/7", "run.json is of schema 'run/7'"),
    ],
)
def test_schemas_of_other_versions_are_refused(here, bundle, tmp_path, file, schema, words):
    def change(held):
        held[f"toy/{file}"] = json.dumps(json.loads(held[f"toy/{file}"]) | {"schema": schema}).encode()

    refused(here, spoilt(bundle, tmp_path / "a.zip", change, keep_table=False), words)


@pytest.mark.parametrize(
    "data", [b"no JSON", b"[]", b'{"schema": "bundle/1"}', b'{"schema": "bundle/1", "files": {"a": 1}}']
)
def test_a_table_that_is_none_is_refused(here, bundle, tmp_path, data):
    path = spoilt(bundle, tmp_path / "a.zip", lambda held: held.update({f"toy/{TABLE}": data}))
    refused(here, path, "its MANIFEST.json (cannot be read|names no digests)")


def test_zips_that_are_no_bundles_are_refused(here, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("some/file.txt", "x")
    refused(here, tmp_path / "a.zip", r"is no bundle: it needs one RUN/MANIFEST\.json")


def test_a_name_that_is_none_is_refused(here, bundle):
    with pytest.raises(ParameterError, match="cannot name a folder"):
        imported(here, bundle, run="../away")
    assert not (here.root / "outputs").exists()


def test_a_bundle_without_weights_says_which_stages_would_train_again(here, bundle, tmp_path):
    def without(held):
        manifest = json.loads(held["toy/02_depends/manifest.json"])
        manifest["files"]["bc/w.safetensors"] = {"sha256": "0", "bytes": 7, "mtime_ns": 1}
        held["toy/02_depends/manifest.json"] = json.dumps(manifest).encode()

    told = imported(here, spoilt(bundle, tmp_path / "a.zip", without, keep_table=False))
    assert told["would_run_again"] == {"02_depends": "bc/w.safetensors is gone or changed"}


def test_the_command_line_tells_what_became_of_it_and_what_is_wrong(here, bundle):
    done = here.command("import-bundle", str(bundle))
    assert done.returncode == 0 and json.loads(done.stdout)["would_run_again"] == {}
    again = here.command("import-bundle", str(bundle))
    assert again.returncode == 2 and "There is a run toy already" in again.stderr and "Traceback" not in again.stderr
    packed = here.command("bundle", "toy", "--without-adapters")
    assert packed.returncode == 0 and json.loads(packed.stdout)["file"].endswith("outputs/toy-bundle.zip")
    page = here.command("report", "toy")
    assert page.stdout.strip().endswith("outputs/toy/report/index.html")


def test_a_damaged_manifest_inside_is_refused(here, bundle, tmp_path):
    path = spoilt(bundle, tmp_path / "a.zip", lambda h: h.update({"toy/01_items/manifest.json": b"{"}), False)
    refused(here, path, "cannot be read")


@pytest.mark.parametrize(
    "change", [{"files": []}, {"key": ...}, {"files": {"../../../a": {"sha256": "0", "bytes": 1}}}]
)
def test_a_manifest_of_another_shape_is_refused(here, bundle, tmp_path, change):
    def spoil(held):
        manifest = json.loads(held["toy/01_items/manifest.json"]) | change
        kept = {key: value for key, value in manifest.items() if value is not ...}
        held["toy/01_items/manifest.json"] = json.dumps(kept).encode()

    refused(
        here, spoilt(bundle, tmp_path / "a.zip", spoil, False), r"01_items/manifest\.json lacks what a manifest has"
    )


def test_a_manifest_touches_nothing_outside_its_run(here, bundle, tmp_path):
    outside = here.root / "mine.txt"
    outside.write_text("mine")
    before = outside.stat().st_mtime_ns

    def reach(held):
        manifest = json.loads(held["toy/01_items/manifest.json"])
        manifest["files"]["../../../../mine.txt"] = {"sha256": "0", "bytes": 4, "mtime_ns": 7}
        held["toy/01_items/manifest.json"] = json.dumps(manifest).encode()

    imported(here, spoilt(bundle, tmp_path / "a.zip", reach, False))
    assert outside.stat().st_mtime_ns == before and outside.read_text() == "mine"


def test_folders_that_another_zip_tool_lists_are_no_obstacle(here, bundle, tmp_path):
    path = spoilt(bundle, tmp_path / "a.zip", lambda held: held.update({"toy/": b"", "toy/01_items/": b""}))
    assert imported(here, path)["would_run_again"] == {}


def test_a_report_of_a_pool_is_not_overwritten_by_that_of_a_run(here):
    pool = here.root / "outputs/toy-pooled"
    (pool / "report").mkdir(parents=True)
    (pool / "results.json").write_text("{}")
    answer = here.command("report", "toy-pooled")
    assert answer.returncode == 2 and "toy-pooled is a pool of runs" in answer.stderr
    assert not (pool / "report/index.html").exists()
    (here.root / "outputs/empty").mkdir()
    assert here.command("report", "empty").returncode == 0
    assert "01_items (not started)" in (here.root / "outputs/empty/report/index.html").read_text()


def test_status_names_a_damaged_manifest_instead_of_failing(here, bundle):
    imported(here, bundle)
    (here.run_dir / "01_items/manifest.json").write_text("{")
    answer = here.command("status", "toy")
    assert answer.returncode == 0 and "01_items" in answer.stdout and "damaged" in answer.stdout
