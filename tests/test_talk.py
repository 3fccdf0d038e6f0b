"""A talk between a person and a policy: an ordinary episode, which can stop, go on, and lie safely on the disk."""

import asyncio
from dataclasses import dataclass, replace

import pytest
from toy_company import away, telling, until
from toy_talk import CANARY, task
from toy_talks import price_task

from sotopia_pi.analysis.talk_view import side_html, talk_html
from sotopia_pi.models.negotiator import expert
from sotopia_pi.models.person import HUMAN, Person
from sotopia_pi.stages.talk import Beginning, Talk, Unfinished
from sotopia_pi.stages.talk_files import TalkFiles
from sotopia_pi.world.actions import Action
from sotopia_pi.world.characters import Relationship
from sotopia_pi.world.episode import Decision, Episode, EpisodePlan, Rules, play
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.scoring import rate_by_payoff

TASK = task()
RULES = Rules(turn_limit=6)
SOON_S = 20.0
"""A talk that has not ended by then hangs."""
HELLO, OFFER, LEAVE = Action("speak", "Hello."), Action("speak", "I could do $50."), Action("leave")


def begun(agent, side=0, number=1, started_ms=1_700_000_000_000, turns=(), of=TASK, heard=None, seen=None, rules=RULES):
    """A talk with this policy. seen: gathers whose turn it was, with what that side saw."""
    seen, heard = [] if seen is None else seen, [] if heard is None else heard
    beginning = Beginning(of.id, side, "BC", number, started_ms)
    return Talk(beginning, of, agent, rules, seen.append, heard.append, turns)


async def says(talk: Talk, *actions: Action):
    """Take the person's next turns."""
    for action in actions:
        await until(lambda: talk.person.is_asked, "the person's turn")
        talk.person.decide(action)


async def together(talk: Talk, *actions: Action) -> Episode:
    episode, _ = await asyncio.wait_for(asyncio.gather(talk.play(), says(talk, *actions)), SOON_S)
    return episode


@dataclass(frozen=True)
class Prepared:
    """A policy that does in an ordinary episode what the person did, with the same digest and so the same seeds."""

    actions: tuple[Action, ...]
    name: str = HUMAN
    digest: str = Person.digest

    async def act(self, observation, seed):
        return Decision(self.actions[len(observation.turns) // 2])


def test_a_talk_is_an_episode_like_any_other_marked_as_human():
    episode = asyncio.run(together(begun(telling("Hi.", "Deal, $50."), side=0), HELLO, OFFER, LEAVE))
    assert [turn.side for turn in episode.turns] == [0, 1, 0, 1, 0]
    assert episode.turns[1].action == Action("speak", "Hi.") and episode.turns[1].calls
    assert (episode.ending, episode.outcome, episode.tag, episode.agent_side) == ("left", "completed", HUMAN, 1)
    assert episode.policies[0] == {"name": HUMAN, "digest": Person.digest} and episode.policies[1]["name"] == "BC"
    assert Episode.from_dict(episode.to_dict()) == episode
    assert {rating.outcome for rating in rate_by_payoff(episode, TASK)} == {"ok"}


@pytest.mark.parametrize("side", [0, 1])
def test_the_policy_is_asked_exactly_as_in_an_ordinary_episode_and_never_sees_what_is_private(side):
    replies = ("Hi.", "Maybe.", "No.")
    live, ordinary = telling(*replies), telling(*replies)
    episode = asyncio.run(together(begun(live, side), HELLO, OFFER, LEAVE))
    prepared = Prepared((HELLO, OFFER, LEAVE))
    pair = (prepared, ordinary) if side == 0 else (ordinary, prepared)
    plan = EpisodePlan(TASK, pair, RULES, 1_700_000_000_000, 1, 1 - side, HUMAN)
    assert asyncio.run(play(plan)) == episode
    assert live.chat.requests == ordinary.chat.requests, "every message, every seed"
    me, other = ("Ann", "Bea") if side == 0 else ("Bea", "Ann")
    prompts = repr(live.chat.requests)
    assert f"{CANARY}-{other}-secret" in prompts and f"{CANARY}-{other}-goal" in prompts
    assert f"{CANARY}-{me}" not in prompts


@pytest.mark.parametrize("level", list(Relationship))
@pytest.mark.parametrize("side", [0, 1])
def test_the_person_sees_their_own_side_and_nothing_private_of_the_other(side, level):
    async def first_view():
        talk = begun(telling("Hi."), side, of=task(level))
        playing = asyncio.ensure_future(talk.play())
        await until(lambda: talk.person.is_asked, "the person's turn")
        playing.cancel()
        return side_html(talk.seen) + talk_html(talk.seen, "")

    page = asyncio.run(first_view())
    me, other = ("Ann", "Bea") if side == 0 else ("Bea", "Ann")
    assert f"{CANARY}-{me}-goal" in page and f"{CANARY}-{me}-secret" in page
    assert f"{CANARY}-{other}" not in page and "guarded" not in page
    assert (f"{other} Lee" in page) == (level >= Relationship.KNOW_BY_NAME)


def test_two_talks_differ_and_the_same_beginning_is_the_same_episode():
    ids = {begun(telling(), number=n, started_ms=at).id for n, at in [(1, 5), (1, 5), (2, 5), (1, 6)]}
    assert len(ids) == 3
    assert begun(telling(name="base")).id != begun(telling()).id


def test_a_reply_can_be_stopped_and_asked_for_again_without_losing_a_turn():
    async def stopped():
        agent, heard = telling("Hi there you.", "Hi there you.", hold=True), []
        talk = begun(agent, heard=heard)
        playing = asyncio.ensure_future(talk.play())
        await says(talk, HELLO)
        await until(lambda: heard[-1:] == ["Hi"], "the first word")
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        assert [turn.action for turn in talk.turns] == [HELLO] and agent.chat.given_up == 1
        agent.chat.release()
        return agent, await together(talk, LEAVE)

    agent, episode = asyncio.run(stopped())
    assert [turn.action for turn in episode.turns] == [HELLO, Action("speak", "Hi there you."), LEAVE]
    assert agent.chat.requests[0] == agent.chat.requests[1], "the same question, with the same seed"


def test_a_server_that_is_away_loses_nothing_and_the_talk_goes_on_another_day():
    talk = begun(telling("Hi.", away()))
    failed = asyncio.run(together(talk, HELLO, OFFER))
    assert failed.outcome == "policy_api_error" and "the connection failed" in failed.failure
    kept = Unfinished.from_dict(talk.unfinished.to_dict())
    assert kept == talk.unfinished and [turn.action for turn in kept.turns] == [HELLO, Action("speak", "Hi."), OFFER]
    later = begun(telling("Deal, $50."), turns=kept.turns)
    episode = asyncio.run(together(later, LEAVE))
    assert episode.id == kept.id == talk.id and episode.turns[:3] == kept.turns and episode.ending == "left"


def test_whoever_ends_while_the_other_speaks_leaves_right_after():
    async def ended():
        agent, heard = telling("Hi there.", hold=True), []
        talk = begun(agent, heard=heard)
        playing = asyncio.ensure_future(talk.play())
        await says(talk, HELLO)
        await until(lambda: heard[-1:] == ["Hi"], "the first word")
        talk.leave()
        agent.chat.release()
        return await asyncio.wait_for(playing, SOON_S)

    episode = asyncio.run(ended())
    assert [turn.action for turn in episode.turns] == [HELLO, Action("speak", "Hi there."), LEAVE]


def test_an_unparsable_reply_counts_as_the_rules_say():
    stand_in = asyncio.run(together(begun(telling("[dance]", "[dance]"), rules=Rules(on_failure="none")), HELLO, LEAVE))
    assert stand_in.turns[1].failed and stand_in.outcome == "completed"
    strict = asyncio.run(together(begun(telling("[dance]", "[dance]")), HELLO))
    assert strict.outcome == "policy_failed" and "unknown tag" in strict.failure and len(strict.turns) == 2


def test_nobody_takes_the_others_turn():
    talk = begun(telling())
    with pytest.raises(RuntimeError, match="other one's turn"):
        talk.person.decide(HELLO)


def test_a_scripted_policy_answers_at_once_and_has_words_for_its_own_tasks_only():
    episode = asyncio.run(together(begun(expert(0), of=price_task()), Action("speak", "Would $190 do?"), LEAVE))
    assert episode.turns[1].action.argument and episode.policies[1]["name"] == expert(0).name
    with pytest.raises(ValueError, match="has no words for such deals"):
        begun(expert(0), of=replace(TASK, payoff=replace(TASK.payoff, family="deal-or-no-deal")))


@pytest.fixture
def files(tmp_path) -> TalkFiles:
    made = TalkFiles(tmp_path / "12_talk_to_the_agent")
    made.begin()
    return made


def test_talks_are_added_and_never_moved_or_rewritten(files):
    first = asyncio.run(together(begun(telling("Hi.")), HELLO, LEAVE))
    files.save(first, TASK)
    files.rate(rate_by_payoff(first, TASK))
    before = {path.name: path.read_bytes() for path in files.folder.glob("*.jsonl")}
    with (files.folder / "episodes.jsonl").open("ab") as file:
        file.write(b'{"schema": "episode/1", "id": "torn')
    files.begin()
    second = asyncio.run(together(begun(telling("Hi."), number=files.next_number()), HELLO, LEAVE))
    files.save(second, TASK)
    files.rate(rate_by_payoff(first, TASK))
    with pytest.raises(ValueError, match="was saved before"):
        files.save(first, TASK)
    talks = files.talks()
    assert talks.episodes == (first, second) and second.repeat == 2 and len(talks.ratings) == 2
    assert list(talks.tasks) == [TASK.id] and talks.tasks[TASK.id] == TASK
    for name, text in before.items():
        assert (files.folder / name).read_bytes().startswith(text), name


def test_an_unfinished_talk_is_kept_until_it_has_ended(files):
    talk = begun(telling("Hi.", away()))
    asyncio.run(together(talk, HELLO, OFFER))
    files.keep(talk.unfinished)
    assert files.unfinished() == [talk.unfinished] and files.next_number() == 2
    episode = asyncio.run(together(begun(telling("Hm."), turns=talk.turns), LEAVE))
    files.save(episode, TASK)
    assert files.unfinished() == []
    files.keep(talk.unfinished)
    assert files.unfinished() == [], "a window that lags behind brings nothing back"


def test_a_rating_that_no_server_gave_is_left_to_the_next_start(files):
    episode = asyncio.run(together(begun(telling("Hi.")), HELLO, LEAVE))
    files.save(episode, TASK)
    files.rate(Rating(f"rating-{side}", episode.id, side, "gpt", "api_error", {}) for side in (0, 1))
    assert files.talks().ratings == ()
