"""Kept replies: what was paid for once is never paid for again, and nothing else is mistaken for it."""

import asyncio
import json
from dataclasses import replace

import pytest
from toy_talk import task

from sotopia_pi.models.failures import ServerReply
from sotopia_pi.models.llm_policy import LLMPolicy
from sotopia_pi.models.reply_cache import Cached, request_key
from sotopia_pi.models.seam import Message, Reply, Request, Sampling
from sotopia_pi.store.items import ItemFile, items_digest
from sotopia_pi.world.episode import EpisodePlan, Rules, play

ONE = Request((Message("user", "Hi."),), Sampling(), {"type": "object"}, seed=1, item_id="task-1", turn=2, role="judge")


class Numbering:
    """Answers "reply 1", "reply 2" … a moment later."""

    def __init__(self, outcome="ok"):
        self.calls, self.outcome = 0, outcome

    async def complete(self, request):
        self.calls += 1
        number = self.calls
        await asyncio.sleep(0.005)
        failure = "HTTP 500" if self.outcome == "api_error" else ""
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        return ServerReply(
            f"reply {number}",
            (7, 2),
            self.outcome,
            usage=usage,
            model="m-1",
            latency_s=0.25,
            failure=failure,
            retries=1,
        )

    async def stream(self, request):
        yield (await self.complete(request)).text


def ask(chat, *requests):
    async def all_of_them():
        return [await chat.complete(each) for each in requests]

    return asyncio.run(all_of_them())


@pytest.fixture
def file(tmp_path):
    return ItemFile(tmp_path / "replies.jsonl")


def test_a_reply_is_asked_for_once_also_after_a_restart_and_comes_back_whole(file):
    first = Numbering()
    said, again = ask(Cached(first, file, "m"), ONE, ONE)
    later = Numbering()
    (kept,) = ask(Cached(later, ItemFile(file.path), "m"), ONE)
    assert (first.calls, later.calls) == (1, 0)
    assert said == again == kept and isinstance(kept, ServerReply)
    assert (kept.text, kept.token_ids, kept.latency_s, kept.retries) == ("reply 1", (7, 2), 0.25, 1)
    assert kept.usage == {"prompt_tokens": 3, "completion_tokens": 2}


def test_a_plain_reply_comes_back_as_a_plain_reply(file):
    class Plain(Numbering):
        async def complete(self, request):
            return Reply("Hello.", (1,), latency_s=2.0)

    ask(Cached(Plain(), file, "m"), ONE)
    (kept,) = ask(Cached(Plain(), ItemFile(file.path), "m"), ONE)
    assert kept == Reply("Hello.", (1,)) and type(kept) is Reply


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (Message("user", "Hi!"),)},
        {"messages": (Message("system", "Hi."),)},
        {"messages": (Message("user", "Hi."), Message("assistant", "Yes", (4,)))},
        {"sampling": Sampling(temperature=0.5)},
        {"sampling": Sampling(max_new_tokens=65)},
        {"schema": None},
        {"seed": 2},
        {"item_id": "task-2"},
        {"turn": 3},
        {"role": "agent"},
    ],
)
def test_whatever_differs_in_the_question_is_another_question(file, change):
    chat = Numbering()
    one, other = ask(Cached(chat, file, "m"), ONE, replace(ONE, **change))
    assert chat.calls == 2 and one.text != other.text


def test_the_same_question_to_another_model_is_another_question(file):
    ask(Cached(Numbering(), file, "m"), ONE)
    other = Numbering()
    ask(Cached(other, file, "m2"), ONE)
    assert other.calls == 1 and request_key(ONE, "m") != request_key(ONE, "m2")


@pytest.mark.parametrize(("outcome", "calls"), [("truncated", 1), ("refused", 1), ("api_error", 2), ("invalid", 2)])
def test_an_answer_is_kept_and_a_failure_is_asked_again(file, outcome, calls):
    chat = Numbering(outcome)
    ask(Cached(chat, file, "m"), ONE, ONE)
    assert chat.calls == calls and len(file.read()) == (2 - calls)


def test_equal_questions_at_the_same_time_are_asked_once(file):
    async def together(chat):
        return await asyncio.gather(*(chat.complete(ONE) for _ in range(10)))

    chat = Numbering()
    assert {reply.text for reply in asyncio.run(together(Cached(chat, file, "m")))} == {"reply 1"}
    assert chat.calls == 1 and len(file.read()) == 1


def test_who_gives_up_waiting_takes_the_reply_from_nobody(file):
    async def one_gives_up(chat):
        first = asyncio.create_task(chat.complete(ONE))
        await asyncio.sleep(0)
        second = asyncio.create_task(chat.complete(ONE))
        await asyncio.sleep(0.001)
        first.cancel()
        return await second, first.cancelled() or await asyncio.wait([first])

    chat = Numbering()
    reply, _ = asyncio.run(one_gives_up(Cached(chat, file, "m")))
    assert reply.text == "reply 1" and chat.calls == 1 and len(file.read()) == 1


def test_two_repeats_of_one_task_are_played_with_different_words_and_a_restart_plays_them_again_for_nothing(file):
    def episodes(chat):
        policies = (LLMPolicy(Cached(chat, ItemFile(file.path), "m"), "toy", "m"),) * 2
        plans = [EpisodePlan(task(), policies, Rules(turn_limit=3), seed=1, repeat=repeat) for repeat in (0, 1)]
        return [asyncio.run(play(plan)) for plan in plans]

    chat, later = Numbering(), Numbering()
    first, second = episodes(chat)
    assert chat.calls == 6 and first.turns[0].action != second.turns[0].action
    assert episodes(later) == [first, second] and later.calls == 0


def test_a_torn_last_line_costs_that_reply_alone(file):
    ask(Cached(Numbering(), file, "m"), ONE, replace(ONE, seed=2))
    file.path.write_bytes(file.path.read_bytes()[:-20])
    chat = Numbering()
    ask(Cached(chat, ItemFile(file.path), "m"), ONE, replace(ONE, seed=2))
    assert chat.calls == 1 and len(ItemFile(file.path).read()) == 2


def test_what_is_written_says_what_was_asked_of_whom_and_keeps_times_apart(file):
    ask(Cached(Numbering(), file, "m"), ONE)
    (item,) = file.read()
    assert (item["asked"], item["item_id"], item["turn"], item["role"], item["seed"]) == ("m", "task-1", 2, "judge", 1)
    assert len(item["prompt_hash"]) == 16 and item["reply"]["text"] == "reply 1"
    slower = json.loads(json.dumps(item))
    slower["timing"]["latency_s"] = 9
    assert items_digest([item]) == items_digest([slower])


def test_streams_pass_through_and_are_not_kept(file):
    async def pieces(chat):
        return [piece async for piece in chat.stream(ONE)]

    assert asyncio.run(pieces(Cached(Numbering(), file, "m"))) == ["reply 1"]
    assert not file.path.exists()
