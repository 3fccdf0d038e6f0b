"""Tasks of a run come from templates, from a writer, or from published profiles, and never twice from one prompt."""

import asyncio
from types import SimpleNamespace

import pytest
from fault_server import FaultServer
from role_player import in_role
from sotopia_records import combination, environment, folder, jsonl

from sotopia_pi.stages.cast import Cast
from sotopia_pi.stages.task_sources import TaskSources
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks, overlap
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.params import ParameterError

WANTED = {"bc": TaskCounts(4), "sr": TaskCounts(3), "eval": TaskCounts(4, 1, 1)}


class Uncounted:
    def advance(self, failed=False, **info):
        pass


def stage(tmp_path):
    place = tmp_path / "outputs" / "toy" / "01_social_tasks"
    place.mkdir(parents=True, exist_ok=True)
    return SimpleNamespace(
        params={},
        run="toy",
        name="01_social_tasks",
        run_dir=place.parent,
        path=lambda file: place / file,
        items=lambda file: ItemFile(place / file),
    )


def drawn(tmp_path, sources, url="", wanted=WANTED):
    async def gather():
        here = stage(tmp_path)
        cast = Cast(here, **({"writer": f"openai:big@{url}"} if url else {}))
        try:
            return await sources.tasks(wanted, 0, here, cast, Uncounted())
        finally:
            await cast.close()

    return asyncio.run(gather())


def test_templates_give_what_they_always_gave(tmp_path):
    result = drawn(tmp_path, TaskSources())
    expected = [task for split, counts in WANTED.items() for task in draw_tasks(split, counts, 0)]
    assert [task.id for task in result.tasks] == [task.id for task in expected]
    assert list(result.items) == ["tasks.jsonl"]


def test_a_writer_makes_scenarios_whose_pairs_are_tasks_and_no_prompt_serves_two_splits(tmp_path):
    with FaultServer(in_role) as server:
        result = drawn(tmp_path, TaskSources("writer", pairs=3), server.url)
        assert len(server.requests) == 7
        again = drawn(tmp_path, TaskSources("writer", pairs=3), server.url)
        assert len(server.requests) == 7, "what is written is not written again"
    assert [task.id for task in again.tasks] == [task.id for task in result.tasks]
    by_split = {split: [t for t in result.tasks if t.split == split] for split in WANTED}
    assert [len(by_split[split]) for split in ("bc", "sr")] == [12, 9]
    templates = {split: {t.template for t in by_split[split]} for split in ("bc", "sr")}
    assert len(templates["bc"]) == 4 and len(templates["sr"]) == 3 and not templates["bc"] & templates["sr"]
    assert all(task.payoff is None for split in ("bc", "sr") for task in by_split[split])
    assert len(result.items["scenarios.jsonl"]) == 7 and result.counts["tasks (sr)"] == 9
    overlap(by_split["bc"] + by_split["sr"], by_split["eval"]).check()


def test_prompts_of_a_file_are_used_instead_of_our_own(tmp_path):
    jsonl(tmp_path / "iqa.jsonl", [{"context": f"Somebody lent the ladder for day {k}."} for k in range(9)])
    with FaultServer(in_role) as server:
        drawn(tmp_path, TaskSources("writer", prompts={"social_iqa": str(tmp_path / "iqa.jsonl")}), server.url)
        assert all("lent the ladder" in body["messages"][0]["content"] for body in server.requests)


def test_published_scenarios_are_evaluated_with_one_pair_each_and_hard_ones_with_more(tmp_path):
    scenarios = [environment(), environment("e-sail", "share_sail")]
    pairs = [("a-ida", "a-bo"), ("a-bo", "a-ida")]
    combinations = [
        combination(f"c-{env}-{k}", env, pair) for env in ("e-oars", "e-sail") for k, pair in enumerate(pairs)
    ]
    place = folder(tmp_path, environments=scenarios, combinations=combinations)
    jsonl(place / "hard_env_ids.jsonl", [{"env_id": "e-sail"}])
    wanted = {**WANTED, "eval": TaskCounts(0)}
    tasks = [t for t in drawn(tmp_path, TaskSources(evaluation=str(place)), wanted=wanted).tasks if t.split == "eval"]
    assert [(t.template, t.hard) for t in tasks] == [("e-oars", False), ("e-sail", True), ("e-sail", True)]
    fewer = TaskSources(evaluation=str(place), eval_pairs_hard=1)
    assert len([t for t in drawn(tmp_path, fewer, wanted=wanted).tasks if t.split == "eval"]) == 2


def test_what_means_nothing_is_refused():
    with pytest.raises(ParameterError, match="allowed: 'templates' and 'writer'"):
        TaskSources("template")
    with pytest.raises(
        ParameterError, match="prompts names social_chem; allowed: social_chemistry, social_iqa, normbank"
    ):
        TaskSources("writer", prompts={"social_chem": "x.tsv"})
