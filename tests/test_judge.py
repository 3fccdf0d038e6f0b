"""A judge's answer becomes two ratings or a named failure, is kept whole, and is never paid for twice."""

import asyncio
import json
import math
from dataclasses import replace

import pytest
from synthetic_run import episode, task
from toy_judge import SCORES, Thinker, answer, changed

from sotopia_pi.models.failures import ServerReply
from sotopia_pi.models.seam import Reply, Sampling, ScriptedReplies
from sotopia_pi.stages import judge as judging
from sotopia_pi.stages.judge import Judge, rate_episodes, reparse
from sotopia_pi.stages.judge_answer import MAX_CHARACTERS
from sotopia_pi.stages.rate import rate_payoffs
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.unanswered import earlier_attempts, set_aside
from sotopia_pi.world.ratings import DIMENSIONS, Rating

TASK = task(1, "lamp")
EPISODE = episode(TASK, "BC", 0)
GOOD = json.dumps(answer(TASK))


def judge(chat, **settings):
    return Judge(chat, "gpt-4", "model-1", **settings)


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


def score(value, dimension="goal"):
    return lambda said: said["side_1"][dimension].update(score=value)


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


REFUSED = Reply("I cannot rate this.", outcome="refused")
CUT = Reply(GOOD[:500], outcome="truncated", finish_reason="length")
DOWN = Reply("", outcome="api_error", finish_reason="error")


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


# Many episodes, a file, and starts that come to an early end.

TASKS = [task(n, f"lamp-{n % 3}") for n in range(6)]
EPISODES = [episode(one, "BC", side) for one in TASKS for side in (0, 1)]
TASK_OF = {played.id: one for one in TASKS for played in EPISODES if played.task_id == one.id}


def good_for(request):
    return json.dumps(answer(TASK_OF[request.item_id]))


class Count:
    """Counts what a progress bar would show."""

    done = failed = 0

    def advance(self, failed=False):
        self.done, self.failed = self.done + 1, self.failed + failed


def rate_all(chat, path, progress=None, episodes=EPISODES, **settings):
    work = rate_episodes(episodes, TASKS, judge(chat), ItemFile(path), progress or Count(), **settings)
    return asyncio.run(work)


def test_every_side_is_rated_in_order_and_written(tmp_path):
    path, progress, chat = tmp_path / "ratings.jsonl", Count(), Thinker(good_for)
    ratings = rate_all(chat, path, progress)
    assert [(r.episode_id, r.side) for r in ratings] == [(e.id, side) for e in EPISODES for side in (0, 1)]
    assert {item["id"]: item for item in ItemFile(path).read()} == {r.id: r.to_dict() for r in ratings}
    assert (progress.done, progress.failed, len(chat.requests)) == (12, 0, 12)


def test_a_second_start_calls_nothing(tmp_path):
    path = tmp_path / "ratings.jsonl"
    before = rate_all(Thinker(good_for), path)
    content = path.read_bytes()
    assert rate_all(ScriptedReplies([]), path) == before and path.read_bytes() == content


def test_a_failed_policy_is_left_out_and_an_unknown_task_stops_before_any_call(tmp_path):
    failed = episode(TASKS[0], "SR", 0, failed=True)
    ratings = rate_all(Thinker(good_for), tmp_path / "a.jsonl", episodes=[failed, EPISODES[0]])
    assert {rating.episode_id for rating in ratings} == {EPISODES[0].id}
    chat = Thinker(good_for)
    with pytest.raises(ValueError, match="not among those given"):
        rate_all(chat, tmp_path / "b.jsonl", episodes=[*EPISODES, episode(task(77, "other"), "BC", 0)])
    assert not chat.requests


@pytest.mark.parametrize("cut", [5, 0.3, 0.7, -5])
def test_a_torn_file_is_completed_with_what_is_missing_and_no_answer_is_paid_for_twice(tmp_path, cut):
    path = tmp_path / "ratings.jsonl"
    before = rate_all(Thinker(good_for), path, episodes=EPISODES[:2])
    whole = path.read_bytes()
    path.write_bytes(whole[: cut if isinstance(cut, int) else int(cut * len(whole))])
    answered = {item["episode_id"] for item in ItemFile(path).read()}
    chat = Thinker(good_for)
    assert rate_all(chat, path, episodes=EPISODES[:2]) == before
    assert {r.item_id for r in chat.requests} == {e.id for e in EPISODES[:2]} - answered
    assert sorted(item["id"] for item in ItemFile(path).read()) == sorted(rating.id for rating in before)


def test_a_side_whose_line_was_lost_is_read_again_from_its_twin(tmp_path):
    path = tmp_path / "ratings.jsonl"
    before = rate_all(Thinker(good_for), path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[::2]))
    assert rate_all(ScriptedReplies([]), path) == before
    assert len(path.read_bytes().splitlines()) == len(lines)


def test_named_failures_are_done_too_and_only_what_got_no_answer_is_asked_again_once_set_aside(tmp_path):
    path, progress = tmp_path / "ratings.jsonl", Count()
    down, mute = EPISODES[0].id, EPISODES[1].id

    def moody(request):
        return {down: DOWN, mute: REFUSED}.get(request.item_id) or good_for(request)

    first = {r.episode_id: r.outcome for r in rate_all(Thinker(moody), path, progress)}
    assert (first[down], first[mute], progress.done, progress.failed) == ("api_error", "refused", 12, 2)
    assert {r.outcome for r in rate_all(ScriptedReplies([]), path)} == {"ok", "refused", "api_error"}
    chat = Thinker(good_for)
    assert set_aside(ItemFile(path)) == 2
    again = {r.episode_id: r.outcome for r in rate_all(chat, path)}
    assert [request.item_id for request in chat.requests] == [down]
    assert again == first | {down: "ok"}
    aside = [attempt for attempts in earlier_attempts(path).values() for attempt in attempts]
    assert [(item["episode_id"], item["outcome"]) for item in aside] == [(down, "api_error")] * 2


def test_one_episode_that_raises_and_one_that_waits_hold_up_none_of_the_others(tmp_path):
    path, released = tmp_path / "ratings.jsonl", asyncio.Event()

    class OpensAtTheEnd(Count):
        def advance(self, failed=False):
            super().advance(failed)
            if self.done == len(EPISODES) - 2:
                released.set()

    class Uneven(Thinker):
        async def complete(self, request):
            if request.item_id == EPISODES[0].id:
                raise OSError("the cable is out")
            if request.item_id == EPISODES[1].id:
                await asyncio.wait_for(released.wait(), 5)
            return await super().complete(request)

    with pytest.raises(RuntimeError, match=r"1 of 12 episodes could not be rated by 'gpt-4'.*the cable is out"):
        rate_all(Uneven(good_for), path, OpensAtTheEnd(), at_once=3)
    assert {item["episode_id"] for item in ItemFile(path).read()} == {e.id for e in EPISODES[1:]}
    chat = Thinker(good_for)
    assert len(rate_all(chat, path)) == 24 and len(chat.requests) == 1


def test_no_more_calls_run_side_by_side_than_allowed(tmp_path):
    running = peak = 0

    class Busy(Thinker):
        async def complete(self, request):
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            reply = await super().complete(request)
            running -= 1
            return reply

    rate_all(Busy(good_for), tmp_path / "ratings.jsonl", at_once=4)
    assert peak == 4


def test_two_judges_and_the_rule_share_one_file_and_one_schema(tmp_path):
    file = ItemFile(tmp_path / "ratings.jsonl")
    by_rule = rate_payoffs(EPISODES, TASKS, file)
    judges = [Judge(Thinker(good_for), name, name) for name in ("gpt-4", "gpt-4o")]
    rated = [asyncio.run(rate_episodes(EPISODES, TASKS, one, file, Count())) for one in judges]
    assert [len(one.chat.requests) for one in judges] == [12, 12]
    items = file.read()
    assert len(items) == len(by_rule) + sum(map(len, rated)) == 72
    assert len({tuple(item) for item in items}) == 1 and {item["schema"] for item in items} == {"rating/1"}


def test_reading_again_gives_the_same_ratings_and_calls_nothing(tmp_path):
    replies = iter(["what?", GOOD, REFUSED, CUT, CUT, CUT, DOWN, changed(TASK, score(11)), "{", ""])
    chat = Thinker(lambda request: next(replies))
    played = [replace(EPISODE, id=f"episode-{n}") for n in range(5)]
    ratings = asyncio.run(
        rate_episodes(played, [TASK], judge(chat), ItemFile(tmp_path / "r.jsonl"), Count(), at_once=1)
    )
    assert [r.outcome for r in ratings[::2]] == ["ok", "refused", "truncated", "api_error", "invalid"]
    asked = len(chat.requests)
    stored = [Rating.from_dict(item) for item in ItemFile(tmp_path / "r.jsonl").read()]
    assert reparse(stored) == ratings == reparse(ratings) and len(chat.requests) == asked == 10


def test_reading_again_takes_todays_rules_to_the_kept_text(tmp_path, monkeypatch):
    path = tmp_path / "ratings.jsonl"
    strict = rate_all(Thinker(lambda request: good_for(request).replace("8", "8.0")), path, episodes=EPISODES[:1])
    assert strict[0].outcome == "invalid"
    mended = judging.read_answer
    monkeypatch.setattr(judging, "read_answer", lambda text, sides: mended(text.replace("8.0", "8"), sides))
    monkeypatch.setattr(judging, "judge_reader_digest", lambda: "reader-mended")
    again = reparse(strict)
    assert [r.outcome for r in again] == ["ok", "ok"] and again[0].scores["goal"] == 8
    assert rate_all(ScriptedReplies([]), path, episodes=EPISODES[:1]) == again
    assert {r.id for r in strict} | {r.id for r in again} == ItemFile(path).ids() and len(ItemFile(path).ids()) == 4


def test_ratings_by_rule_have_no_text_and_stay_as_they_are(tmp_path):
    by_rule = rate_payoffs([EPISODE], [TASK], ItemFile(tmp_path / "r.jsonl"))
    assert len(by_rule) == 2 and reparse(by_rule) == by_rule
