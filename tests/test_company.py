"""Whom a person can talk to: the run's own, under the digests of the evaluation, and anybody a model string names."""

import asyncio
import shutil
from pathlib import Path

import pytest
from fault_server import FaultServer
from test_talk import HELLO, LEAVE, Prepared, begun, together
from toy_talk import task

from sotopia_pi.models.negotiator import expert
from sotopia_pi.models.seam import Sampling
from sotopia_pi.stages.company import Company, open_company, rate_the_unrated
from sotopia_pi.stages.evaluate import Speech, model_policy
from sotopia_pi.stages.played import tasks_or_why_not
from sotopia_pi.stages.talk_files import TalkFiles
from sotopia_pi.store.notebook import read_notebook
from sotopia_pi.store.params import ParameterError
from sotopia_pi.store.stage import Stage
from sotopia_pi.world.episode import EpisodePlan, Rules, play

REPOSITORY = Path(__file__).parents[1]
NOTEBOOK = "12_talk_to_the_agent"
TASK = task()


def stage(root: Path, **params) -> Stage:
    """Stage 12 of a run in which nothing else was made. params: other than the notebook's own."""
    (root / "notebooks").mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "notebooks" / f"{NOTEBOOK}.ipynb", root / "notebooks")
    notebook = read_notebook(root / "notebooks" / f"{NOTEBOOK}.ipynb")
    return Stage(root, notebook, {name: p.default for name, p in notebook.parameters.items()} | params)


def opened(company: Company, name: str):
    return asyncio.run(company.policy(name))


def test_without_a_run_there_are_the_base_and_the_expert_and_the_others_say_why_not(tmp_path):
    company = Company(stage(tmp_path))
    assert company.names == ("base", "expert") and company.latest == "base"
    assert "03_behavior_cloning of this run is not complete" in company.absent["BC"]
    with pytest.raises(ParameterError, match="BC is not there to talk to: not trained: 03_behavior_cloning"):
        opened(company, "BC")
    tasks, lacking = tasks_or_why_not(stage(tmp_path), "eval")
    assert tasks == [] and "--only 01_social_tasks" in lacking


def test_the_expert_and_any_model_string_are_opened_once(tmp_path):
    company = Company(stage(tmp_path, more_agents=["scripted:partner"]))
    assert company.names[-1] == "scripted:partner"
    assert opened(company, "expert").digest == expert(0).digest
    assert opened(company, "scripted:never-concede") is opened(company, "scripted:never-concede")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("openai:gpt-4", "environment variable OPENAI_API_KEY is not set"),
        ("local:tiny-random+nowhere", "there is no adapter folder nowhere"),
        ("gpt-4", "names no model"),
        ("scripted:parner", "Did you mean 'partner'"),
    ],
)
def test_what_cannot_be_opened_says_why(tmp_path, monkeypatch, asked, said):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ParameterError, match=said):
        opened(Company(stage(tmp_path)), asked)


def test_a_server_answers_word_by_word_and_judges(tmp_path):
    heard = []
    with FaultServer(lambda body: "Hello to you.") as server:
        company = Company(stage(tmp_path, judge=f"openai:judge@{server.url}"))

        async def talked():
            policy = await company.policy(f"openai:toy@{server.url}")
            episode = await together(begun(policy, of=TASK, heard=heard), HELLO, LEAVE)
            ratings = await company.rate(episode, TASK)
            await company.close()
            return episode, ratings

        episode, ratings = asyncio.run(talked())
    assert heard == ["", "Hello", "Hello to", "Hello to you."] and episode.turns[1].action.argument == "Hello to you."
    assert server.requests[0]["stream"] is True and [r.judge for r in ratings] == ["judge", "judge"]
    assert {r.outcome for r in ratings} == {"invalid"}, "such words are no judgement"


def test_talks_without_a_rating_are_rated_by_the_next_start_and_the_others_left_alone(tmp_path):
    company, files = Company(stage(tmp_path)), TalkFiles(tmp_path / "talks")
    files.begin()
    agent = expert(0)
    for number in (1, 2):
        files.save(asyncio.run(together(begun(agent, of=TASK, number=number), HELLO, LEAVE)), TASK)
    assert asyncio.run(rate_the_unrated(company, files)) == 2
    before = (files.folder / "ratings.jsonl").read_bytes()
    assert asyncio.run(rate_the_unrated(company, files)) == 0
    assert (files.folder / "ratings.jsonl").read_bytes() == before and len(files.talks().ratings) == 4


@pytest.mark.slow
def test_the_local_model_answers_a_person_as_it_answers_in_an_evaluation(tmp_path):
    """Same digest and, in exact play, the same episode to the last token; opened again, the first model is closed."""
    from toy_talker import PLAIN_REPLIES, qwen

    from sotopia_pi.models.local_model import LocalModel

    folder = qwen(tmp_path / "model")
    settings = {"model": str(folder), "dtype": "float32", "exact": True, "max_new_tokens": 12}
    heard, rules = [], Rules(turn_limit=6)

    async def talked():
        company = await open_company(stage(tmp_path, **settings))
        policy = await company.policy("base")
        episode = await together(begun(policy, of=TASK, heard=heard, rules=rules), HELLO, HELLO, LEAVE)
        await open_company(stage(tmp_path, **settings))
        with pytest.raises(RuntimeError, match="is closed"):
            await policy.act(begun(policy, of=TASK).seen, 0)
        return episode

    episode = asyncio.run(talked())
    with LocalModel(folder, dtype="float32", exact=True) as local:
        same = model_policy(local, "base", Speech("chat", Sampling(0.1, 0.95, 12)))
        plan = EpisodePlan(TASK, (Prepared((HELLO, HELLO, LEAVE)), same), rules, episode.seed, 1, 1, "human")
        assert asyncio.run(play(plan)) == episode
    assert {turn.action.argument for turn in episode.turns[1::2]} <= set(PLAIN_REPLIES) and len(episode.turns) == 5
    assert set(heard) == {"", *(turn.action.argument for turn in episode.turns[1::2])}
