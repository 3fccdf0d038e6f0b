"""The policy of a language model: it asks, reads, asks again, and admits when it could not read."""

import asyncio

import pytest
from toy_talk import character

from sotopia_pi.models.llm_policy import LLMPolicy
from sotopia_pi.models.seam import Message, Reply, Request, Sampling, ScriptedReplies
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.characters import Relationship
from sotopia_pi.world.episode import EpisodePlan, Rules, observe, play
from sotopia_pi.world.tasks import Scenario, SocialTask

TASK = SocialTask(
    Scenario("t", "talk", "own", "They meet.", ("Make a friend.", "Get home."), Relationship.STRANGER),
    (character("Ann"), character("Bea")),
)


def decide(replies, seed=3, **settings):
    chat = ScriptedReplies(replies)
    policy = LLMPolicy(chat, "BC", "model-1", **settings)
    return asyncio.run(policy.act(observe(TASK, 0, [], Rules()), seed)), chat


def test_a_readable_reply_is_the_decision_with_all_that_was_said_kept():
    decision, chat = decide([Reply("Hello!", (4, 2), usage={"prompt_tokens": 9}, model="m", latency_s=0.5)])
    (call,) = decision.calls
    assert decision.action == Action("speak", "Hello!") and decision.failure == ""
    assert call["text"] == "Hello!" and call["token_ids"] == [4, 2] and call["usage"] == {"prompt_tokens": 9}
    assert call["model"] == "m" and len(call["prompt_hash"]) == 16 and "latency_s" not in call
    assert decision.timing == {"latency_s": 0.5}
    assert chat.requests[0].item_id == TASK.id


def test_an_unreadable_reply_is_asked_again_with_another_seed():
    decision, chat = decide(["[dance]", "Hello!"])
    assert decision.action == Action("speak", "Hello!")
    assert [call["text"] for call in decision.calls] == ["[dance]", "Hello!"]
    assert chat.requests[0].seed != chat.requests[1].seed
    assert chat.requests[0].messages == chat.requests[1].messages


def test_after_all_attempts_the_failure_is_told_and_nothing_is_made_up():
    cut = Reply("I would", outcome="truncated", finish_reason="length")
    decision, _ = decide(["", "[dance]", cut], retries=2)
    assert decision.action is None and len(decision.calls) == 3
    assert "3 of 3 attempts" in decision.failure and "did not end" in decision.failure


def test_a_refused_call_is_a_failure_and_never_speech():
    decision, _ = decide([Reply("I cannot help with that.", outcome="refused")], retries=0)
    assert decision.action is None and "refused" in decision.failure


def test_a_failure_ends_the_episode_or_leaves_a_marked_none():
    def policies():
        chats = ScriptedReplies(["", ""]), ScriptedReplies(["[leave]"])
        return tuple(LLMPolicy(chat, "base", "model-1") for chat in chats)

    failed = asyncio.run(play(EpisodePlan(TASK, policies(), Rules(), seed=1)))
    assert failed.outcome == "policy_failed" and "2 of 2 attempts" in failed.failure
    lenient = asyncio.run(play(EpisodePlan(TASK, policies(), Rules(on_failure="none"), seed=1)))
    assert lenient.outcome == "completed" and lenient.turns[0].failed and not lenient.turns[1].failed


def test_the_digest_names_everything_that_determines_the_behaviour():
    base = LLMPolicy(ScriptedReplies([]), "BC", "model-1")
    others = [
        LLMPolicy(ScriptedReplies([]), "BC", "model-2"),
        LLMPolicy(ScriptedReplies([]), "BC", "model-1", prompt_format="sotopia"),
        LLMPolicy(ScriptedReplies([]), "BC", "model-1", sampling=Sampling(temperature=0.5)),
        LLMPolicy(ScriptedReplies([]), "BC", "model-1", retries=0),
        LLMPolicy(ScriptedReplies([]), "BC", "model-1", few_shot=(("A: hi",),)),
    ]
    assert len({policy.digest for policy in (base, *others)}) == 6
    assert LLMPolicy(ScriptedReplies([]), "another name", "model-1").digest == base.digest


def test_the_sotopia_format_is_asked_and_read():
    decision, chat = decide(['{"action_type": "leave", "argument": ""}'], prompt_format="sotopia")
    assert decision.action == Action("leave") and len(chat.requests[0].messages) == 1


def test_scripted_replies_say_when_they_run_out():
    with pytest.raises(RuntimeError, match=r"call 2 .* only 1 replies"):
        decide([""], retries=1)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Sampling(temperature=-1),
        lambda: Sampling(top_p=0),
        lambda: Sampling(max_new_tokens=0),
        lambda: Message("judge", "hi"),
        lambda: Message("user", "hi", (1,)),
        lambda: Request(()),
        lambda: Reply("", outcome="fine"),
    ],
)
def test_values_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError):
        wrong()


def test_the_prompt_of_a_later_turn_holds_the_ids_of_the_earlier_reply():
    turns = [Turn(0, 0, Action("speak", "Hi"), calls=({"token_ids": [7, 2]},)), Turn(1, 1, Action("speak", "Yes"))]
    chat = ScriptedReplies(["Good."])
    asyncio.run(LLMPolicy(chat, "BC", "model-1").act(observe(TASK, 0, turns, Rules()), 1))
    assert [m.token_ids for m in chat.requests[0].messages if m.role == "assistant"] == [(7, 2)]
