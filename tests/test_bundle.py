"""Bundles: one zip of a run, the same bytes for the same run, with links that work and nothing of the machine."""

import json
import os
import re
import shutil
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from toy_project import ToyProject

from sotopia_pi.app.bundle import TABLE, BundleError, bundle_run
from sotopia_pi.app.bundle_scan import Places, Secrets
from sotopia_pi.store.lock import RunLock, RunLocked
from sotopia_pi.store.manifest import MANIFEST, describe_files, read_manifest, result_digests, write_manifest
from sotopia_pi.store.params import ParameterError

STAGES = ("01_items", "02_depends", "06_page", "10_results")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> ToyProject:
    """A run of four stages through the command line, with its report."""
    project = ToyProject(tmp_path_factory.mktemp("toy"), *STAGES, preset="seed: 3\n")
    answer = project.command("run", "params/toy.yaml")
    assert answer.returncode == 0, answer.stderr
    return project


@pytest.fixture
def project(made, tmp_path) -> ToyProject:
    """A copy of it that a test may change; file times are kept."""
    copy = ToyProject(tmp_path / "toy", *STAGES, preset="seed: 3\n")
    shutil.copytree(made.root / "outputs", copy.root / "outputs")
    return copy


def bundled(project: ToyProject, target: Path | None = None, adapters: bool = True, force: bool = False) -> dict:
    return bundle_run(project.root, "toy", target, adapters, force)


def unpacked(path: str | Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def add_result(project: ToyProject, stage: str, name: str, data: bytes) -> None:
    """A further result of a stage, named by its manifest as if the stage had written it."""
    folder = project.run_dir / stage
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    manifest = read_manifest(folder)
    manifest["files"] |= describe_files(folder, [name])
    manifest["digests"] |= result_digests(folder, [name])
    write_manifest(folder, manifest)


class Links(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("href", "src") and value]


def test_a_bundle_holds_report_pages_items_cards_and_parameters_below_the_runs_name(project):
    held = unpacked(bundled(project)["file"])
    wanted = ["run.json", "report/index.html", "MANIFEST.json"]
    wanted += [f"{s}/{f}" for s in STAGES for f in ("report.html", "notebook.ipynb", "params.yaml", "manifest.json")]
    assert {f"toy/{name}" for name in [*wanted, "01_items/items.jsonl", "10_results/results.json"]} <= set(held)
    assert not [name for name in held if name.startswith("toy/.") or "lock" in name]


def test_every_file_is_named_with_digest_and_size(project):
    held = unpacked(bundled(project)["file"])
    table = json.loads(held.pop(f"toy/{TABLE}"))
    assert table["schema"] == "bundle/1" and table["run"] == "toy"
    assert {f"toy/{name}" for name in table["files"]} == set(held)
    assert all(table["files"][name.removeprefix("toy/")]["bytes"] == len(data) for name, data in held.items())


def test_the_same_run_gives_the_same_bytes(project, tmp_path):
    first = Path(bundled(project, tmp_path / "a.zip")["file"]).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    for path in project.run_dir.rglob("*"):
        os.utime(path, (1, 1))
    (project.run_dir / "report/index.html").unlink()
    assert Path(bundled(project, tmp_path / "b.zip")["file"]).read_bytes() == first
    with (project.run_dir / "01_items/items.jsonl").open("a") as file:
        file.write("\n")
    assert Path(bundled(project, tmp_path / "c.zip")["file"]).read_bytes() != first


def test_bundling_changes_nothing_in_the_run_but_its_report(project):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in project.run_dir.rglob("*") if p.is_file()}
    bundled(project)
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in project.run_dir.rglob("*") if p.is_file()}
    assert {p.name for p in before if before[p] != after[p]} <= {"index.html", ".run.lock"}
    assert {p.name for p in set(after) - set(before)} <= {".run.lock"}


def test_links_between_pages_and_to_data_work_after_unzipping(project, tmp_path):
    with zipfile.ZipFile(bundled(project)["file"]) as archive:
        archive.extractall(tmp_path / "elsewhere")
    pages = sorted((tmp_path / "elsewhere/toy").glob("*/report.html"))
    pages.append(tmp_path / "elsewhere/toy/report/index.html")
    links = [(page, link) for page in pages for link in Links(page.read_text()).found]
    assert len(pages) == 5 and any(link.startswith("../10_results/") for _, link in links)
    for page, link in links:
        assert link.startswith(("#", "data:")) or (page.parent / link.partition("#")[0]).is_file(), (page, link)


def test_folders_of_the_machine_are_rewritten_and_the_manifests_still_fit(made, project):
    assert str(made.root) in (project.run_dir / "01_items/notebook.ipynb").read_text()
    report = bundled(project)
    held = unpacked(report["file"])
    for name, data in held.items():
        for place in (
            str(made.root),
            str(project.root),
            str(Path.home()) + "/",
            "/tmp/",
            os.path.realpath(project.root),
        ):
            assert place.encode() not in data, (name, place)
    assert "01_items/notebook.ipynb" in report["rewritten"]
    told = json.loads(held["toy/01_items/notebook.ipynb"])["metadata"]["papermill"]
    assert told["input_path"] == "./notebooks/01_items.ipynb"
    known = json.loads(held["toy/01_items/manifest.json"])["files"]["notebook.ipynb"]
    assert known["bytes"] == len(held["toy/01_items/notebook.ipynb"])


def test_pictures_come_through_unharmed(project):
    def pictures(text: bytes) -> list[bytes]:
        return re.findall(rb"base64,([A-Za-z0-9+/=]{100,})", text)

    before = pictures((project.run_dir / "06_page/report.html").read_bytes())
    assert before and pictures(unpacked(bundled(project)["file"])["toy/06_page/report.html"]) == before


def test_items_that_name_a_folder_are_rewritten_and_what_hangs_on_their_digest_follows(project):
    item = {"id": "a", "model": f"local:{project.root}/models/mine", "text": "look in /home/anna"}
    add_result(project, "01_items", "extra.jsonl", json.dumps(item).encode() + b"\n")
    dependent = read_manifest(project.run_dir / "02_depends")
    dependent["inputs"]["01_items/extra.jsonl"] = read_manifest(project.run_dir / "01_items")["digests"]["extra.jsonl"]
    write_manifest(project.run_dir / "02_depends", dependent)
    held = unpacked(bundled(project)["file"])
    written = json.loads(held["toy/01_items/extra.jsonl"])
    assert written == {"id": "a", "model": "local:./models/mine", "text": "look in /home/anna"}
    digest = json.loads(held["toy/01_items/manifest.json"])["digests"]["extra.jsonl"]
    assert digest != dependent["inputs"]["01_items/extra.jsonl"]
    assert json.loads(held["toy/02_depends/manifest.json"])["inputs"]["01_items/extra.jsonl"] == digest


def test_a_key_of_the_environment_anywhere_stops_the_bundle_and_is_not_repeated(project, monkeypatch):
    secret = 'canary"5f0e1d&x'
    monkeypatch.setenv("MY_SERVICE_TOKEN", secret)
    bundled(project)
    (project.root / "outputs/toy-bundle.zip").unlink()
    for data in (secret.encode(), json.dumps(secret).encode(), b"canary&quot;5f0e1d&amp;x"):
        (project.run_dir / "01_items/extra.bin").write_bytes(b"\n\n" + data)
        with pytest.raises(
            BundleError, match=r"toy/01_items/extra.bin holds the value of .*MY_SERVICE_TOKEN, line 3"
        ) as e:
            bundled(project)
        assert secret not in str(e.value)
    assert [path.name for path in (project.root / "outputs").iterdir()] == ["toy"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("sk-" + "A1b2" * 6, "an API key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
        ("Authorization: Bearer " + "abcdefgh" * 4, "an authorization header"),
        ("AKIA" + "ABCDEFGH12345678", "a cloud access key"),
    ],
)
def test_what_looks_like_a_key_stops_the_bundle(project, text, what):
    (project.run_dir / "10_results/notes.txt").write_text(f"first line\n{text}\n")
    with pytest.raises(BundleError, match=f"10_results/notes.txt holds what looks like {what}, line 2"):
        bundled(project)


def test_weights_may_be_left_out_and_that_is_told(project):
    add_result(project, "01_items", "bc/adapter/adapter_model.safetensors", b"weights")
    whole = bundled(project)
    assert "toy/01_items/bc/adapter/adapter_model.safetensors" in unpacked(whole["file"])
    light = bundled(project, adapters=False)
    held = unpacked(light["file"])
    assert "toy/01_items/bc/adapter/adapter_model.safetensors" not in held
    assert "weights of adapters, left out as asked" in [one["why"] for one in light["left_out"]]
    assert json.loads(held[f"toy/{TABLE}"])["left_out"] == light["left_out"]
    assert "bc/adapter/adapter_model.safetensors" in json.loads(held["toy/01_items/manifest.json"])["files"]


def test_a_weights_file_that_names_a_folder_of_the_machine_stops_the_bundle(project):
    add_result(project, "01_items", "w.safetensors", b"\xff\x00" + str(project.root).encode())
    with pytest.raises(BundleError, match=r"w\.safetensors names the folder .* no text that could be rewritten"):
        bundled(project)


def test_exports_stay_out_but_for_their_cards_and_links_are_not_followed(project, tmp_path):
    cards = project.run_dir / "export/adapters/toy-bc"
    cards.mkdir(parents=True)
    (cards / "README.md").write_text("# A card")
    (cards / "adapter_model.safetensors").write_bytes(b"again")
    (tmp_path / "outside.txt").write_text("not of this run")
    (project.run_dir / "02_depends/index").mkdir()
    (project.run_dir / "02_depends/index/text.bin").write_bytes(b"words")
    (project.run_dir / "01_items/away.txt").symlink_to(tmp_path / "outside.txt")
    report = bundled(project)
    held = unpacked(report["file"])
    assert held["toy/cards/adapters/toy-bc/README.md"] == b"# A card"
    assert not [name for name in held if "export" in name or "away" in name or "index/" in name]
    assert {"exports can be made again from the bundle", "links are not followed"} <= {
        one["why"] for one in report["left_out"]
    }


def test_what_people_entered_is_pointed_out(project):
    (project.run_dir / "09_human_evaluation").mkdir()
    (project.run_dir / "09_human_evaluation/human_ratings.jsonl").write_text('{"id": "r"}\n')
    assert bundled(project)["remarks"] == [
        "09_human_evaluation/human_ratings.jsonl holds what people entered, under the names they gave"
    ]


def test_a_run_without_a_complete_stage_a_wrong_name_and_a_busy_run_are_refused(project):
    with pytest.raises(ParameterError, match="Did you mean 'toy'"):
        bundle_run(project.root, "toi", None, True, False)
    with RunLock(project.run_dir), pytest.raises(RunLocked):
        bundled(project)
    for path in project.run_dir.glob(f"*/{MANIFEST}"):
        path.unlink()
    with pytest.raises(BundleError, match="no complete stage"):
        bundled(project)


def test_only_bundles_are_replaced(project, tmp_path):
    target = tmp_path / "mine.zip"
    bundled(project, target)
    bundled(project, target)
    target.write_text("a letter")
    with pytest.raises(BundleError, match=r"mine\.zip is there and is no bundle"):
        bundled(project, target)
    assert target.read_text() == "a letter"
    bundled(project, target, force=True)
    assert zipfile.is_zipfile(target)


def test_paths_are_found_where_they_stand_and_nowhere_else(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/lee"))
    places = Places.of_machine(Path("/srv/work/pi"), ["/data/old/repo"])
    told = {
        '"/srv/work/pi/outputs/a.png"': '"./outputs/a.png"',
        "(/data/old/repo)": "(.)",
        "at /home/lee/.cache, or /home/leeds/x": "at ~/.cache, or ~/x",
        r'"said\n/home/lee/x"': r'"said\n~/x"',
        "/opt/py/lib/python3.11/site-packages/torch/nn.py:3": "…/site-packages/torch/nn.py:3",
        "base64,AAAA/home/lee/AAAA": "base64,AAAA/home/lee/AAAA",
        "/srv/work/pirates": "/srv/work/pirates",
        "a/tmp/b and /tmp/c": "a/tmp/b and …/c",
        r"C:\Users\Lee\x": r"~\x",
        "/root/x, /rooted": "~/x, /rooted",
    }
    assert {text: places.rewritten(text, data=False) for text in told} == told
    assert places.rewritten("/home/anna and /home/lee", data=True) == "/home/anna and ~"


def test_short_values_and_other_variables_are_no_secrets(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "short")
    monkeypatch.setenv("PLAIN", "a long and public value")
    assert not {"SOME_KEY", "PLAIN"} & set(Secrets.of_environment().planted)
