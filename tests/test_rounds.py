"""Rounds of self-reinforcement: a further one goes on from another run's agents, on tasks that no round was given."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from toy_talks import price_task

from sotopia_pi.app.shared_stages import take_over
from sotopia_pi.stages.rounds import SelfPlay, self_play
from sotopia_pi.store.items import ItemFile, items_digest
from sotopia_pi.store.notebook import read_notebook
from sotopia_pi.store.params import ParameterError, plan_run
from sotopia_pi.store.stage import MissingInput, Stage

ROOT = Path(__file__).parents[1]
PLAYING, TRAINING = "04_agent_episodes", "05_self_reinforcement"
TRAINED = [("SR", "", "nothing reached goal 1"), ("BC+SR", "bc_sr", "")]


def stage(root: Path, name: str, run: str) -> Stage:
    return Stage(root, read_notebook(ROOT / "notebooks" / f"{name}.ipynb"), {"run": run})


def adapter(of: Stage, folder: str) -> Path:
    path = of.path(f"{folder}/adapter/weights")
    path.write_text(f"{of.run} {folder}")
    return path.parent


def finished(root: Path, run: str, given: list[dict], trained=TRAINED) -> None:
    """A run that got as far as stage 05: the tasks its rounds were given, and what it trained."""
    playing, training = stage(root, PLAYING, run), stage(root, TRAINING, run)
    playing.write("round_tasks.jsonl", given)
    playing.finish({"round_tasks.jsonl": [item["id"] for item in given]})
    told = [{"id": v, "trained": bool(f), "folder": f, "reason": why} for v, f, why in trained]
    training.write("variants.jsonl", told)
    for _, folder, _ in trained:
        if folder:
            adapter(training, folder)
    training.finish({"variants.jsonl": [v for v, *_ in trained]}, artefacts=[f for _, f, _ in trained if f])


@pytest.fixture
def tasks():
    return [price_task(60 + n, 120 + n) for n in range(6)]


def test_the_first_round_is_played_by_the_base_and_the_cloned_agent(tmp_path, tasks):
    cloning = stage(tmp_path, "03_behavior_cloning", "one")
    path = adapter(cloning, "bc")
    cloning.finish(artefacts=["bc"])
    first = self_play(stage(tmp_path, PLAYING, "one"))
    assert (first.number, first.agents) == (1, {"base": None, "BC": path})
    assert (first.start("SR"), first.start("BC+SR")) == (None, path)
    assert first.fresh(tasks, 0) == tasks and first.fresh(tasks, 2) == tasks[:2]
    assert first.fresh([], 0) == []


def test_a_further_round_is_played_by_what_the_run_before_trained_on_tasks_it_was_not_given(tmp_path, tasks):
    finished(tmp_path, "one", SelfPlay(1, {}, {}, {}).round_tasks(tasks[:2]))
    two = stage(tmp_path, PLAYING, "two")
    second = self_play(two, "one")
    path = tmp_path / "outputs/one" / TRAINING / "bc_sr/adapter"
    assert (second.number, second.agents, second.start("BC+SR")) == (2, {"BC+SR": path}, path)
    assert second.absent == {"SR": "run one did not train it: nothing reached goal 1"}
    assert second.fresh(tasks, 3) == tasks[2:5]
    finished(tmp_path, "two", second.round_tasks(tasks[2:5]))
    third = self_play(stage(tmp_path, PLAYING, "three"), "two")
    assert third.number == 3 and third.fresh(tasks, 0) == tasks[5:]
    with pytest.raises(ParameterError, match="round 3 of self-reinforcement wants 2 tasks, and 1 of 6 are left"):
        third.fresh(tasks, 2)


def test_what_is_read_of_the_run_before_is_part_of_the_stages_key(tmp_path, tasks):
    finished(tmp_path, "one", SelfPlay(1, {}, {}, {}).round_tasks(tasks[:2]))
    two = stage(tmp_path, PLAYING, "two")
    self_play(two, "one")
    two.finish()
    inputs = json.loads((two.dir / "manifest.json").read_text())["inputs"]
    assert {f"one:{PLAYING}/round_tasks.jsonl", f"one:{TRAINING}/bc_sr/adapter"} <= set(inputs)


def test_what_cannot_be_continued_says_why(tmp_path, tasks):
    two = stage(tmp_path, PLAYING, "two")
    with pytest.raises(MissingInput, match=r"run params/one\.yaml --only 04_agent_episodes"):
        self_play(two, "one")
    with pytest.raises(ParameterError, match="this very run"):
        self_play(two, "two")
    finished(tmp_path, "one", SelfPlay(1, {}, {}, {}).round_tasks(tasks), [("SR", "", "too weak")])
    with pytest.raises(ParameterError, match=r"trained nothing that could play on.*too weak"):
        self_play(two, "one")
    with pytest.raises(ParameterError, match=r"by base, BC, and round 2 learns from the play of BC\+SR"):
        SelfPlay(2, {"BC+SR": Path()}, {"BC+SR": "BC+SR"}, {}).check_played(["base", "BC"])


SMALL = {
    "extends": "smoke",
    "stages": ["01", "02", "03", "04", "05"],
    "01_social_tasks": {"n_bc": 4, "n_sr": 8, "n_eval": 4, "n_eval_no_zone": 0, "n_eval_held_out": 0},
    "02_expert_episodes": {"repeats": 1},
    "04_agent_episodes": {"tasks_a_round": 3},
}


def command(root: Path, run: str) -> subprocess.Popen:
    words = [sys.executable, "-m", "sotopia_pi.app.cli", "run", f"params/{run}.yaml"]
    environment = {**os.environ, "SOTOPIA_PI_HOME": str(root), "OMP_NUM_THREADS": "1"}
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(words, cwd=root, env=environment, start_new_session=True, **told)


def run_to_its_end(root: Path, run: str) -> None:
    process = command(root, run)
    out, _ = process.communicate()
    assert process.returncode == 0, out


def killed_when(root: Path, run: str, file: Path, n_lines: int) -> None:
    process = command(root, run)
    while not file.exists() or file.read_bytes().count(b"\n") < n_lines:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_two_rounds_in_full_and_the_second_killed_twice_is_the_same(tmp_path):
    for name in ("notebooks", "params"):
        shutil.copytree(ROOT / name, tmp_path / name)
    presets = {"first": SMALL, "second": {**SMALL, "continues": "first"}, "again": {**SMALL, "continues": "first"}}
    for name, preset in presets.items():
        (tmp_path / "params" / f"{name}.yaml").write_text(yaml.safe_dump(preset))
    outputs = tmp_path / "outputs"
    first, *others = (plan_run(tmp_path, tmp_path / "params" / f"{name}.yaml") for name in presets)
    run_to_its_end(tmp_path, "first")
    for plan in others:
        assert take_over(tmp_path, plan, [first]) == list(first.stages[:3])
    run_to_its_end(tmp_path, "second")
    killed_when(tmp_path, "again", outputs / "again" / PLAYING / "episodes.jsonl", 3)
    killed_when(tmp_path, "again", outputs / "again" / TRAINING / "sr/metrics.jsonl", 1)
    run_to_its_end(tmp_path, "again")

    def items(run: str, stage_name: str, file: str) -> list[dict]:
        return ItemFile(outputs / run / stage_name / file).read()

    one, two = ({e["task_id"] for e in items(run, PLAYING, "episodes.jsonl")} for run in ("first", "second"))
    assert len(one) == len(two) == 3 and not one & two
    assert {e["tag"] for e in items("second", PLAYING, "episodes.jsonl")} == {"SR", "BC+SR"}
    for variant in items("second", TRAINING, "variants.jsonl"):
        (before,) = [v for v in items("first", TRAINING, "variants.jsonl") if v["id"] == variant["id"]]
        settings = json.loads((outputs / "second" / TRAINING / variant["folder"] / "settings.json").read_text())
        assert settings["start_from_digest"] == before["adapter_digest"] != variant["adapter_digest"]
    for place in ((PLAYING, "episodes.jsonl"), (PLAYING, "round_tasks.jsonl"), (TRAINING, "variants.jsonl")):
        assert items_digest(items("again", *place)) == items_digest(items("second", *place)), place
