"""Models by one string: what may be written for a role, what is missing, and what opens behind it."""

import asyncio
import subprocess
import sys

import pytest
from fault_server import FaultServer
from toy_talks import Lines, price_task, talk

from sotopia_pi.models.limits import Budget, BudgetSpent
from sotopia_pi.models.meter import Meter
from sotopia_pi.models.openai_chat import Retries
from sotopia_pi.models.opening import open_chat, open_policy, scripted_policy
from sotopia_pi.models.roles import KINDS_OF_ROLE, SCRIPTED, ModelSpec, missing_for, parse_model
from sotopia_pi.models.seam import Message, Request, Sampling
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.params import ParameterError
from sotopia_pi.world.episode import EpisodePlan, Rules, play

OPENAI = "https://api.openai.com/v1"
URL = "http://127.0.0.1:8000/v1"
SECRET = "-".join(("sk", "abcdefghijklmnop0123456789"))


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("openai:gpt-4", ModelSpec("expert", "openai", "gpt-4", OPENAI, "OPENAI_API_KEY")),
        ("openai:gpt-4?key=LAB_KEY", ModelSpec("expert", "openai", "gpt-4", OPENAI, "LAB_KEY")),
        (f"openai:Qwen/Qwen3-8B@{URL}", ModelSpec("expert", "openai", "Qwen/Qwen3-8B", URL)),
        (f"openai:m@{URL}?key=LAB_KEY", ModelSpec("expert", "openai", "m", URL, "LAB_KEY")),
        ("openai:gpt-4?key=", ModelSpec("expert", "openai", "gpt-4", OPENAI)),
        ("local:smollm2-135m-instruct", ModelSpec("expert", "local", "smollm2-135m-instruct")),
        (
            "local:models/base+runs/bc+sr/adapter",
            ModelSpec("expert", "local", "models/base", adapter="runs/bc+sr/adapter"),
        ),
        ("scripted:training-partner", ModelSpec("expert", "scripted", "training-partner")),
    ],
)
def test_a_string_is_read_and_written_back(text, spec):
    assert parse_model("expert", text) == spec
    assert str(spec) == text
    assert ModelSpec.from_dict(spec.to_dict()) == spec


def test_the_rule_judges_and_blanks_and_a_last_slash_do_not_matter():
    assert str(parse_model("judge", " payoff ")) == "payoff"
    assert parse_model("judge", f"openai:m@{URL}/").base_url == URL


@pytest.mark.parametrize(
    ("role", "text", "parts"),
    [
        ("jugde", "payoff", ["no role 'jugde'", "'judge'"]),
        ("agent", "gpt-4", ["'agent'", "'gpt-4' names no model", "openai:MODEL", "local:NAME_OR_FOLDER"]),
        ("agent", "opena:gpt-4", ["'opena:gpt-4'", "Did you mean openai:MODEL"]),
        ("agent", "openai", ["'openai' names no model"]),
        ("agent", "openai:", ["no name", "openai:MODEL"]),
        ("agent", "local:+adapter", ["no name", "local:"]),
        ("agent", "payoff", ["'agent'", "cannot be payoff", "scripted:NAME"]),
        ("judge", "payoff:2", ["'payoff:2' names no model"]),
        ("judge", "scripted:expert", ["'judge'", "cannot be scripted", "payoff"]),
        ("writer", "scripted:expert", ["'writer'", "cannot be scripted"]),
        ("agent", "scripted:expret", ["'expret'", "Did you mean 'expert'"]),
        ("agent", "openai:m@localhost:8000/v1", ["begins with http:// or https://"]),
        ("agent", "openai:m@http://", ["must be like http://"]),
        ("agent", "openai:m@http://h:99999/v1", ["must be like http://"]),
        ("agent", "openai:m@http://a b/v1", ["must be like http://"]),
        ("agent", "local:m?key=LAB_KEY", ["only openai:MODEL"]),
        ("agent", "openai:m?kye=LAB_KEY", ["only key=NAME is known"]),
    ],
)
def test_what_cannot_be_read_names_the_role_what_came_and_what_is_allowed(role, text, parts):
    with pytest.raises(ParameterError) as raised:
        parse_model(role, text)
    for part in parts:
        assert part in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        f"openai:{SECRET}",
        SECRET,
        f"openai:gpt-4?key={SECRET}",
        f"openai:gpt-4@{URL}?key={SECRET}",
        f"openai:gpt-4?{SECRET}",
        "openai:gpt-4?key=0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "openai:gpt-4?api_key=0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "openai:gpt-4@https://me:0a1b2c3d4e5f60718293a4b5c6d7e8f9@host/v1",
        "openai:gpt-4@me:0a1b2c3d4e5f60718293a4b5c6d7e8f9@host/v1",
        "opena:gpt-4@https://me:0a1b2c3d4e5f60718293a4b5c6d7e8f9@host/v1",
        "local:m?key=0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    ],
)
def test_a_key_in_the_string_is_refused_and_not_repeated(text):
    with pytest.raises(ParameterError) as raised:
        parse_model("agent", text)
    assert SECRET not in str(raised.value) and "0a1b2c3d" not in str(raised.value)


def test_a_spec_checks_itself_however_it_is_made():
    for wrong in (
        {"kind": "openai", "name": "m"},
        {"kind": "local", "name": "m", "base_url": URL},
        {"kind": "scripted", "name": "expert", "adapter": "a"},
        {"kind": "openai", "name": SECRET, "base_url": URL},
        {"kind": "openai", "name": "m", "base_url": URL, "key_env": "lower case"},
    ):
        with pytest.raises(ParameterError):
            ModelSpec("agent", **wrong)


def test_what_is_missing_is_told_without_opening_anything(monkeypatch, tmp_path):
    def missing(text):
        return missing_for(parse_model("agent", text))

    monkeypatch.setenv("SOTOPIA_PI_CACHE", str(tmp_path))
    monkeypatch.setenv("LAB_KEY", "something")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "model").mkdir()
    (key,) = missing("openai:gpt-4")
    assert "'agent'" in key and "'gpt-4'" in key and "OPENAI_API_KEY is not set" in key
    assert missing("openai:gpt-4?key=LAB_KEY") == missing(f"openai:m@{URL}") == []
    assert missing("scripted:expert") == missing("local:tiny-random") == []
    assert "downloads them" in missing("local:smollm2-135m-instruct")[0]
    assert "no folder" in missing(f"local:{tmp_path}/none")[0]
    assert "no config.json" in missing(f"local:{tmp_path}/model")[0]
    assert "hub's cache" in missing("local:nobody/nothing-of-this-name")[0]
    assert "neither a folder" in missing("local:a b c")[0]
    assert "no adapter folder" in missing(f"local:tiny-random+{tmp_path}/none")[0]
    (tmp_path / "model" / "config.json").touch()
    (tmp_path / "model" / "adapter_config.json").touch()
    assert [m.split(" has ")[1] for m in missing(f"local:{tmp_path}/model+{tmp_path}/model")] == [
        "no adapter_model.safetensors"
    ]


@pytest.mark.parametrize("name", SCRIPTED)
def test_every_scripted_policy_opens_by_its_name_and_plays(name):
    policy = open_policy(parse_model("agent", f"scripted:{name}"), seed=3)
    task = price_task()
    assert talk(task, policy, Lines("$150."), turn_limit=4).turns[0].side == 0
    assert policy.digest == scripted_policy(name, 3).digest


def test_scripted_names_are_those_that_tables_show():
    trivial = SCRIPTED[SCRIPTED.index("always-accept") :]
    assert [scripted_policy(name).name for name in trivial] == list(trivial)
    with pytest.raises(ParameterError, match="no scripted policy 'nobody'"):
        scripted_policy("nobody")


def test_a_seed_changes_a_scripted_policy_and_nothing_else_does():
    spec = parse_model("partner", "scripted:partner")
    assert open_policy(spec, seed=1).digest == open_policy(spec, seed=1).digest != open_policy(spec, seed=2).digest


def test_a_server_plays_an_episode_behind_all_wrappers_and_the_cache_plays_it_again_for_nothing(tmp_path):
    async def episode(url, budget, meter):
        spec = parse_model("expert", f"openai:toy@{url}")
        opened = open_chat(spec, retries=Retries(1, 0.001, 1))
        wrapped = opened.behind(at_once=2, budget=budget, meter=meter, cache=ItemFile(tmp_path / "replies.jsonl"))
        policy = open_policy(spec, wrapped, sampling=Sampling(max_new_tokens=20))
        played = await play(EpisodePlan(price_task(), (policy, policy), Rules(turn_limit=4), seed=0))
        await wrapped.close()
        return played

    prices = {"toy": (1.0, 1.0)}
    with FaultServer(lambda body: f"I say {len(body['messages'])} things.") as server:
        meter = Meter(prices)
        first = asyncio.run(episode(server.url, Budget(max_usd=1, prices=prices), meter))
        assert len(server.requests) == 4 and meter.tallies["expert"].calls == 4 and meter.usd > 0
        nothing = Budget(max_tokens_spent=0)
        again = asyncio.run(episode(server.url, nothing, meter))
        assert again == first and len(server.requests) == 4 and meter.tallies["expert"].calls == 4
        with pytest.raises(BudgetSpent, match="role 'expert'"):
            asyncio.run(ask_once(parse_model("expert", f"openai:toy@{server.url}"), nothing))
    assert first.policies[0]["name"] == "toy" and first.turns[0].calls[0]["model"] == "toy-0001"


async def ask_once(spec, budget):
    return await open_chat(spec).behind(budget=budget).chat.complete(Request((Message("user", "Hi."),)))


def test_a_servers_digest_is_its_model_and_address_and_not_its_key():
    def digest(text):
        return open_chat(parse_model("judge", text)).digest

    assert digest("openai:gpt-4") == digest("openai:gpt-4?key=LAB_KEY")
    assert len({digest("openai:gpt-4"), digest("openai:gpt-5"), digest(f"openai:gpt-4@{URL}")}) == 3


def test_what_cannot_chat_or_play_says_so():
    with pytest.raises(ParameterError, match="'payoff' is no model that can be asked"):
        open_chat(parse_model("judge", "payoff"))
    with pytest.raises(ParameterError, match="it was not opened"):
        open_policy(parse_model("agent", "openai:gpt-4"))
    with pytest.raises(ParameterError, match="another one, 'openai:gpt-5', was given"):
        open_policy(parse_model("agent", "openai:gpt-4"), open_chat(parse_model("agent", "openai:gpt-5")))


@pytest.mark.slow
def test_a_local_model_opens_answers_costs_nothing_and_closes():
    async def answered():
        opened = open_chat(parse_model("agent", "local:tiny-random"), exact=True)
        meter = Meter()
        chat = opened.behind(budget=Budget(max_tokens_spent=0), meter=meter).chat
        reply = await chat.complete(Request((Message("user", "Hi."),), Sampling(max_new_tokens=4)))
        await opened.close()
        return opened, reply, meter

    opened, reply, meter = asyncio.run(answered())
    assert reply.model == opened.digest and reply.usage["completion_tokens"] <= 4
    assert meter.tallies["agent"].usd == 0
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(opened.chat.complete(Request((Message("user", "Hi."),))))


def test_reading_and_opening_what_needs_no_torch_does_not_load_it():
    script = (
        "import sys\n"
        "from sotopia_pi.models.opening import open_chat, open_policy\n"
        "from sotopia_pi.models.roles import parse_model\n"
        "open_policy(parse_model('partner', 'scripted:partner')); parse_model('agent', 'local:tiny-random')\n"
        "light = 'openai' in sys.modules\n"
        "open_chat(parse_model('judge', 'openai:gpt-4'))\n"
        "print(light, {'torch', 'transformers', 'peft'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "set()"]


def test_every_role_can_be_a_server():
    assert all(parse_model(role, "openai:gpt-4").role == role for role in KINDS_OF_ROLE)
