"""The client of OpenAI-compatible servers, against a server on this machine that misbehaves on demand."""

import asyncio
import logging
import threading
import time
import traceback
from email.utils import formatdate

import pytest
from fault_server import KINDS, REFUSAL, Faults, FaultServer
from toy_talk import task

from sotopia_pi.models.failures import ModelMisconfigured, ServerReply, StopAsking, StreamFailed
from sotopia_pi.models.limits import Limited
from sotopia_pi.models.llm_policy import LLMPolicy
from sotopia_pi.models.openai_chat import OpenAIChat, Retries
from sotopia_pi.models.openai_wire import retry_after_s
from sotopia_pi.models.seam import Message, Request, Sampling
from sotopia_pi.world.episode import EpisodePlan, Rules, play

KEY = "-".join(("sk", "planted0123456789canary"))
SCHEMA = {"type": "object", "properties": {"goal": {"type": "integer"}}, "required": ["goal"]}
QUICK = Retries(times=4, first_wait_s=0.005, longest_wait_s=1)


def request(text="Say hello.", item="item-1", **settings):
    return Request((Message("system", "You are Ann."), Message("user", text)), item_id=item, **settings)


def ask(server, *requests, **settings):
    """Replies of one chat to these requests, one after the other."""

    async def all_of_them():
        chat = OpenAIChat(**{"model": "toy", "base_url": server.url, "key_env": None, "retries": QUICK} | settings)
        replies = [await chat.complete(each) for each in requests or (request(),)]
        await chat.close()
        return replies

    return asyncio.run(all_of_them())


def streamed(server, **settings):
    async def pieces():
        chat = OpenAIChat("toy", server.url, None, role="agent", retries=QUICK, **settings)
        try:
            return [piece async for piece in chat.stream(request())]
        finally:
            await chat.close()

    return asyncio.run(pieces())


def test_a_reply_carries_text_usage_the_servers_own_model_id_and_the_seconds_it_took():
    with FaultServer(lambda body: "Hello to you.", latency_s=0.05) as server:
        (reply,) = ask(server)
    assert (reply.text, reply.outcome, reply.finish_reason, reply.model) == ("Hello to you.", "ok", "stop", "toy-0001")
    assert reply.usage == {"prompt_tokens": 5, "cached_tokens": 2, "completion_tokens": 3}
    assert 0.05 <= reply.latency_s < 30
    assert (reply.failure, reply.retries, reply.unsupported) == ("", 0, ())


def test_messages_sampling_seed_and_schema_are_passed_on():
    with FaultServer() as server:
        ask(server, request(sampling=Sampling(0.3, 0.9, 17), seed=5, schema=SCHEMA))
    (body,) = server.requests
    assert body["messages"] == [
        {"role": "system", "content": "You are Ann."},
        {"role": "user", "content": "Say hello."},
    ]
    assert (body["temperature"], body["top_p"], body["max_tokens"], body["seed"]) == (0.3, 0.9, 17, 5)
    wanted = {"name": "reply", "strict": True, "schema": SCHEMA}
    assert body["response_format"] == {"type": "json_schema", "json_schema": wanted}
    assert "response_format" not in ask_and_see(request())


def ask_and_see(one):
    with FaultServer() as server:
        ask(server, one)
    return server.requests[0]


def test_a_refusal_and_a_cut_off_reply_are_named_as_what_they_are():
    with FaultServer(faults=Faults(1.0, ("refusal",))) as server:
        (refused,) = ask(server)
    assert (refused.outcome, refused.text, refused.retries) == ("refused", REFUSAL, 0) and refused.failure
    with FaultServer(lambda body: "one two three four") as server:
        (cut,) = ask(server, request(sampling=Sampling(max_new_tokens=3)))
    assert (cut.outcome, cut.finish_reason, cut.text) == ("truncated", "length", "one two three")


@pytest.mark.parametrize("kind", ["rate_limit", "server_error", "hang", "drip", "cut", "torn_json", "huge"])
def test_a_fault_that_passes_is_retried_and_counted_and_one_that_stays_is_an_api_error_with_its_reason(kind):
    timeout_s = 1 if kind in ("hang", "drip") else 30
    with FaultServer(faults=Faults(1.0, (kind,), first=1)) as server:
        (reply,) = ask(server, timeout_s=timeout_s)
    assert (reply.outcome, reply.text, reply.retries, len(server.requests)) == ("ok", "Hello.", 1, 2)
    with FaultServer(faults=Faults(1.0, (kind,)), hang_s=10) as server:
        (reply,) = ask(server, timeout_s=timeout_s / 2, retries=Retries(1, 0.001, 1))
    assert (reply.outcome, reply.text, reply.finish_reason, reply.retries) == ("api_error", "", "error", 1)
    assert len(server.requests) == 2 and len(reply.failure) > 10
    assert (reply.failure == "no answer in time") == (kind in ("hang", "drip"))


def test_with_a_third_of_all_requests_failing_every_call_ends_with_a_reply_or_a_named_failure():
    async def all_of_them(url):
        client = OpenAIChat("toy", url, None, timeout_s=300, retries=Retries(2, 0.005, 1))
        chat = Limited(client, 16)
        replies = await asyncio.gather(*(chat.complete(request(item=f"item-{i}", seed=i)) for i in range(100)))
        await client.close()
        return replies

    with FaultServer(faults=Faults(0.3, KINDS, seed=37), hang_s=0.5) as server:
        replies = asyncio.run(all_of_them(server.url))
    assert set(server.given) == set(KINDS), "the seed shows every kind of fault"
    assert {reply.outcome for reply in replies} == {"ok", "refused", "api_error"}
    assert all(bool(reply.failure) == (reply.outcome != "ok") for reply in replies)
    assert all(reply.text in ("Hello.", "") for reply in replies if reply.outcome == "ok")
    assert server.answered == sum(reply.outcome != "api_error" for reply in replies), "asked again after an answer"
    assert sum(reply.retries for reply in replies) == len(server.requests) - 100


def test_one_hanging_call_does_not_hold_up_the_others():
    let_go = threading.Event()

    async def both(url):
        chat = OpenAIChat("toy", url, None, timeout_s=60)
        slow = asyncio.create_task(chat.complete(request("hang")))
        others = await asyncio.gather(*(chat.complete(request(f"call {i}")) for i in range(20)))
        still_waiting = not slow.done()
        let_go.set()
        return still_waiting, others, await slow

    def reply(body):
        return "late" if body["messages"][-1]["content"] == "hang" and let_go.wait(60) else "Hello."

    with FaultServer(reply) as server:
        still_waiting, others, slow = asyncio.run(both(server.url))
    assert still_waiting and slow.text == "late" and {other.text for other in others} == {"Hello."}


def test_the_server_is_not_asked_again_before_the_time_it_named():
    with FaultServer(faults=Faults(1.0, ("rate_limit",), retry_after="0.4", first=1)) as server:
        (reply,) = ask(server, retries=Retries(2, 0.001, 1))
    assert reply.outcome == "ok" and reply.latency_s >= 0.4


def test_a_server_that_asks_to_wait_too_long_is_not_waited_for():
    with FaultServer(faults=Faults(1.0, ("rate_limit",), retry_after="3600")) as server:
        (reply,) = ask(server)
    assert reply.outcome == "api_error" and "3600 s, longer than longest_wait_s (1)" in reply.failure
    assert len(server.requests) == 1


def test_waiting_times_double_up_to_a_limit_and_are_drawn_by_seed():
    retries, one = Retries(9, 1.0, 30.0, seed=1), request()
    waits = [retries.wait_s(one, attempt, None) for attempt in range(8)]
    for attempt, wait in enumerate(waits):
        assert min(30, 2**attempt) / 2 <= wait <= min(30, 2**attempt)
    assert waits == [retries.wait_s(one, attempt, None) for attempt in range(8)]
    assert waits != [retries.wait_s(request(item="item-2"), attempt, None) for attempt in range(8)]
    assert 20 <= retries.wait_s(one, 0, 20.0) <= 25
    with pytest.raises(ValueError, match="times and first_wait_s from 0"):
        Retries(-1)


def test_retry_after_is_read_as_seconds_milliseconds_or_a_date():
    assert retry_after_s({"retry-after": "2.5"}) == 2.5
    assert retry_after_s({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert 28 < retry_after_s({"retry-after": formatdate(time.time() + 30, usegmt=True)}) <= 30
    assert retry_after_s({"retry-after": formatdate(0, usegmt=True)}) == 0
    assert retry_after_s({}) is retry_after_s({"retry-after": "soon"}) is retry_after_s({"retry-after": "nan"}) is None


@pytest.mark.parametrize("words", ["Unsupported parameter: '{field}'", "no structured outputs here", "Bad request"])
def test_a_server_without_schemas_is_asked_without_one_which_is_remembered_and_recorded(words):
    with FaultServer(rejects=("response_format",), rejection=words) as server:
        first, second = ask(server, request(schema=SCHEMA), request(schema=SCHEMA))
    assert [reply.outcome for reply in (first, second)] == ["ok", "ok"]
    assert first.unsupported == second.unsupported == ("response_format",)
    assert ["response_format" in body for body in server.requests] == [True, False, False]
    assert all("seed" in body for body in server.requests), "nothing else is left out"


def test_a_server_of_the_older_protocol_gets_the_older_spelling_and_no_seed():
    with FaultServer(rejects=("max_tokens", "seed"), rejection=f"{'Sorry. ' * 100}No {{field}}.") as server:
        replies = ask(server, request(), request())
    assert [reply.unsupported for reply in replies] == [("seed",), ("seed",)]
    last = server.requests[-1]
    assert last["max_completion_tokens"] == 64 and "max_tokens" not in last and "seed" not in last
    assert len(server.requests) == 4, "two fields were learnt once"


def test_a_request_that_is_wrong_for_another_reason_is_an_api_error_and_teaches_nothing():
    with FaultServer(rejects=("messages",)) as server:
        (reply,) = ask(server, request(schema=SCHEMA))
        assert reply.outcome == "api_error" and "HTTP 400" in reply.failure and "messages" in reply.failure
        assert len(server.requests) == 2

    async def before_and_after(server):
        chat = OpenAIChat("toy", server.url, None)
        failed = await chat.complete(request(schema=SCHEMA))
        server.rejects = ()
        return failed, await chat.complete(request(schema=SCHEMA))

    with FaultServer(rejects=("messages",)) as server:
        failed, after = asyncio.run(before_and_after(server))
    assert (failed.outcome, after.outcome, after.unsupported) == ("api_error", "ok", ())


def test_a_missing_key_stops_before_anything_is_sent_and_says_what_to_set(monkeypatch):
    monkeypatch.delenv("TOY_KEY", raising=False)
    with FaultServer() as server, pytest.raises(ModelMisconfigured) as raised:
        ask(server, key_env="TOY_KEY", role="judge")
    assert server.requests == [] and isinstance(raised.value, StopAsking)
    for part in ("judge", "toy", "TOY_KEY is not set", "?key=NAME"):
        assert part in str(raised.value)


def test_a_key_that_cannot_be_one_is_told_without_showing_it(monkeypatch):
    monkeypatch.setenv("TOY_KEY", "“quoted-secret”")
    with FaultServer() as server, pytest.raises(ModelMisconfigured, match="TOY_KEY holds blanks") as raised:
        ask(server, key_env="TOY_KEY")
    assert "quoted-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"key": "another"}, ["401", "TOY_KEY", "set a valid one"]),
        ({"models": ("other",)}, ["404", "does not exist", "/v1/models", "name"]),
        ({"quota": False}, ["429", "TOY_KEY", "no credit left"]),
    ],
)
def test_what_no_call_can_get_past_stops_at_once_and_names_role_model_and_what_to_set(monkeypatch, settings, parts):
    monkeypatch.setenv("TOY_KEY", KEY)
    with FaultServer(**settings) as server, pytest.raises(ModelMisconfigured) as raised:
        ask(server, key_env="TOY_KEY", role="judge")
    assert len(server.requests) == 1
    for part in ("'judge'", "'toy'", server.url, *parts):
        assert part in str(raised.value)


def test_the_key_is_read_at_every_call_and_is_sent_only_where_it_is_named(monkeypatch):
    async def twice(server):
        chat = OpenAIChat("toy", server.url, "TOY_KEY")
        await chat.complete(request())
        monkeypatch.setenv("TOY_KEY", f"{KEY}-2\n")
        await chat.complete(request())

    monkeypatch.setenv("TOY_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultServer() as server:
        asyncio.run(twice(server))
        ask(server)
    assert server.keys == [f"Bearer {KEY}", f"Bearer {KEY}-2", None]


def test_a_planted_key_is_in_nothing_that_is_written_raised_or_logged(monkeypatch, caplog):
    """The server repeats the key in its replies and in its errors, whole and masked."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TOY_KEY", KEY)
    seen = []
    with FaultServer(lambda body: f"Your key is {KEY}, is it not?") as server:
        chat = OpenAIChat("toy", server.url, "TOY_KEY", role="agent")
        policies = (LLMPolicy(chat, "toy", "model-1"),) * 2
        episode = asyncio.run(play(EpisodePlan(task(), policies, Rules(turn_limit=2), seed=1)))
        assert server.keys == [f"Bearer {KEY}"] * 2 and episode.outcome == "completed"
        seen += [episode.to_dict(), chat, vars(chat), policies]
    with FaultServer(models=(f"sk-plan****{KEY[-4:]}", KEY), key="another") as server:
        try:
            ask(server, key_env="TOY_KEY")
        except ModelMisconfigured as error:
            seen += traceback.format_exception(error)
    with FaultServer(faults=Faults(1.0, ("server_error",))) as server:
        seen += ask(server, key_env="TOY_KEY", base_url=f"{server.url}/{KEY}")
    text = "\n".join(map(repr, seen)) + caplog.text.replace(f"/{KEY}", "")
    assert "[key removed]" in text and "api_error" in text
    assert KEY not in text


def test_a_masked_or_half_shown_key_is_removed_from_a_reason(monkeypatch):
    monkeypatch.setenv("TOY_KEY", KEY)

    class Masking(FaultServer):
        def begin(self, body, key):
            self.rejects = ("messages sk-pla*************nary", f"{'x' * 290} {KEY}")
            body |= dict.fromkeys(self.rejects)
            return super().begin(body, key)

    with Masking() as server:
        (reply,) = ask(server, key_env="TOY_KEY")
    assert "HTTP 400" in reply.failure and "nary" not in reply.failure and "sk-" not in reply.failure


def test_a_stream_yields_the_same_words_piece_by_piece():
    with FaultServer(lambda body: "Hello to you.") as server:
        *pieces, reply = streamed(server)
    assert pieces == ["Hello", " to", " you."] and server.requests[0]["stream"] is True
    assert (reply.text, reply.outcome, reply.finish_reason, reply.model) == ("Hello to you.", "ok", "stop", "toy-0001")
    assert reply.latency_s > 0 and reply.retries == 0


def test_a_stream_that_the_limit_cut_off_ends_with_a_reply_that_says_so():
    with FaultServer(lambda body: "a b " * 300) as server:
        *pieces, reply = streamed(server)
    assert "".join(pieces) == reply.text and (reply.outcome, reply.finish_reason) == ("truncated", "length")


@pytest.mark.parametrize("kind", ["rate_limit", "server_error", "hang", "huge"])
def test_a_stream_that_has_said_nothing_yet_is_begun_again(kind):
    with FaultServer(lambda body: "Hello to you.", Faults(1.0, (kind,), first=1)) as server:
        *pieces, reply = streamed(server, timeout_s=1 if kind == "hang" else 30)
    assert "".join(pieces) == reply.text == "Hello to you."
    assert len(server.requests) == 2 and reply.retries == 1


@pytest.mark.parametrize(
    ("kind", "outcome", "said"),
    [
        ("cut", "api_error", "broke off after 3 characters"),
        ("torn_json", "api_error", "broke off after 3 characters"),
        ("server_error", "api_error", "no reply: HTTP 500"),
        ("refusal", "refused", "declined"),
    ],
)
def test_a_stream_that_does_not_come_to_its_end_says_so(kind, outcome, said):
    with FaultServer(lambda body: "a b c d", Faults(1.0, (kind,))) as server, pytest.raises(StreamFailed) as raised:
        streamed(server)
    assert raised.value.outcome == outcome
    for part in ("'agent'", "'toy'", "'item-1'", said):
        assert part in str(raised.value)


def test_an_api_error_must_say_why():
    with pytest.raises(ValueError, match="must say in `failure`"):
        ServerReply("", outcome="api_error")


def test_a_time_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match="timeout_s is 0"):
        OpenAIChat("toy", timeout_s=0)
