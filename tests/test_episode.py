"""Episodes: turn rules, what each side sees, ids and seeds, failures that stay failures."""

import asyncio
from dataclasses import replace

import pytest

from sotopia_pi.stages.simulate import against, collect, training_plans
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.store.items import ItemFile
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.episode import Decision, Episode, EpisodePlan, Rules, observe, play


def self_play(tasks, policy, repeats=1):
    return training_plans(tasks, policy, policy, Rules(), 0, "x", partner_share=0.0, repeats=repeats)


TASK = draw_tasks("eval", TaskCounts(4), seed=0)[0]


class Says:
    """A policy that plays a list of decisions in order and keeps what it saw."""

    def __init__(self, *decisions, name="says"):
        self.name, self.digest = name, f"{name}-{decisions!r}"
        self.decisions, self.seen, self.seeds = list(decisions), [], []

    async def act(self, observation, seed):
        self.seen.append(observation)
        self.seeds.append(seed)
        done = sum(turn.side == observation.side for turn in observation.turns)
        return self.decisions[min(done, len(self.decisions) - 1)]


class Counting:
    """Progress that only counts."""

    def __init__(self):
        self.done = 0

    def advance(self, failed=False):
        self.done += 1


def speak(text="hello"):
    return Decision(Action("speak", text))


NOTHING, LEAVE, FAILED = Decision(Action("none")), Decision(Action("leave")), Decision(None, failure="no end")


def run(first, second, rules=None, task=TASK):
    return asyncio.run(play(EpisodePlan(task, (first, second), rules or Rules(), seed=0)))


def test_sides_take_turns_and_side_0_begins():
    episode = run(Says(speak("a")), Says(speak("b"), LEAVE))
    assert [(t.side, t.action.argument) for t in episode.turns[:3]] == [(0, "a"), (1, "b"), (0, "a")]
    assert episode.ending == "left"


@pytest.mark.parametrize(("semantics", "turns"), [("ge", 6), ("gt", 7)])
def test_the_turn_limit_ends_an_episode_by_its_recorded_semantics(semantics, turns):
    episode = run(Says(speak()), Says(speak()), Rules(turn_limit=6, limit_semantics=semantics))
    assert (len(episode.turns), episode.ending) == (turns, "turn_limit")
    assert episode.rules["limit_semantics"] == semantics


def test_two_silent_turns_go_on_and_the_third_ends():
    episode = run(Says(speak(), NOTHING), Says(NOTHING))
    assert (len(episode.turns), episode.ending) == (4, "silence")


def test_a_failure_is_policy_failed_and_never_a_chosen_none():
    episode = run(Says(speak()), Says(FAILED))
    assert episode.outcome == "policy_failed" and episode.ending == "failed"
    assert "side 1, turn 1: no end" in episode.failure


def test_a_preset_may_let_a_marked_none_stand_in():
    episode = run(Says(speak(), LEAVE), Says(FAILED), Rules(on_failure="none"))
    assert [t.failed for t in episode.turns] == [False, True, False]
    assert episode.turns[1].action.type == "none" and episode.outcome == "completed"
    again = Episode.from_dict(episode.to_dict())
    assert again.turns[1].failed and again == episode


def test_a_chosen_none_is_not_marked():
    episode = run(Says(NOTHING, LEAVE), Says(speak()))
    assert episode.turns[0].action.type == "none" and not episode.turns[0].failed


def test_nothing_private_to_the_other_side_is_observed():
    first, second = TASK.characters
    marked = replace(
        TASK,
        characters=(replace(first, secret="CANARY secret 0"), replace(second, secret="CANARY secret 1")),
        scenario=replace(TASK.scenario, goals=("CANARY goal 0", "CANARY goal 1")),
    )
    for side in (0, 1):
        seen = repr(observe(marked, side, [], Rules()))
        assert f"CANARY goal {side}" in seen and f"CANARY secret {side}" in seen
        assert f"CANARY goal {1 - side}" not in seen and f"CANARY secret {1 - side}" not in seen
        assert repr(TASK.payoff.sides[1 - side]) not in seen


def test_ids_depend_on_all_that_decides_and_on_nothing_else():
    plan = EpisodePlan(TASK, (Says(speak(), name="a"), Says(speak(), name="b")), Rules(), seed=0)
    assert plan.id == EpisodePlan(TASK, (Says(speak(), name="a"), Says(speak(), name="b")), Rules(), seed=0).id
    others = [
        replace(plan, seed=1),
        replace(plan, repeat=1),
        replace(plan, rules=Rules(turn_limit=19)),
        replace(plan, policies=plan.policies[::-1]),
        replace(plan, task=replace(TASK, hard=not TASK.hard)),
    ]
    assert len({plan.id, *(other.id for other in others)}) == 6


def test_an_episode_and_its_task_are_hashed_once_however_many_turns(monkeypatch):
    hashed = []
    for module in ("tasks", "episode"):
        monkeypatch.setattr(f"sotopia_pi.world.{module}.content_id", lambda kind, _: hashed.append(kind) or f"{kind}-1")
    run(Says(speak()), Says(speak()), task=replace(TASK))
    assert sorted(hashed) == ["episode", "task"]


def test_two_repeats_of_a_task_draw_different_seeds():
    policies = [Says(speak(), LEAVE), Says(speak(), LEAVE)]
    for policy, plan in zip(policies, self_play([TASK], policies[0], repeats=2), strict=True):
        asyncio.run(play(replace(plan, policies=(policy, policy))))
    assert policies[0].seeds != policies[1].seeds


def test_the_agent_plays_both_speaking_orders():
    agent, partner = Says(speak(), name="agent"), Says(speak(), name="partner")
    plans = against([TASK], agent, partner, Rules(), 0, "agent")
    assert [(p.agent_side, p.policies[p.agent_side].name) for p in plans] == [(0, "agent"), (1, "agent")]


def test_collecting_again_plays_only_what_is_missing(tmp_path):
    tasks = draw_tasks("eval", TaskCounts(8), seed=0)
    file = ItemFile(tmp_path / "episodes.jsonl")
    plans = self_play(tasks, Says(speak(), LEAVE))
    asyncio.run(collect(plans[:3], file, Counting()))
    file.path.write_bytes(file.path.read_bytes() + b'{"id": "torn')
    progress = Counting()
    played = asyncio.run(collect(plans, ItemFile(file.path), progress))
    assert (played.found, progress.done, len(ItemFile(file.path).read())) == (3, 5, 8)


def test_one_broken_episode_does_not_spoil_the_others(tmp_path):
    class Breaks(Says):
        async def act(self, observation, seed):
            if observation.task_id == tasks[1].id:
                raise RuntimeError("the line is dead")
            return LEAVE

    tasks = draw_tasks("eval", TaskCounts(4), seed=0)
    file = ItemFile(tmp_path / "episodes.jsonl")
    with pytest.raises(RuntimeError, match="1 of 4 episodes could not be played") as caught:
        asyncio.run(collect(self_play(tasks, Breaks(LEAVE)), file, Counting()))
    assert "the line is dead" in str(caught.value)
    assert len(file.read()) == 3


def test_turns_round_trip_with_their_calls():
    turn = Turn(3, 1, Action("action", "nods"), calls=({"text": "[action] nods", "token_ids": [1, 2]},))
    assert Turn.from_dict(turn.to_dict()) == turn
