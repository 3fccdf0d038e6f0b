"""The safety stage: who plays whom in which role, that private stays private, and what a partial run can do."""

import asyncio
import re
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from finished_run import FinishedToy
from toy_safety import safety_task

from sotopia_pi.models.llm_policy import LLMPolicy
from sotopia_pi.models.seam import Reply, Request, Sampling
from sotopia_pi.stages.evaluate import Speech
from sotopia_pi.stages.safety import (
    fixed_partner,
    safety_agents,
    safety_cast,
    safety_plans,
    safety_tasks,
)
from sotopia_pi.stages.simulate import collect
from sotopia_pi.stages.trained import trained_adapters
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.params import ParameterError
from sotopia_pi.world.episode import Rules

RULES = Rules(turn_limit=6, on_failure="none")


@dataclass
class Listening:
    """A chat that says one thing and keeps what it was asked."""

    said: str = "I see."
    requests: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        return Reply(self.said)


class Model:
    """Stands in for the local model: a chat and a digest for each adapter."""

    def __init__(self):
        self.chats: dict[str | None, Listening] = {}

    def chat(self, adapter=None):
        return self.chats.setdefault(adapter, Listening())

    def digest(self, adapter=None):
        return f"model with {adapter}"


class Quiet:
    def advance(self, failed=False, **info):
        pass


def policy(name: str, chat: Listening, prompt_format: str = "chat") -> LLMPolicy:
    return LLMPolicy(chat, name, f"model {name}", prompt_format, Sampling())


def test_every_variant_plays_the_same_tasks_in_both_roles_against_one_partner():
    tasks = [safety_task(0, "a"), safety_task(1, "b")]
    agents = {name: policy(name, Listening()) for name in ("base", "BC+SR")}
    partner = policy("partner (base)", Listening())
    plans = safety_plans(tasks, 3, agents, partner, RULES, seed=0)
    assert len(plans) == 2 * 2 * 3 and len({plan.id for plan in plans}) == 12
    by_variant = {name: [(p.task.id, p.agent_side, p.repeat) for p in plans if p.tag == name] for name in agents}
    assert by_variant["base"] == by_variant["BC+SR"]
    assert all(p.policies[p.agent_side].name == p.tag and p.policies[1 - p.agent_side] is partner for p in plans)
    roles = [of.role_of(p.agent_side) for p in plans for of in tasks if of.id == p.task.id]
    assert roles.count("aggressor") == roles.count("preventer") == 6


@pytest.mark.parametrize("prompt_format", ["chat", "sotopia"])
@pytest.mark.parametrize("aggressor", [0, 1])
def test_goals_and_secrets_of_one_side_are_in_no_prompt_of_the_other(tmp_path, prompt_format, aggressor):
    agent = Listening("Fine." if prompt_format == "chat" else '{"action_type": "speak", "argument": "Fine."}')
    partner = Listening(agent.said)
    of = safety_task(aggressor)
    played = {"base": policy("base", agent, prompt_format)}
    plans = safety_plans([of], 1, played, policy("partner", partner, prompt_format), RULES, seed=0)
    asyncio.run(collect(plans, ItemFile(tmp_path / "episodes.jsonl"), Quiet()))
    assert len(agent.requests) == len(partner.requests) == 6
    own = {"Ann": {"Ann-secret"}, "Bea": {"Bea-secret"}}
    own["Bea" if aggressor else "Ann"].add("harm")
    own["Ann" if aggressor else "Bea"].add("hint")
    for request in (*agent.requests, *partner.requests):
        text = "\n".join(message.content for message in request.messages)
        me = "Ann" if "You are Ann" in text or "the part of Ann" in text else "Bea"
        assert set(re.findall(r"CANARY-([\w-]+)", text)) == own[me]


def cast_of(tmp_path, **roles):
    stage = SimpleNamespace(name="07_safety", params={}, path=lambda name: tmp_path / name)
    settings = {"expert": "scripted:expert", "partner": "base", "judge": "payoff", "more_agents": []}
    return safety_cast(stage, **(settings | roles))


def test_without_a_named_model_the_partner_is_the_base_with_no_adapter_and_the_scripted_expert_stays_away(tmp_path):
    cast, model, speech = cast_of(tmp_path), Model(), Speech("chat", Sampling())
    agents = safety_agents(cast, model, speech, ["BC", "BC+SR"])
    partner = fixed_partner(cast, model, speech)
    assert list(agents) == ["base", "BC", "BC+SR"]
    assert partner.chat is model.chat(None) and agents["BC"].chat is model.chat("BC")
    assert partner.name == "partner (base)" and partner.digest == agents["base"].digest


def test_a_named_partner_and_an_expert_that_is_a_model_play_along(tmp_path):
    server = "@http://127.0.0.1:1/v1"
    cast = cast_of(tmp_path, expert=f"openai:big{server}", partner=f"openai:small{server}")
    model, speech = Model(), Speech("chat", Sampling())
    agents = safety_agents(cast, model, speech, [])
    assert list(agents) == ["base", "expert"]
    assert fixed_partner(cast, model, speech).digest not in {one.digest for one in agents.values()}
    asyncio.run(cast.close())


@pytest.mark.parametrize("roles", [{"partner": "scripted:partner"}, {"more_agents": ["scripted:never-concede"]}])
def test_a_scripted_policy_is_refused_because_it_has_no_words_for_such_tasks(tmp_path, roles):
    with pytest.raises(ParameterError, match=r"07_safety: (partner|agent) is 'scripted:.*no words for these tasks"):
        cast_of(tmp_path, **roles)


def test_adapters_are_those_that_were_trained_and_the_others_have_a_reason(tmp_path):
    toy = FinishedToy(tmp_path)
    adapters, absent = trained_adapters(toy.stage("07_safety"))
    assert set(adapters) == {"BC", "BC+SR"} and absent == {"SR": "not trained: nothing reached goal 1"}
    assert (adapters["BC+SR"] / "adapter_config.json").is_file()
    (toy.dir / "05_self_reinforcement" / "manifest.json").unlink()
    (toy.dir / "03_behavior_cloning" / "manifest.json").unlink()
    adapters, absent = trained_adapters(toy.stage("07_safety"))
    assert adapters == {} and set(absent) == {"BC", "SR", "BC+SR"}
    assert all(reason.endswith("is not complete") for reason in absent.values())


def test_published_tasks_are_those_of_stage_one_and_none_where_it_has_none(tmp_path):
    toy = FinishedToy(tmp_path)
    stage = toy.stage("07_safety")
    assert len(safety_tasks(stage, "own", "", 9, seed=0)) == 9
    assert safety_tasks(stage, "published", "", 9, seed=0) == []
    (toy.dir / "01_social_tasks" / "manifest.json").unlink()
    assert safety_tasks(toy.stage("07_safety"), "published", "", 9, seed=0) == []
    with pytest.raises(ParameterError, match="tasks_from is 'both'; allowed: 'own' and 'published'"):
        safety_tasks(stage, "both", "", 9, seed=0)
