"""What is pushed is what the dry run wrote, byte by byte; nothing leaves unasked, and no key with it."""

import hashlib
import json

import pytest
from finished_run import RUN, FinishedToy
from huggingface_hub import constants
from shared_run import SharedToy
from toy_hub import TOKEN, ToyHub, running

from sotopia_pi.app.cli import main
from sotopia_pi.formats.hub_push import checked_repository

TO = "ann/negotiator"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return SharedToy(tmp_path_factory.mktemp("project"), measured=False)


@pytest.fixture
def hub():
    with running(ToyHub()) as there:
        yield there


@pytest.fixture
def push(hub, monkeypatch, capsys):
    """Run `sotopia-pi push ...` against the stand-in; returns exit status, what it printed, what it complained of.

    Large files go by LFS: the other way of the hub's client is compiled code that no stand-in here can answer.
    """
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)

    def run(toy, *words):
        monkeypatch.setenv("SOTOPIA_PI_HOME", str(toy.root))
        capsys.readouterr()
        try:
            status = main(["push", RUN, *words])
        except SystemExit as error:
            status = error.code
        told = capsys.readouterr()
        assert TOKEN not in told.out + told.err
        return status, told.out, told.err

    return run


def sent_folder(toy, to=TO):
    folder = toy.dir / "export" / "push" / to.replace("/", "--")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("what", ["model", "merged", "data"])
def test_what_arrives_is_what_the_dry_run_wrote_and_listed(toy, push, hub, what):
    to = f"ann/{what}"
    words = ("--what", what, *(() if what == "data" else ("--variant", "BC+SR")))
    status, out, _ = push(toy, "--to", to, *words, "--dry-run")
    assert status == 0 and hub.seen == [], "a dry run asks nobody"
    listed, written = json.loads(out), sent_folder(toy, to)
    assert {f["path"]: (f["bytes"], f["sha256"]) for f in listed["files"]} == {
        name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in written.items()
    }
    status, out, _ = push(toy, "--to", to, *words)
    assert status == 0
    arrived = hub.repositories[to]
    assert arrived.files == written and len(arrived.commits) == 1 and arrived.private
    assert arrived.kind == ("dataset" if what == "data" else "model")
    assert json.loads(out)["commit"] == arrived.commits[0]
    large = {name for name in written if name.endswith(".safetensors")}
    assert bool(large) == bool(hub.large) and "README.md" in written


def test_the_clients_other_way_of_sending_brings_the_same_files(toy, push, hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    assert push(toy, "--to", "ann/talks", "--what", "data")[0] == 0
    assert hub.repositories["ann/talks"].files == sent_folder(toy, "ann/talks")


def test_a_dry_run_needs_no_token(toy, push, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert push(toy, "--to", TO, "--variant", "BC", "--dry-run")[0] == 0


def test_without_a_token_nothing_is_sent_and_the_variable_is_named(toy, push, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    status, _, err = push(toy, "--to", TO, "--variant", "BC")
    assert status == 1 and "HF_TOKEN is not set, and nothing was sent" in err and hub.seen == []


def test_a_refused_token_is_told_in_words_and_not_shown(toy, push, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "wrong" * 5)
    status, _, err = push(toy, "--to", TO, "--variant", "BC")
    assert status == 1 and "does not accept the token in HF_TOKEN" in err and "Nothing was sent" in err
    assert "wrong" * 5 not in err and hub.repositories == {}


def test_somebody_elses_space_is_refused_in_words(toy, push, hub):
    status, _, err = push(toy, "--to", "bob/negotiator", "--variant", "BC")
    assert status == 1 and "may not write to bob/negotiator" in err and hub.repositories == {}


def test_a_repository_that_exists_is_left_alone_until_an_update_is_asked_for(toy, push, hub):
    assert push(toy, "--to", TO, "--variant", "BC", "--public")[0] == 0
    before = dict(hub.repositories[TO].files)
    assert not hub.repositories[TO].private
    status, _, err = push(toy, "--to", TO, "--variant", "BC", "--data", "ann/talks")
    assert status == 1 and "exists already: give --update" in err and hub.repositories[TO].files == before
    assert push(toy, "--to", TO, "--variant", "BC", "--data", "ann/talks", "--update")[0] == 0
    assert hub.repositories[TO].files == sent_folder(toy) != before
    assert b"ann/talks" in hub.repositories[TO].files["README.md"]


def test_a_push_that_breaks_off_says_how_to_go_on_and_does(toy, push, hub):
    hub.refuse_commits = True
    status, _, err = push(toy, "--to", "ann/broken", "--variant", "BC")
    assert status == 1 and "Commits are closed today" in err and "with --update goes on" in err
    hub.refuse_commits = False
    assert push(toy, "--to", "ann/broken", "--variant", "BC", "--update")[0] == 0
    assert hub.repositories["ann/broken"].files == sent_folder(toy, "ann/broken")


def test_a_hub_that_is_not_there_is_an_error_in_words(toy, push, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    status, _, err = push(toy, "--to", TO, "--variant", "BC")
    assert status == 1 and f"Sending to {TO} failed" in err and "Traceback" not in err


@pytest.mark.parametrize("secret", ["token", "place"])
def test_what_holds_a_key_or_a_place_of_this_machine_is_not_sent(tmp_path, push, hub, secret):
    toy = FinishedToy(tmp_path / "project")
    said = TOKEN if secret == "token" else f"{toy.root}/notes.txt"
    told = toy.dir / "05_self_reinforcement" / "manifest.json"
    manifest = json.loads(told.read_text())
    manifest["params"]["recipe"] = said
    told.write_text(json.dumps(manifest))
    status, _, err = push(toy, "--to", TO, "--variant", "BC+SR")
    assert status == 2 and "README.md, line" in err and "nothing was sent" in err
    assert ("key" if secret == "token" else "path of this machine") in err and hub.seen == []


def test_one_repository_may_get_another_variant_and_never_a_file_that_somebody_laid_there(tmp_path, push, hub):
    toy = FinishedToy(tmp_path / "project")
    for variant in ("BC", "BC+SR"):
        assert push(toy, "--to", TO, "--variant", variant, "--update")[0] == 0
        assert hub.repositories[TO].files == sent_folder(toy)
    (toy.dir / "export/push/ann--negotiator/diary.txt").write_text("mine")
    status, _, err = push(toy, "--to", TO, "--variant", "BC", "--update")
    assert status == 2 and "first diary.txt" in err and len(hub.repositories[TO].commits) == 2


def test_which_variant_is_asked_for_where_there_are_several(toy, push, hub):
    for words, said in (((), "name one with --variant"), (("--variant", "SR"), "SR was not trained")):
        status, _, err = push(toy, "--to", TO, *words)
        assert status == 1 and said in err and "Trained: BC, BC+SR" in err
    status, _, err = push(toy, "--to", TO, "--what", "data", "--variant", "BC")
    assert status == 2 and "sent whole" in err and hub.seen == []


@pytest.mark.parametrize("name", ["negotiator", "a/b/c", "ann/..", "ann/<script>", "ann/" + "n" * 100])
def test_a_name_that_the_hub_does_not_allow_is_refused_beforehand(name):
    with pytest.raises(ValueError, match="allowed: OWNER/NAME"):
        checked_repository(name)
