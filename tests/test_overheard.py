"""Listening to a policy: the words as they come, and otherwise the same questions and the same decisions."""

import asyncio
from dataclasses import replace

import pytest
from toy_company import Telling, away, telling, until
from toy_talk import task

from sotopia_pi.models.failures import NoAnswer, StreamFailed
from sotopia_pi.models.negotiator import expert
from sotopia_pi.models.overheard import Overheard, overheard
from sotopia_pi.models.seam import Message, Reply, Request
from sotopia_pi.world.actions import Action
from sotopia_pi.world.episode import Rules, observe

SEEN = observe(task(), 0, [], Rules())
REPLY = Reply("I ask for $80.", (5, 6, 2), usage={"prompt_tokens": 9, "completion_tokens": 3}, model="m")


def decide(policy, seed=3):
    return asyncio.run(policy.act(SEEN, seed))


def test_whoever_listens_hears_the_words_as_they_come_and_changes_nothing():
    heard, plain, watched = [], telling(REPLY), telling(REPLY)
    listened = overheard(watched, heard.append)
    assert decide(listened) == decide(plain)
    assert heard == ["", "I", "I ask", "I ask for", "I ask for $80."]
    assert watched.chat.requests == plain.chat.requests
    assert listened.digest == plain.digest and listened.name == plain.name


def test_a_further_attempt_is_heard_from_its_beginning():
    heard = []
    decision = decide(overheard(telling("[dance] now", "Hello."), heard.append))
    assert decision.action == Action("speak", "Hello.") and len(decision.calls) == 2
    assert heard == ["", "[dance]", "[dance] now", "", "Hello."]


def test_a_cut_off_reply_stays_unparsable_when_it_is_streamed():
    cut = replace(REPLY, outcome="truncated", finish_reason="length")
    decision = decide(overheard(telling(cut, retries=0), lambda text: None))
    assert decision.action is None and "did not end within max_new_tokens" in decision.failure


def test_a_server_that_is_away_gives_no_answer_and_one_that_refuses_gives_a_failure():
    with pytest.raises(NoAnswer, match="the connection failed"):
        decide(overheard(telling(away()), lambda text: None))
    refused = decide(overheard(telling(StreamFailed("declined", "refused"), retries=0), lambda text: None))
    assert refused.action is None and "refused: declined" in refused.failure


def test_giving_up_ends_the_stream():
    async def cancelled():
        policy = telling(REPLY, hold=True)
        asking = asyncio.ensure_future(overheard(policy, lambda text: None).act(SEEN, 0))
        await until(lambda: policy.chat.requests, "the question")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        return policy.chat.given_up

    assert asyncio.run(cancelled()) == 1


def test_a_stream_without_its_reply_is_an_error_and_nothing_is_made_up():
    class Wordless(Telling):
        async def stream(self, request):
            yield "Hello"

    with pytest.raises(RuntimeError, match="ended after 5 characters without its reply"):
        asyncio.run(Overheard(Wordless(()), lambda text: None).complete(Request((Message("user", "Hi"),))))


def test_a_scripted_policy_is_itself():
    policy = expert(0)
    assert overheard(policy, lambda text: None) is policy
