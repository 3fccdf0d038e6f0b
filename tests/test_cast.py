"""The cast of a stage: models by one string play and judge, are counted, kept within a budget, and paid for once."""

import asyncio
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from fault_server import Faults, FaultServer
from toy_judge import answer
from toy_talks import price_task

from sotopia_pi.models.failures import ModelMisconfigured
from sotopia_pi.models.limits import BudgetSpent
from sotopia_pi.stages.cast import Cast
from sotopia_pi.stages.simulate import collect, training_plans
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.notebook import read_notebook
from sotopia_pi.store.params import ParameterError
from sotopia_pi.world.episode import Rules

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))
TASK = price_task()
RULES = Rules(turn_limit=4)
PRICES = {"small": [100.0, 100.0], "judge": [0.0, 0.0]}


class Counted:
    """Progress that keeps what it was told."""

    def __init__(self):
        self.notes = []

    def advance(self, failed=False, **info):
        self.notes.append(info.get("note", ""))


def says(body) -> str:
    """Every player offers $150; the judge gives its whole answer."""
    asked = body["messages"][-1]["content"]
    return json.dumps(answer(TASK)) if body["model"] == "judge" else "$150." if asked else ""


def stage(folder, **params):
    folder.mkdir(parents=True, exist_ok=True)
    return SimpleNamespace(params={"seed": 0, "prices": PRICES, **params}, path=lambda file: folder / file)


def opened(folder, server, **params) -> Cast:
    roles = {"expert": "small", "partner": "small", "judge": "judge"}
    return Cast(stage(folder, **params), **{role: f"openai:{name}@{server.url}" for role, name in roles.items()})


async def round_of(cast: Cast, folder, progress):
    """Two self-play episodes, rated; then everything is closed."""
    try:
        plans = training_plans([TASK], cast.policy("expert"), cast.policy("partner"), RULES, 0, "expert", 0.0, 2)
        played = await collect(plans, ItemFile(folder / "episodes.jsonl"), cast.watched(progress))
        ratings = await cast.rate(played.episodes, [TASK], ItemFile(folder / "ratings.jsonl"), progress)
        return played.episodes, ratings
    finally:
        await cast.close()


def run(cast, folder, progress=None):
    return asyncio.run(round_of(cast, folder, progress or Counted()))


def test_a_server_plays_both_sides_and_judges_and_every_call_is_counted(tmp_path):
    with FaultServer(says) as server:
        cast, progress = opened(tmp_path, server), Counted()
        episodes, ratings = run(cast, tmp_path, progress)
    assert [turn.action.argument for turn in episodes[0].turns] == ["$150."] * 4
    assert [r.scores["goal"] for r in ratings] == [8, 2, 8, 2] and {r.judge for r in ratings} == {"judge"}
    asked = cast.notes()["asked"]
    assert {role: sum(tally["outcomes"].values()) for role, tally in asked.items()} == {
        "expert": 8,
        "partner": 0,
        "judge": 2,
    }
    assert cast.notes()["roles"]["expert"] == f"openai:small@{server.url}"
    assert re.search(r"10 calls, 0 failed, [\d,]+ tokens, \$\d", progress.notes[-1])


def test_what_a_killed_stage_has_asked_is_not_asked_again(tmp_path):
    with FaultServer(says) as server:
        first, _ = run(opened(tmp_path, server), tmp_path)
        asked = len(server.requests)
        (tmp_path / "episodes.jsonl").unlink()
        (tmp_path / "ratings.jsonl").unlink()
        again, ratings = run(opened(tmp_path, server), tmp_path)
        assert len(server.requests) == asked == 10
    assert [e.id for e in again] == [e.id for e in first] and len(ratings) == 4


def test_the_budget_stops_before_it_is_exceeded_and_counts_earlier_sittings(tmp_path):
    with FaultServer(says) as server:
        run(opened(tmp_path, server, max_usd=10.0), tmp_path)
        tallied = json.loads((tmp_path / "replies.jsonl").read_text().splitlines()[0])["reply"]["usage"]
        assert tallied["prompt_tokens"] > 0
        other = opened(tmp_path, server, max_usd=0.001)
        (tmp_path / "episodes.jsonl").unlink()
        (tmp_path / "replies.jsonl").write_text("".join((tmp_path / "replies.jsonl").open().readlines()[:3]))
        asked = len(server.requests)
        with pytest.raises(BudgetSpent, match=r"the budget \(max_usd = 0\.001\) does not cover this call"):
            run(other, tmp_path)
        assert len(server.requests) == asked, "what was spent before leaves nothing for a single call"


def test_a_limit_of_tokens_stops_models_that_cost_nothing(tmp_path):
    with FaultServer(says) as server:
        with pytest.raises(BudgetSpent, match=r"the budget \(max_tokens_spent = 300\).*Raise max_tokens_spent and run"):
            run(opened(tmp_path, server, max_tokens_spent=300, prices={}), tmp_path)
        assert not server.requests, "a first call could already take more"


def test_a_stage_says_how_long_a_call_may_take(tmp_path):
    started = time.monotonic()
    with FaultServer(says, faults=Faults(1.0, ("hang",), first=1), hang_s=200) as server:
        episodes, _ = run(opened(tmp_path, server, timeout_s=0.5), tmp_path)
    assert {episode.outcome for episode in episodes} == {"completed"} and server.given["hang"] > 0
    assert time.monotonic() - started < 60, "else a call would take two minutes"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_with_a_cast_lets_everything_be_set_that_its_cast_heeds(path):
    notebook = read_notebook(path)
    if any("Cast(stage" in cell.source for cell in nbformat.read(path, as_version=4).cells):
        assert {"seed", "prices", "max_usd", "max_tokens_spent", "at_once", "timeout_s"} <= set(notebook.parameters)


def test_everything_that_is_missing_is_said_before_anything_is_asked(tmp_path, monkeypatch):
    for name in ("OPENAI_API_KEY", "JUDGE_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ParameterError) as error:
        Cast(stage(tmp_path), expert="openai:gpt-4", judge="openai:gpt-4?key=JUDGE_KEY", partner="scripted:partner")
    assert "role 'expert'" in str(error.value) and "OPENAI_API_KEY" in str(error.value)
    assert "role 'judge'" in str(error.value) and "JUDGE_KEY" in str(error.value)


def test_the_rule_and_scripted_policies_need_no_server(tmp_path):
    cast = Cast(stage(tmp_path), expert="scripted:expert", partner="scripted:training-partner", judge="payoff")
    episodes, ratings = run(cast, tmp_path)
    assert {r.judge for r in ratings} == {"payoff"} and len(ratings) == 4
    assert episodes[0].policies[0]["name"] == "expert" and "asked" not in cast.notes()


def test_another_judge_rates_the_same_episodes_into_a_file_of_its_own(tmp_path):
    with FaultServer(says) as server:
        roles = {"expert": "scripted:expert", "partner": "scripted:training-partner", "judge": "payoff"}
        others = {"judge one": f"openai:judge@{server.url}", "judge two": "payoff"}
        cast = Cast(stage(tmp_path), **roles, **others)
        plans = training_plans([TASK], cast.policy("expert"), cast.policy("partner"), RULES, 0, "expert", 0.0, 2)

        async def rated():
            played = await collect(plans, ItemFile(tmp_path / "episodes.jsonl"), Counted())
            first = await cast.rate(played.episodes, [TASK], ItemFile(tmp_path / "ratings.jsonl"), Counted())
            again = await cast.rate_again(played.episodes, [TASK], ItemFile(tmp_path / "again.jsonl"), Counted())
            await cast.close()
            return first, again

        first, again = asyncio.run(rated())
    assert cast.other_judges == ["judge one", "judge two"]
    assert [r.judge for r in first] == ["payoff"] * 4 and [r.judge for r in again] == ["judge"] * 4 + ["payoff"] * 4
    assert [r.scores["goal"] for r in again[:4]] == [8, 2, 8, 2]
    kept = [item["judge"] for item in ItemFile(tmp_path / "again.jsonl").read()]
    assert kept == [r.judge for r in again], "and the first judge's file holds its own ratings alone"


def test_several_agents_stand_beside_each_other(tmp_path):
    cast = Cast(stage(tmp_path), **{"agent one": "scripted:always-accept", "agent two": "scripted:never-concede"})
    assert [cast.policy(role).name for role in cast.specs] == ["always-accept", "never-concede"]
    with pytest.raises(ParameterError, match="no scripted policy"):
        Cast(stage(tmp_path), **{"agent one": "scripted:always-acept"})


def test_a_wrong_key_stops_the_stage_at_once_with_what_to_set(tmp_path, monkeypatch):
    monkeypatch.setenv("WRONG_KEY", "not-the-one")
    with FaultServer(says, key="Bearer the-right-one") as server:
        cast = Cast(stage(tmp_path, at_once=1), expert=f"openai:small@{server.url}?key=WRONG_KEY", judge="payoff",
                    partner="scripted:training-partner")  # fmt: skip
        with pytest.raises(ModelMisconfigured, match="WRONG_KEY"):
            run(cast, tmp_path)
        assert len(server.requests) <= 2, "two episodes were planned, and one refusal is enough"
