"""Benchmarks beside peers: the works at toy size, with toy peers, and what they say where results differ."""

import ast
import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from sotopia_pi.app.bench import peers
from sotopia_pi.app.bench.answering import answering, ceiling, whole_message
from sotopia_pi.app.bench.big_run import TURNS, write_big_run
from sotopia_pi.app.bench.calls import REPLY_TOKENS, played, same_calls
from sotopia_pi.app.bench.loading import index_of, run_files, same_table, tables_of
from sotopia_pi.app.bench.mmlu import peer_request, same_choices
from sotopia_pi.app.bench.own_process import PEAK
from sotopia_pi.app.bench.play import Call, Played
from sotopia_pi.app.bench.sotopia import peer_task, same_turns
from sotopia_pi.app.bench.work import Skipped, Unequal
from sotopia_pi.formats.question_sets import Question, QuestionSet
from sotopia_pi.models.seam import Reply
from sotopia_pi.stages.mmlu import Answer
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks

SCRIPTS = sorted(Path(peers.__file__).parent.glob("peer_*.py"))
TASKS = draw_tasks("eval", TaskCounts(5), seed=0)


@pytest.fixture
def toy_peers(tmp_path, monkeypatch):
    """Peers whose environment is this one; returns how to write a script among them."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(peers, "PINS", tmp_path / "peers.txt")
    monkeypatch.setattr(peers, "peers_bin", lambda: tmp_path / "bin")
    return lambda name, code: (tmp_path / f"peer_{name}.py").write_text(code)


def test_a_peer_answers_with_its_last_line(toy_peers):
    toy_peers("toy", "import json, sys\nprint('welcome')\nprint(json.dumps({'twice': 2 * json.load(sys.stdin)['n']}))")
    assert peers.run_peer("toy", {"n": 21}) == {"twice": 42}


def test_a_peer_that_breaks_is_quoted(toy_peers):
    toy_peers("toy", "raise SystemExit('no such option')")
    with pytest.raises(peers.PeerFailed, match=r"peer_toy\.py ended with status 1: no such option"):
        peers.run_peer("toy", {})


def test_a_peer_does_not_meet_our_modules(toy_peers, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    toy_peers("toy", "import json, os, sys\nprint(json.dumps([os.environ.get('PYTHONPATH'), sys.path[0]]))")
    path, first = peers.run_peer("toy", {})
    assert path is None and not Path(first).joinpath("peer_toy.py").exists()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_of_peers_import_nothing_of_ours(script):
    nodes = list(ast.walk(ast.parse(script.read_text())))
    named = [node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)]
    named += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    assert named and not [name for name in named if name.startswith(("sotopia_pi", "."))]


def test_a_peer_without_its_data_is_skipped(monkeypatch, tmp_path):
    monkeypatch.delenv("SOTOPIA_PI_DATA", raising=False)
    with pytest.raises(Skipped, match="set SOTOPIA_PI_DATA to a folder that holds mmlu/"):
        peers.published_data("mmlu")
    (tmp_path / "mmlu").mkdir()
    monkeypatch.setenv("SOTOPIA_PI_DATA", str(tmp_path))
    assert peers.published_data("mmlu") == tmp_path / "mmlu"


def test_playing_over_http_makes_one_call_a_turn():
    with answering(0.0) as url:
        figures = played(url, TASKS, turns=4, at_once=2)
    assert {key: figures[key] for key in ("calls", "turns", "tokens")} == {
        "calls": 20,
        "turns": 20,
        "tokens": 20 * REPLY_TOKENS,
    }
    assert "every turn a call" in same_calls({"ours": figures}, episodes=5, turns=4)
    with pytest.raises(Unequal, match="wanted were 24 turns"):
        same_calls({"ours": figures}, episodes=6, turns=4)


def test_the_server_waits_as_long_as_it_was_told_and_answers_side_by_side():
    with answering(0.2) as url:
        rate = asyncio.run(ceiling(url, calls=40, at_once=20))
    assert 40 < rate <= 100


def test_a_message_is_whole_with_its_body():
    head = b"POST / HTTP/1.1\r\nCONTENT-length: 5\r\n\r\n"
    assert whole_message(head[:-1]) == 0
    assert whole_message(head) == whole_message(head + b"12345678") == len(head) + 5


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return write_big_run(tmp_path_factory.mktemp("runs") / "big", TASKS, n_episodes=100)


def test_a_big_run_has_all_turns_and_ratings_but_for_the_failed(run_dir):
    files = run_files(run_dir)
    episodes, ratings = ([json.loads(line) for line in files[name].open()] for name in ("episodes", "ratings"))
    assert len(episodes) == len({episode["id"] for episode in episodes}) == 100
    assert {len(episode["turns"]) for episode in episodes} == {TURNS}
    assert len(ratings) == 2 * sum(episode["outcome"] == "completed" for episode in episodes) == 180
    assert {(e["task_id"], e["tag"], e["agent_side"]) for e in episodes[:40]} == {
        (task.id, variant, side) for task in TASKS for variant in ("base", "BC", "SR", "BC+SR") for side in (0, 1)
    }


def test_loading_finds_what_the_files_hold(run_dir):
    found = tables_of(run_dir)["table"]
    files = run_files(run_dir)
    tags = {e["id"]: e["tag"] for e in map(json.loads, files["episodes"].open())}
    goals = [r["scores"]["goal"] for r in map(json.loads, files["ratings"].open()) if tags[r["episode_id"]] == "BC"]
    assert sum(found[f"BC, side {side}"][2] for side in (0, 1)) == pytest.approx(sum(goals))
    assert found["BC, side 0"][:2] == [25, 25 * TURNS]


def test_the_browser_opens_on_all_of_it_and_makes_its_index_once(run_dir):
    def written():
        return {path: path.stat().st_mtime_ns for path in (run_dir / "index").rglob("*") if path.is_file()}

    first, before = index_of(run_dir), written()
    assert first["episodes"] == index_of(run_dir)["episodes"] == 100
    assert before and written() == before


def test_tables_that_differ_and_memory_beyond_the_limit_are_unequal():
    ours, peer = {"table": {"BC": 1}, PEAK: 0.4}, {"table": {"BC": 1}, "gib": 3.0}
    assert "0.40 GiB at most, the peer 3.00" in same_table({"ours": ours, "peer": peer})
    with pytest.raises(Unequal, match="the peer's"):
        same_table({"ours": ours, "peer": {**peer, "table": {"BC": 2}}})
    with pytest.raises(Unequal, match="allowed: 4"):
        same_table({"ours": {**ours, PEAK: 4.1}, "peer": peer})


QUESTION = Question("astronomy", 0, "Which is red?", ("Mars", "Venus", "Io", "Pluto"), "A")


def answer(*logprobs, choice="A"):
    facts = {"id": "answer-0", "variant": "base", "model": "m", "way": "letters", "set": "toy", "group": "STEM"}
    return Answer(
        **facts, subject="astronomy", index=0, question="question-0", answer="A", choice=choice, logprobs=logprobs
    )


def test_another_choice_or_probability_is_unequal():
    mine = [answer(-1.0, -2.0, -3.0, -4.0)]
    assert "all 1 choices are the peer's" in same_choices(mine, {"astronomy": [[-1.0001, -2.0, -3.0, -4.0]]})
    with pytest.raises(Unequal, match="the peer B"):
        same_choices(mine, {"astronomy": [[-1.0005, -1.0004, -3.0, -4.0]]})
    with pytest.raises(Unequal, match=r"astronomy, question 0"):
        same_choices(mine, {"astronomy": [[-1.0, -2.0, -3.0, -4.1]]})


def test_the_peer_gets_questions_and_examples_as_they_are(tmp_path):
    asked = peer_request(tmp_path, QuestionSet("toy", {"astronomy": (QUESTION,)}, {"astronomy": (QUESTION,) * 5}))
    assert asked["questions"]["astronomy"]["test"] == [
        {"question": "Which is red?", "choices": ("Mars", "Venus", "Io", "Pluto"), "answer": 0}
    ]
    assert len(asked["questions"]["astronomy"]["dev"]) == asked["shots"] == 5


THEIRS = {"episodes": 2, "turns": 8, "calls": 8, "tokens": 156, "spoken": 1}


def test_turns_that_were_not_played_and_replies_much_shorter_are_unequal():
    ours = Played(1.0, [Call(k, turn, [1], Reply("x", (7,) * 20)) for k in range(3) for turn in range(4)])
    assert "4.0 turns of 20.0 tokens and 4.0 turns of 19.5 tokens; 1 of the peer's 8" in same_turns(
        ours, [THEIRS], turns=4
    )
    for wrong in ({"calls": 7}, {"tokens": 120}):
        with pytest.raises(Unequal, match="wanted: 4 turns"):
            same_turns(ours, [THEIRS | wrong], turns=4)


def test_a_task_goes_to_the_peer_with_what_its_characters_are():
    told = peer_task(TASKS[0])
    assert told["goals"] == list(TASKS[0].scenario.goals)
    assert [one["first_name"] for one in told["characters"]] == [one.first_name for one in TASKS[0].characters]


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("SOTOPIA_PI_BENCH"), reason="set SOTOPIA_PI_BENCH=1: installs the peers, minutes"
)
def test_the_peers_themselves_play_and_load(run_dir):
    files = {name: str(path) for name, path in run_files(run_dir).items()}
    assert peers.run_peer("loading", files)["table"] == tables_of(run_dir)["table"]
    with answering(0.0) as url:
        asked = {"url": url, "model": "bench", "turns": 4, "tokens": REPLY_TOKENS}
        found = peers.run_peer("sotopia", {**asked, "tasks": [peer_task(task) for task in TASKS[:2]]})
    assert (found["episodes"], found["turns"], found["calls"], found["spoken"]) == (2, 8, 8, 8)
