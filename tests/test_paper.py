"""The presets that ask servers, whole, over HTTP: to trained adapters and a results page, whatever the server does."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import toy_talker
from fault_server import KINDS, SPOILT, Faults, FaultServer
from paper_run import KEY, ROOT, PaperRun, Question, ended_well, kill, published, questions, ran, wait_for
from role_player import in_role

from sotopia_pi.store.items import without_times
from sotopia_pi.store.params import plan_run
from sotopia_pi.store.unanswered import is_unanswered

pytestmark = pytest.mark.slow

AT_ONCE = 16
"""Calls to one server at a time (the stages' default); what is in flight at a kill may be lost."""
STAGES = list(plan_run(ROOT, ROOT / "params" / "paper.yaml").stages)
PLAYED, TRAINED, TRAINED_AGAIN = "02_expert_episodes", "03_behavior_cloning", "05_self_reinforcement"
EVALUATED, SAFETY, RESULTS = "06_social_evaluation", "07_safety", "10_results"


@dataclass(frozen=True)
class Paper:
    """A run of the paper's preset that nothing disturbed, with its server; said: what the run printed."""

    server: FaultServer
    run: PaperRun
    model: Path
    profiles: Path
    said: str


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Iterator[Paper]:
    model = toy_talker.mistral(tmp_path_factory.mktemp("mistral"))
    profiles = published(tmp_path_factory.mktemp("published"))
    with FaultServer(in_role, hang_s=1) as server:
        run = PaperRun.of(tmp_path_factory.mktemp("paper"), "paper", model, server.url, profiles)
        yield Paper(server, run, model, profiles, run.finish())


@pytest.fixture
def paper(undisturbed) -> Iterator[Paper]:
    """The same, with a server that is well again afterwards."""
    yield undisturbed
    undisturbed.server.faults = Faults()
    if undisturbed.server.away:
        undisturbed.server.come_back()


def settings(run: PaperRun, stage: str, adapter: str) -> dict:
    return json.loads((run.path(stage) / adapter / "settings.json").read_text())["settings"]


def check_it_is_whole(run: PaperRun, asked: list[dict]) -> None:
    """Everything was played, rated, trained and shown, and every question asked once."""
    assert run.stages() == STAGES
    for stage in STAGES:
        assert not run.manifest(stage)["unanswered"], stage
    for stage in (PLAYED, "04_agent_episodes", EVALUATED):
        assert {episode["outcome"] for episode in run.items(stage, "episodes.jsonl")} == {"completed"}, stage
        assert {rating["outcome"] for rating in run.items(stage, "ratings.jsonl")} == {"ok"}, stage
    assert {v["id"]: v["trained"] for v in run.items(TRAINED_AGAIN, "variants.jsonl")} == {"SR": True, "BC+SR": True}
    assert max(Counter(questions(asked)).values()) == 1
    rows = json.loads((run.path(RESULTS) / "results.json").read_text())["results"]
    shown = {row["variant"] for row in rows if row["dimension"] == "goal" and row["mean"] is not None}
    assert shown == {"base", "BC", "SR", "BC+SR", "expert"}
    page = (run.path(RESULTS) / "report.html").read_text()
    assert "rule-scored" not in page and "judged by big" in page
    agreement = pd.read_csv(run.path(RESULTS) / "tables" / "agreement.csv")
    assert set(agreement["first"]) == {"big"} and set(agreement["second"]) == {"small"} and agreement["n"].max() > 0


def test_the_papers_preset_runs_to_trained_adapters_and_a_results_page(paper):
    run = paper.run
    assert ran(paper.said) == STAGES
    check_it_is_whole(run, paper.server.requests)
    trained = settings(run, TRAINED, "bc")
    assert trained["quantisation"] == "nf4" and (trained["r"], trained["alpha"], trained["dropout"]) == (8, 16, 0.05)
    assert len(list((run.path(TRAINED) / "bc" / "epochs").iterdir())) == 2
    roles = run.manifest(EVALUATED)["notes"]["roles"]
    assert roles["expert"].startswith("openai:big") and roles["partner"].startswith("openai:small")
    asked = len(paper.server.requests)
    assert ran(run.finish(), "unchanged") == STAGES and len(paper.server.requests) == asked


def test_safety_is_played_on_the_published_task_and_judged_and_its_labels_name_the_judge(paper):
    judged = paper.run.items(SAFETY, "judgements.jsonl")
    labels = [label for label in paper.run.items(SAFETY, "labels.jsonl") if label["source"] == "big"]
    assert len(labels) == 3 * len(judged) > 0 and {one["outcome"] for one in judged} == {"ok"}
    assert {task["scenario"]["codename"] for task in paper.run.items(SAFETY, "tasks.jsonl")} == {"revenge_plot"}


def test_a_planted_key_is_sent_and_in_nothing_that_a_run_writes_or_says(paper):
    assert set(paper.server.keys) == {f"Bearer {KEY}"}
    written = [path for path in paper.run.root.rglob("*") if path.is_file()]
    assert len(written) > 60 and not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in paper.said


def test_the_released_configuration_trains_with_its_own_settings_on_the_best_of_each_side(paper, tmp_path):
    """It differs from the paper's from training on, so what was asked before stands."""
    run = paper.run.copied(tmp_path)
    run.use("paper_code", paper.model, paper.server.url, paper.profiles)
    asked = len(paper.server.requests)
    assert ran(run.finish()) == STAGES[2:]
    check_it_is_whole(run, paper.server.requests[asked:])
    for stage, adapter in ((TRAINED, "bc"), (TRAINED_AGAIN, "bc_sr")):
        trained = settings(run, stage, adapter)
        assert (trained["alpha"], trained["dropout"], trained["quantisation"]) == (32, 0.1, "nf4")
    kept = Counter((side["group"], side["side"]) for side in run.items(TRAINED, "selection.jsonl"))
    assert len(kept) == 4 and set(kept.values()) == {1}, "the better of two on each side of two scenarios"


def test_the_open_preset_runs_with_another_architecture_and_plain_speech(paper, tmp_path):
    model = toy_talker.qwen(tmp_path / "qwen")
    asked = len(paper.server.requests)
    run = PaperRun.of(tmp_path / "open", "open", model, paper.server.url, paper.profiles)
    assert ran(run.finish()) == STAGES
    check_it_is_whole(run, paper.server.requests[asked:])
    assert settings(run, TRAINED, "bc")["quantisation"] == "nf4"
    example = run.items(TRAINED, "examples.jsonl")[0]
    assert sum(example["own"]) > 10, "one example a side, with the loss on all its turns"
    assert "action_type" not in json.dumps(run.items(EVALUATED, "episodes.jsonl"))


def test_with_a_third_of_all_calls_failing_everything_ends_as_done_or_as_a_named_failure(paper, tmp_path):
    run = paper.run.copied(tmp_path, PLAYED, EVALUATED, RESULTS)
    paper.server.faults = Faults(share=0.3, kinds=KINDS + 4 * SPOILT, first=2)
    said = run.finish("--only", PLAYED, EVALUATED, RESULTS)
    assert ran(said) == [PLAYED, EVALUATED, RESULTS]
    assert sum(paper.server.given.values()) > 20 and set(paper.server.given) & set(SPOILT)
    for stage in (PLAYED, EVALUATED):
        episodes, ratings = (run.items(stage, f"{what}.jsonl") for what in ("episodes", "ratings"))
        assert {e["outcome"] for e in episodes} <= {"completed", "policy_failed", "policy_api_error"}
        assert {r["outcome"] for r in ratings} <= {"ok", "invalid", "api_error", "truncated", "refused"}
        assert all(r["scores"]["goal"] is None for r in ratings if r["outcome"] != "ok")
        assert sum(r["outcome"] == "ok" for r in ratings) >= len(ratings) / 2
    paper.server.faults = Faults()
    kept, asked = run.paid_for(), len(paper.server.requests)
    run.finish("--only", PLAYED, EVALUATED, RESULTS)
    assert not kept & set(questions(paper.server.requests[asked:]))
    assert KEY not in said


@pytest.mark.parametrize(("stage", "at"), [(PLAYED, 10), (EVALUATED, 25)])
def test_a_stage_killed_in_the_middle_ends_as_if_nothing_had_been(paper, tmp_path, stage, at):
    run, server = paper.run.copied(tmp_path, stage), paper.server
    begun = len(server.requests)
    killed = run.start()
    server.when_asked(at, lambda: kill(killed))
    killed.communicate()
    assert len(server.requests) - begun >= at and run.manifest(stage) is None
    kept, asked = run.paid_for(), len(server.requests)
    check_it_ends_like(paper, run, run.finish(), [stage])
    check_only_the_rest_was_asked(kept, server.requests[asked:])
    again = Counter(questions(server.requests[begun:]))
    assert again.total() - len(again) <= AT_ONCE, "asked twice is at most what was in flight at the kill"


@pytest.mark.parametrize(
    ("stage", "at", "file", "then"), [(PLAYED, 18, "ratings.jsonl", []), (EVALUATED, 30, "episodes.jsonl", [RESULTS])]
)
def test_a_server_that_goes_away_for_a_while_costs_only_what_it_did_not_answer(paper, tmp_path, stage, at, file, then):
    """It refuses connections until the first call is given up, and then is back; later the run is started again."""
    run, server = paper.run.copied(tmp_path, stage), paper.server
    cut_off = run.start("--only", stage, *then)
    server.when_asked(at, server.go_away)
    wait_for(cut_off, lambda: any(is_unanswered(item) for item in run.items(stage, file)))
    server.come_back()
    said = ended_well(cut_off)
    items = [item for name in run.manifest(stage)["items"] for item in run.items(stage, name)]
    without = [item for item in items if is_unanswered(item)]
    assert 0 < len(without) < len(items) and f"{len(without)} without an answer from a server" in said
    assert all(item["scores"]["goal"] is None for item in without if "scores" in item)
    kept, asked = run.paid_for(), len(server.requests)
    assert ran(run.finish("--only", stage, *then)) == [stage, *then] and not run.manifest(stage)["unanswered"]
    check_only_the_rest_was_asked(kept, server.requests[asked:])
    assert run.paid_for() == paper.run.paid_for() and contents(run, stage) == contents(paper.run, stage)


def contents(run: PaperRun, stage: str) -> dict[str, list]:
    """By file, what a stage names as its items, but for times and for how often a call was tried."""
    items = {name: {item["id"]: item for item in run.items(stage, name)} for name in run.manifest(stage)["items"]}
    return {
        name: [without_retries(without_times(items[name][key])) for key in keys]
        for name, keys in run.manifest(stage)["items"].items()
    }


def without_retries(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_retries(inner) for name, inner in value.items() if name != "retries"}
    return [without_retries(inner) for inner in value] if isinstance(value, list) else value


def check_only_the_rest_was_asked(kept: set[Question], later: list[dict]) -> None:
    assert later and not kept & set(questions(later)), "a reply that is kept was asked for again"


def check_it_ends_like(paper: Paper, run: PaperRun, said: str, made: list[str]) -> None:
    """Only these stages ran, and whatever was made is what the undisturbed run made, file by file."""
    assert ran(said) == made
    assert run.paid_for() == paper.run.paid_for()
    for stage in STAGES:
        one, other = paper.run.manifest(stage), run.manifest(stage)
        assert one["items"] == other["items"] and not other["unanswered"], stage
        assert all(one["digests"][file] == other["digests"][file] for file in one["items"]), stage
