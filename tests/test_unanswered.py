"""What a server's fault ended is asked for again at the next start, and nothing else is; every attempt is kept."""

import asyncio
import json
from collections import Counter

import pytest
from fault_server import ANSWERS, SPOILT, Faults, FaultServer
from role_player import in_role
from synthetic_run import task
from toy_project import ToyProject

from sotopia_pi.app.status import run_status
from sotopia_pi.formats.inspirations import Inspiration
from sotopia_pi.models.failures import NoAnswer, ServerReply
from sotopia_pi.models.llm_policy import LLMPolicy
from sotopia_pi.models.openai_chat import OpenAIChat, Retries
from sotopia_pi.models.reply_cache import Cached
from sotopia_pi.models.seam import Reply, Sampling, ScriptedReplies
from sotopia_pi.stages.interrupted import play_on
from sotopia_pi.stages.judge import Judge, rate_episodes
from sotopia_pi.stages.rate import rate_payoffs
from sotopia_pi.stages.simulate import collect
from sotopia_pi.stages.task_writer import TaskWriter, write_scenarios
from sotopia_pi.store.items import ItemFile, content_id
from sotopia_pi.store.unanswered import attempts_file, earlier_attempts, set_aside
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.episode import EpisodePlan, Rules, observe

FILES = ("scenarios", "episodes", "ratings")
UNANSWERED = {"api_error", "policy_api_error"}
TASKS = [task(n, f"lamp-{n}") for n in range(24)]
PROMPTS = [Inspiration("normbank", row, f"talking about matter {row}") for row in range(1, 31)]
RULES = Rules(turn_limit=6, on_failure="none")


class Quiet:
    def advance(self, failed=False):
        pass


# The file


def item(name, outcome, said=""):
    return {"id": name, "outcome": outcome, "said": said}


@pytest.fixture
def file(tmp_path):
    file = ItemFile(tmp_path / "ratings.jsonl")
    for outcome in ("ok", "refused", "invalid", "truncated", "policy_failed", "api_error", "policy_api_error"):
        file.append(item(outcome, outcome))
    return file


def test_only_what_got_no_answer_is_set_aside(file):
    assert set_aside(file) == 2 and file.ids() == {"ok", "refused", "invalid", "truncated", "policy_failed"}
    assert set(earlier_attempts(file.path)) == UNANSWERED
    before = file.path.read_bytes()
    assert set_aside(file) == 0 and file.path.read_bytes() == before


def test_every_attempt_is_kept_in_its_order(file):
    set_aside(file)
    for said in ("second", "third"):
        file.append(item("api_error", "api_error", said))
        assert set_aside(file) == 1
    assert [kept["said"] for kept in earlier_attempts(file.path)["api_error"]] == ["", "second", "third"]


def test_a_move_that_was_cut_short_is_completed_and_counts_once(file):
    before = file.path.read_bytes()
    set_aside(file)
    file.path.write_bytes(before)
    assert set_aside(ItemFile(file.path)) == 2 and len(attempts_file(file.path).read()) == 2


# The stage


@pytest.fixture
def project(tmp_path):
    """Two stages; while the file `down` is there, the first has no answer for one of its items."""
    project = ToyProject(tmp_path / "toy", "01_items", "02_depends", preset="n: 4\n")
    project.change_cell("01_items", "code", "import time\n", "import time\nfrom pathlib import Path\n")
    outcome = '"outcome": "api_error" if number == 1 and Path("down").exists() else "ok"'
    project.change_cell("01_items", "code", '"value": value,', f'"value": value, {outcome},')
    project.down = project.root / "down"
    project.down.touch()
    return project


def test_a_stage_with_unanswered_items_says_so_and_runs_again_until_all_are_answered(project):
    first = project.command("run", "params/toy.yaml")
    assert first.returncode == 0 and "01_items: 1 without an answer from a server; the same command" in first.stdout
    assert [row.state for row in run_status(project.root, "toy")] == ["unanswered", "complete"]
    shown = project.command("status", "toy").stdout.splitlines()[1].split()
    assert shown[:2] == ["01_items", "unanswered"] and "1 without an answer" in " ".join(shown)
    kept = project.items("01_items")
    assert project.run() == ["01_items"], "the same failure again changes nothing for the stage that reads it"
    project.down.unlink()
    assert project.run() == ["01_items", "02_depends"] and project.run() == []
    assert [row.state for row in run_status(project.root, "toy")] == ["complete", "complete"]
    counts = project.manifest("01_items")["counts"]
    assert counts["made now"] == 1 and counts["earlier attempts without an answer in items.jsonl"] == 2
    assert "without an answer in items.jsonl" not in counts
    now = {line["id"]: line for line in project.items("01_items")}
    assert len(now) == 4 and all(now[line["id"]] == line for line in kept if line["outcome"] == "ok")


# Episodes


def plan_of(*replies, rules=RULES):
    """A plan in which one model plays both sides, and the requests it gets."""
    chat = ScriptedReplies(replies)
    policy = LLMPolicy(chat, "gpt-4", "model-1")
    return EpisodePlan(TASKS[0], (policy, policy), rules, seed=1), chat.requests


DOWN = Reply("", outcome="api_error", finish_reason="error")


def test_an_outage_ends_the_episode_under_a_name_of_its_own_and_is_no_turn(tmp_path):
    plan, requests = plan_of("Hello.", "[dance]", DOWN)
    episode = asyncio.run(play_on(plan))
    assert (episode.outcome, episode.ending, episode.id) == ("policy_api_error", "failed", plan.id)
    assert [turn.action.argument for turn in episode.turns] == ["Hello."] and len(requests) == 3
    assert "side 1, turn 1: gpt-4: no answer" in episode.failure
    assert rate_payoffs([episode], TASKS, ItemFile(tmp_path / "ratings.jsonl")) == []


def test_an_outage_is_asked_about_no_further_and_is_no_unreadable_output():
    plan, requests = plan_of("[dance]", ServerReply("", outcome="api_error", failure="HTTP 503"), "Hello.")
    with pytest.raises(NoAnswer, match="gpt-4: no answer: HTTP 503") as raised:
        asyncio.run(plan.policies[0].act(observe(plan.task, 0, [], RULES), seed=3))
    assert raised.value.turns == () and len(requests) == 2


def test_the_next_start_goes_on_from_the_turn_that_had_no_answer(tmp_path):
    file = ItemFile(tmp_path / "episodes.jsonl")
    said = ["Hello.", "[dance]", "", "Yes.", "[leave]"]
    whole = asyncio.run(play_on(plan_of(*said)[0]))
    broken, _ = plan_of(*said[:3], DOWN)
    assert asyncio.run(collect([broken], file, Quiet())).counts()["failed: policy_api_error"] == 1
    assert asyncio.run(collect([plan_of()[0]], file, Quiet())).found == 1, "within a start it is a result"
    set_aside(file)
    going_on, requests = plan_of(*said[3:])
    played = asyncio.run(collect([going_on], file, Quiet()))
    assert played.episodes == (whole,) and played.found == 0 and len(requests) == 2
    assert whole.turns[1].failed and [request.turn for request in requests] == [2, 3]
    assert file.read()[0]["id"] == whole.id and len(earlier_attempts(file.path)[whole.id]) == 1


def test_turns_played_before_are_repeated_with_all_that_is_known_of_them():
    turns = [Turn(0, 0, Action("none"), failed=True, calls=({"text": "?"},)), Turn(1, 1, Action("leave"))]
    plan, requests = plan_of()
    episode = asyncio.run(play_on(plan, turns))
    assert list(episode.turns) == turns and episode.ending == "left" and not requests


# All roles over HTTP


async def start(folder, server):
    """One start: scenarios, episodes and ratings, each asked for where it is missing. Returns the items by file."""
    client = OpenAIChat("toy", server.url, None, timeout_s=5, retries=Retries(0))
    chat = Cached(client, ItemFile(folder / "replies.jsonl"), "toy")
    scenarios, episodes, ratings = files = [ItemFile(folder / f"{name}.jsonl") for name in FILES]
    for file in files:
        set_aside(file)
    await write_scenarios(PROMPTS, TaskWriter(chat, "toy"), scenarios, Quiet())
    policy = LLMPolicy(chat, "toy", "toy", "sotopia", Sampling(max_new_tokens=200))
    plans = [EpisodePlan(one, (policy, policy), RULES, seed=0) for one in TASKS]
    played = await collect(plans, episodes, Quiet())
    await rate_episodes(played.episodes, TASKS, Judge(chat, "toy", "toy"), ratings, Quiet())
    await client.close()
    return {name: {line["id"]: line for line in file.read()} for name, file in zip(FILES, files, strict=True)}


class Uneven(Faults):
    """An episode takes many calls and a rating few: where no schema is sent, a fifth of the share goes wrong."""

    def draw(self, body, times):
        share = self.share if "response_format" in body else self.share / 5
        return Faults(share, self.kinds, self.seed).draw(body, times)


def names(bodies):
    return [content_id("body", body) for body in bodies]


def test_a_start_after_the_outage_asks_for_exactly_what_had_no_answer(tmp_path):
    """Every body is asked once in a start, so that a body answered before must not come again."""
    kinds = ("server_error", "torn_json", *ANSWERS, *SPOILT)
    with FaultServer(in_role, faults=Uneven(0.5, kinds)) as server:
        first = asyncio.run(start(tmp_path, server))
        asked = list(zip(names(server.requests), server.fates, strict=True))
        assert set(server.given) == set(kinds), "the seed shows every kind of fault"
        server.faults = Faults()
        second = asyncio.run(start(tmp_path, server))
        again = names(server.requests[len(asked) :])
        third = asyncio.run(start(tmp_path, server))
        assert len(server.requests) == len(asked) + len(again), "a third start finds everything answered"
    answered = {name for name, fate in asked if fate is None or fate in ANSWERS + SPOILT}
    failed = {name for name, fate in asked} - answered
    assert failed and failed <= set(again) and not answered & set(again) and max(Counter(again).values()) == 1
    outcomes = {name: Counter(line["outcome"] for line in lines.values()) for name, lines in first.items()}
    assert all(set(found) & UNANSWERED and len(set(found)) > 1 for found in outcomes.values()), outcomes
    for name in FILES:
        assert not {line["outcome"] for line in second[name].values()} & UNANSWERED
        owed = {key for key, line in first[name].items() if line["outcome"] in UNANSWERED}
        assert {key: second[name][key] for key in first[name] if key not in owed} == {
            key: line for key, line in first[name].items() if key not in owed
        }
        attempts = earlier_attempts(tmp_path / f"{name}.jsonl")
        assert {key: [first[name][key]] for key in owed} == attempts
    assert third == second and len(second["ratings"]) >= len(first["ratings"])
    assert json.loads((tmp_path / "replies.jsonl").read_text().splitlines()[0])["reply"]["outcome"] != "api_error"
