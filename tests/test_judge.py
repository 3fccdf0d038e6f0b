"""A judge's answer becomes two ratings or a named failure, is kept whole, and is never paid for twice."""

import asyncio
import json
import math
from dataclasses import replace

import pytest
from synthetic_run import episode, task
from toy_judge import CUT, DOWN, EPISODE, GOOD, REFUSED, SCORES, TASK, answer, changed, judge, score

from sotopia_pi.models.failures import ServerReply
from sotopia_pi.models.seam import Reply, Sampling, ScriptedReplies
from sotopia_pi.stages import judge as judging
from sotopia_pi.stages.judge import Judge
from sotopia_pi.stages.judge_answer import MAX_CHARACTERS
from sotopia_pi.store.items import ItemFile
from sotopia_pi.world.ratings import DIMENSIONS, Rating


def rate(*replies, **settings):
    """Both ratings of EPISODE and the requests that were sent."""
    chat = ScriptedReplies(replies)
    return asyncio.run(judge(chat, **settings).rate(EPISODE, TASK)), chat.requests


def test_an_answer_gives_each_side_its_own_scores_and_reasons():
    (first, second), requests = rate(GOOD)
    assert len(requests) == 1 and (first.side, second.side) == (0, 1)
    for side, rating in enumerate((first, second)):
        assert rating.outcome == "ok" and rating.judge == "gpt-4" and rating.episode_id == EPISODE.id
        assert dict(rating.scores) == {dimension: both[side] for dimension, both in SCORES.items()}
        assert rating.reasons["goal"] == f"goal of side_{side}: {TASK.characters[side].name}."
        assert rating.overall == pytest.approx(sum(both[side] for both in SCORES.values()) / 7)
        assert Rating.from_dict(json.loads(json.dumps(rating.to_dict()))) == rating


def test_the_request_is_greedy_carries_the_schema_and_says_whose_it_is():
    _, (request,) = rate(GOOD)
    assert request.sampling.temperature == 0 and request.schema["additionalProperties"] is False
    assert (request.item_id, request.turn, request.role) == (EPISODE.id, 0, "judge")


def test_the_order_in_which_the_sides_are_written_does_not_matter():
    said = answer(TASK)
    (first, second), _ = rate(json.dumps({"side_1": said["side_1"], "side_0": said["side_0"]}))
    assert (first.scores["goal"], second.scores["goal"]) == SCORES["goal"]


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{GOOD}\n```",
        f"Let me think.\n{GOOD}\nDone.",
        f'<think>{{"side_0": maybe}}</think>\n{GOOD}',
    ],
)
def test_an_answer_among_other_words_is_read_and_the_schema_counts_as_ignored(text):
    (first, _), _ = rate(text)
    assert first.outcome == "ok" and first.scores["goal"] == 8 and first.raw[0]["schema"] == "ignored"


def swap_names(said):
    said["side_0"]["who"], said["side_1"]["who"] = said["side_1"]["who"], said["side_0"]["who"]


def swap_sides(said):
    said["side_0"], said["side_1"] = said["side_1"], said["side_0"]


def reordered(said):
    goal = said["side_0"]["goal"]
    said["side_0"]["goal"] = {"score": goal["score"], "reasoning": goal["reasoning"]}


INVALID = {
    "names swapped": (swap_names, "swapped"),
    "sides swapped": (swap_sides, "swapped"),
    "one side missing": (lambda said: said.pop("side_1"), "lacks side_1"),
    "a third side": (lambda said: said.update(side_2=said["side_0"]), "unknown fields"),
    "nobody's name": (lambda said: said["side_0"].update(who="side_0: Zoe"), "nobody in the scene"),
    "a name without its label": (lambda said: said["side_0"].update(who="Mia Davis"), "side_0: Mia Davis"),
    "no name": (lambda said: said["side_0"].pop("who"), "lacks who"),
    "a dimension missing": (lambda said: said["side_1"].pop("secret"), "side_1 lacks secret"),
    "an unknown dimension": (lambda said: said["side_1"].update(charm=said["side_1"]["goal"]), "charm"),
    "above the range": (score(11), "from 0 to 10"),
    "below the range": (score(-6, "relationship"), "from -5 to 5"),
    "positive where only loss counts": (score(3, "secret"), "from -10 to 0"),
    "a float": (score(7.0), "7.0"),
    "a number in a string": (score("7"), '"7"'),
    "a truth value": (score(True), "true"),
    "null": (score(None), "null"),
    "no number at all": (score(math.nan), "NaN"),
    "a bare score": (lambda said: said["side_0"].update(goal=7), "must be an object"),
    "no reasoning": (lambda said: said["side_0"]["goal"].pop("reasoning"), "lacks reasoning"),
    "blank reasoning": (lambda said: said["side_0"]["goal"].update(reasoning="  "), "a sentence"),
    "the score before the reasoning": (reordered, "reason first"),
}


@pytest.mark.parametrize("change, complaint", INVALID.values(), ids=INVALID)
def test_an_invalid_answer_is_refused_with_its_reason_and_asked_for_again(change, complaint):
    bad = changed(TASK, change)
    (first, second), requests = rate(bad, GOOD)
    assert first.outcome == second.outcome == "ok" and first.scores["goal"] == 8
    (_, repeated, correction) = requests[1].messages
    assert repeated.content == bad[: len(repeated.content)] and complaint in correction.content
    assert requests[1].messages[0] == requests[0].messages[0] and requests[1].schema == requests[0].schema
    assert complaint in first.raw[0]["problem"] and first.raw[1]["problem"] == ""


BROKEN = {
    "empty": "",
    "prose": "Both did well: 8 and 2.",
    "an array": "[1, 2]",
    "cut JSON": GOOD[:-40],
    "two answers": f"{GOOD}\n{GOOD}",
    "a side given twice": GOOD[:-1] + f', "side_0": {json.dumps(answer(TASK)["side_0"])}}}',
    "nested without end": '{"side_0": ' + "[" * 50_000,
    "a huge number": changed(TASK, score(11)).replace("11", "1" * 9000),
    "ten megabytes": GOOD + "x" * 10_000_000,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_text_that_never_becomes_an_answer_ends_as_invalid_without_any_score(text):
    (first, second), requests = rate(text, text, text)
    assert len(requests) == 3 and [r.seed for r in requests] != [requests[0].seed] * 3
    for rating in (first, second):
        assert rating.outcome == "invalid" and rating.overall is None and not rating.reasons
        assert dict(rating.scores) == dict.fromkeys(DIMENSIONS)
        assert rating.to_dict()["scores"] == dict.fromkeys(DIMENSIONS)
        assert len(json.dumps(rating.to_dict())) < 4 * MAX_CHARACTERS
    assert all(len(message.content) < 20_000 for request in requests for message in request.messages)


@pytest.mark.parametrize("replies, outcome", [([REFUSED], "refused"), ([CUT] * 3, "truncated"), ([DOWN], "api_error")])
def test_each_failure_has_its_outcome_and_is_never_a_zero(replies, outcome):
    (first, second), requests = rate(*replies)
    assert len(requests) == len(replies)
    for rating in (first, second):
        assert rating.outcome == outcome and rating.overall is None
        assert all(value is None for value in rating.to_dict()["scores"].values())


def test_a_refusal_is_no_answer_even_when_scores_stand_in_it():
    (first, _), _ = rate(replace(REFUSED, text=GOOD))
    assert first.outcome == "refused" and first.scores["goal"] is None


def test_an_answer_cut_off_at_the_limit_is_asked_for_again_in_fewer_words():
    (first, _), requests = rate(CUT, GOOD, sampling=Sampling(0.0, max_new_tokens=777))
    assert first.outcome == "ok" and "777 tokens" in requests[1].messages[-1].content


def test_an_outage_in_the_middle_is_no_answer_whatever_came_before():
    (first, _), requests = rate("what?", DOWN)
    assert first.outcome == "api_error" and [request.schema is None for request in requests] == [False, False]
    assert [call["schema"] for call in first.raw] == ["ignored", "unknown"]


def test_what_the_client_tells_of_a_call_is_kept():
    down = ServerReply("", outcome="api_error", finish_reason="error", failure="HTTP 503", retries=5)
    without = ServerReply(GOOD, unsupported=("response_format",))
    (first, _), _ = rate(down)
    assert (first.raw[0]["problem"], first.raw[0]["failure"], first.raw[0]["retries"]) == ("HTTP 503", "HTTP 503", 5)
    (alone, _), _ = rate(without)
    assert alone.outcome == "ok" and [call["schema"] for call in alone.raw] == ["not sent"]
    assert alone.raw[0]["unsupported"] == ["response_format"]


def test_every_attempt_is_kept_with_model_usage_time_and_prompt():
    replies = [
        Reply("what?", model="gpt-4-0613", usage={"prompt_tokens": 9, "completion_tokens": 2}, latency_s=1.5),
        Reply(GOOD, model="gpt-4-0613", usage={"prompt_tokens": 20, "completion_tokens": 80}, latency_s=2.5),
    ]
    pair, _ = rate(*replies)
    for rating in pair:
        assert [call["text"] for call in rating.raw] == ["what?", GOOD]
        assert [call["model"] for call in rating.raw] == ["gpt-4-0613"] * 2
        assert [call["usage"]["prompt_tokens"] for call in rating.raw] == [9, 20]
        assert [call["timing"]["latency_s"] for call in rating.raw] == [1.5, 2.5]
        assert [call["schema"] for call in rating.raw] == ["ignored", "honoured"]
        assert len({call["prompt_hash"] for call in rating.raw}) == 2


def test_words_no_file_can_hold_do_not_spoil_the_rating(tmp_path):
    said = changed(TASK, lambda said: said["side_0"]["goal"].update(reasoning="so \ud800 so"))
    pair, _ = rate(Reply(f"\ud800 {said}"))
    file = ItemFile(tmp_path / "ratings.jsonl")
    for rating in pair:
        file.append(rating.to_dict())
    assert pair[0].outcome == "ok" and "so ? so" in file.read()[0]["reasons"]["goal"]


def test_ids_follow_from_all_that_determines_the_rating_and_from_nothing_else():
    def ids(made_by, of=EPISODE):
        return [rating.id for rating in asyncio.run(made_by.rate(of, TASK))]

    def chat():
        return ScriptedReplies([GOOD])

    same = ids(judge(chat()))
    assert same == ids(judge(ScriptedReplies(["what?", GOOD]))) and len(set(same)) == 2
    others = [
        ids(judge(chat(), sampling=Sampling(0.5))),
        ids(judge(chat(), attempts=2)),
        ids(judge(chat(), seed=1)),
        ids(Judge(chat(), "gpt-4", "model-2")),
        ids(Judge(chat(), "gpt-4o", "model-1")),
        ids(judge(chat()), of=replace(EPISODE, id="episode-0")),
    ]
    assert len({rating_id for pair in [same, *others] for rating_id in pair}) == 14


def test_another_prompt_or_another_reader_gives_other_ids(monkeypatch):
    first = rate(GOOD)[0][0].id
    monkeypatch.setattr(judging, "judge_prompt_digest", lambda: "prompt-2")
    second = rate(GOOD)[0][0].id
    monkeypatch.setattr(judging, "judge_reader_digest", lambda: "reader-2")
    assert len({first, second, rate(GOOD)[0][0].id}) == 3


def test_what_must_not_be_rated_is_refused_before_a_call():
    chat = ScriptedReplies([])
    with pytest.raises(ValueError, match="policy_failed; only completed"):
        asyncio.run(judge(chat).rate(episode(TASK, "BC", 0, failed=True), TASK))
    with pytest.raises(ValueError, match="give its own task"):
        asyncio.run(judge(chat).rate(EPISODE, task(2, "lamp")))
    assert not chat.requests


@pytest.mark.parametrize(
    "settings, message", [({"attempts": 0}, "at least 1 call"), ({"name": "payoff"}, "the rule's own")]
)
def test_a_judge_without_calls_or_with_the_rules_name_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Judge(**({"chat": None, "name": "gpt-4", "model_digest": "m"} | settings))
