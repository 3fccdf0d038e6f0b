"""The smoke preset, whole: once in one go, once killed in the middle of training, collecting and evaluating."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from smoke_run import finish, project, start

from sotopia_pi.store.items import ItemFile, items_digest
from sotopia_pi.store.manifest import read_manifest
from sotopia_pi.store.params import plan_run

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parent.parent
STAGES = plan_run(REPOSITORY, REPOSITORY / "params/smoke.yaml").stages
PLAYED = {
    "02_expert_episodes": "episodes.jsonl",
    "04_agent_episodes": "episodes.jsonl",
    "06_social_evaluation": "episodes.jsonl",
    "07_safety": "episodes.jsonl",
    "08_mmlu": "answers.jsonl",
}


def kill_when(root: Path, reached) -> None:
    """Start the run and SIGKILL it with its kernel as soon as `reached()` is true."""
    process = start(root)
    while not reached():
        assert process.poll() is None, f"the run ended before it could be killed:\n{process.stdout.read()}"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture(scope="module")
def whole(finished_smoke):
    return finished_smoke


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    root = project(tmp_path_factory.mktemp("killed"))
    run = root / "outputs" / "smoke"
    kill_when(root, lambda: lines(run / "03_behavior_cloning/bc/metrics.jsonl") >= 1)
    kill_when(root, lambda: lines(run / "04_agent_episodes/episodes.jsonl") >= 5)
    kill_when(root, lambda: lines(run / "06_social_evaluation/episodes.jsonl") >= 150)
    finish(root)
    return root


def items(root: Path, stage: str, file: str) -> list[dict]:
    return ItemFile(root / "outputs" / "smoke" / stage / file).read()


def test_every_stage_is_complete_and_has_a_page(whole):
    for stage in STAGES:
        assert read_manifest(whole / "outputs/smoke" / stage) is not None, stage
        assert (whole / "outputs/smoke" / stage / "report.html").stat().st_size > 1000
    page = (whole / "outputs/smoke/report/index.html").read_text()
    assert "held-out tasks from" in page and 'src="data:image/png;base64,' in page, "it starts with the answer"
    assert all(f"../{stage}/report.html" in page for stage in STAGES)


def test_sr_and_bc_sr_are_really_trained(whole):
    variants = {v["id"]: v for v in items(whole, "05_self_reinforcement", "variants.jsonl")}
    assert variants["SR"]["trained"] and variants["BC+SR"]["trained"]
    digests = {variants["SR"]["adapter_digest"], variants["BC+SR"]["adapter_digest"]}
    bc = json.loads((whole / "outputs/smoke/03_behavior_cloning/bc/settings.json").read_text())
    assert len(digests | {bc["result"]["adapter_digest"]}) == 3


def test_every_variant_meets_the_partner_in_both_speaking_orders(whole):
    evaluated = items(whole, "06_social_evaluation", "episodes.jsonl")
    expected = {"base", "base few-shot", "BC", "SR", "BC+SR", "expert", "always-accept", "never-concede"}
    assert expected <= {episode["tag"] for episode in evaluated}
    sides = {(e["tag"], e["task_id"], e["agent_side"]) for e in evaluated}
    assert len(sides) == len(evaluated)
    assert all((tag, task, 1 - side) in sides for tag, task, side in sides)


def test_every_variant_plays_the_same_safety_tasks_in_both_roles_and_the_page_says_what_it_takes_a_judge_for(whole):
    tasks = {task["id"]: task for task in items(whole, "07_safety", "tasks.jsonl")}
    cells: dict[tuple, set] = {}
    for episode in items(whole, "07_safety", "episodes.jsonl"):
        task = tasks[episode["task_id"]]
        role = "aggressor" if episode["agent_side"] == task["aggressor"] else "preventer"
        cells.setdefault((episode["tag"], role), set()).add(episode["task_id"])
    assert set(cells) == {(v, r) for v in ("base", "BC", "SR", "BC+SR") for r in ("aggressor", "preventer")}
    assert len({frozenset(ids) for ids in cells.values()}) == 1 and len(tasks) == 3
    page = (whole / "outputs/smoke/07_safety/report.html").read_text()
    assert "injury rate: missing for all 24 episodes" in page and "base and BC+SR: 6 tasks in full" in page


def test_every_variant_answers_every_question_both_ways(whole):
    answers = items(whole, "08_mmlu", "answers.jsonl")
    asked = {(a["variant"], a["way"], a["subject"]) for a in answers}
    assert len(asked) == len(answers) == 4 * 2 * 4
    assert {a["variant"] for a in answers} == {"base", "BC", "SR", "BC+SR"} and len({a["model"] for a in answers}) == 4


def test_the_page_beside_the_paper_shows_this_runs_safety_and_knowledge(whole):
    tables = {path.name for path in (whole / "outputs/smoke/10b_paper_comparison/tables").glob("*.csv")}
    assert {"safety_rules.csv", "safety_labels.csv", "groups.csv"} <= tables


def test_results_are_written_for_scripts(whole):
    results = json.loads((whole / "outputs/smoke/10_results/results.json").read_text())["results"]
    goal = next(
        r
        for r in results
        if (r["tasks"], r["variant"], r["side"], r["dimension"]) == ("all", "expert", "agent", "goal")
    )
    assert goal["low"] <= goal["mean"] <= goal["high"] and goal["n_episodes"] == 2 * goal["n_tasks"]


def test_a_second_start_skips_everything(whole):
    before = (whole / "outputs/smoke/06_social_evaluation/manifest.json").stat().st_mtime_ns
    out = finish(whole)
    assert out.count("unchanged") == len(STAGES)
    assert (whole / "outputs/smoke/06_social_evaluation/manifest.json").stat().st_mtime_ns == before


def test_a_run_killed_three_times_has_the_same_contents_and_nothing_twice(whole, killed):
    for stage, file in PLAYED.items():
        path = killed / "outputs/smoke" / stage / file
        assert lines(path) == len(ItemFile(path).ids()), f"{stage}: an item is there twice"
        assert items_digest(items(killed, stage, file)) == items_digest(items(whole, stage, file)), stage


def test_a_training_killed_in_the_middle_ends_with_the_same_adapter(whole, killed):
    for folder in ("03_behavior_cloning/bc", "05_self_reinforcement/sr", "05_self_reinforcement/bc_sr"):
        results = [
            json.loads((r / "outputs/smoke" / folder / "settings.json").read_text())["result"] for r in (whole, killed)
        ]
        assert results[0]["adapter_digest"] == results[1]["adapter_digest"], folder


def test_no_prompt_text_of_one_side_holds_the_other_sides_stakes(whole):
    tasks = {t["id"]: t for t in items(whole, "01_social_tasks", "tasks.jsonl")}
    examples = items(whole, "03_behavior_cloning", "examples.jsonl")
    episodes = {e["id"]: e for e in items(whole, "02_expert_episodes", "episodes.jsonl")}
    from transformers import AutoTokenizer

    from sotopia_pi.models.weights import prepare

    tokenizer = AutoTokenizer.from_pretrained(prepare("tiny-random"))
    assert examples
    for example in examples:
        task = tasks[episodes[example["episode_id"]]["task_id"]]
        text = tokenizer.decode(example["ids"])
        other = task["characters"][1 - example["side"]]
        assert other["secret"] not in text
        assert task["characters"][example["side"]]["secret"] in text
