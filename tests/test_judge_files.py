"""A judge over many episodes: a file, and starts that come to an early end."""

import asyncio
import json
from dataclasses import replace

import pytest
from synthetic_run import episode, task
from toy_judge import CUT, DOWN, EPISODE, GOOD, REFUSED, TASK, Thinker, answer, changed, judge, score

from sotopia_pi.models.seam import ScriptedReplies
from sotopia_pi.stages import judge as judging
from sotopia_pi.stages.judge import Judge, rate_episodes, reparse
from sotopia_pi.stages.rate import rate_payoffs
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.unanswered import earlier_attempts, set_aside
from sotopia_pi.world.ratings import Rating

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
