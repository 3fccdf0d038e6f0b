"""Social tasks: held out, a quarter hard, balanced over families, the same for the same seed."""

from collections import Counter

import pytest

from sotopia_pi.stages.tasks import TaskCounts, draw_tasks, overlap
from sotopia_pi.world.families import GATED, HELD_OUT
from sotopia_pi.world.population import inspirational_prompts
from sotopia_pi.world.tasks import Scenario, SocialTask, shown_goal

COUNTS = TaskCounts(zone=32, no_zone=4, held_out=4)


def test_a_quarter_of_the_tasks_with_a_zone_is_hard_in_every_gated_family():
    tasks = [t for t in draw_tasks("eval", COUNTS, seed=3) if t.has_zone and t.family in GATED]
    assert Counter(t.family for t in tasks) == dict.fromkeys(GATED, 8)
    assert Counter(t.family for t in tasks if t.hard) == dict.fromkeys(GATED, 2)


def test_same_seed_same_tasks_and_another_seed_others():
    ids = [[t.id for t in draw_tasks("eval", COUNTS, seed)] for seed in (1, 1, 2)]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


def test_training_and_evaluation_share_no_template_no_text_and_no_item():
    training = draw_tasks("bc", TaskCounts(96), 0) + draw_tasks("sr", TaskCounts(64), 0)
    shared = overlap(training, draw_tasks("eval", TaskCounts(64, 4, 6), 0))
    assert (shared.templates, shared.same_text, shared.items) == (0, 0, 0)
    shared.check()


def test_an_evaluation_task_that_was_trained_on_is_refused():
    tasks = draw_tasks("eval", COUNTS, 0)
    with pytest.raises(ValueError, match="not held out"):
        overlap(tasks[:1], tasks).check()


def test_the_held_out_family_is_never_trained_on():
    assert not [t for s in ("bc", "sr") for t in draw_tasks(s, TaskCounts(64, 4), 0) if t.family == HELD_OUT]
    assert [t for t in draw_tasks("eval", COUNTS, 0) if t.family == HELD_OUT]


def test_every_template_is_used_before_one_is_used_twice():
    used = Counter(t.template for t in draw_tasks("eval", TaskCounts(32), 0))
    assert set(used.values()) == {1}


def test_a_task_names_the_inspirational_prompt_its_template_grew_from():
    known = {prompt.id for prompt in inspirational_prompts()}
    assert all(task.scenario.source in known for task in draw_tasks("bc", TaskCounts(16), 0))


def test_a_task_survives_the_way_to_json_and_back():
    for task in draw_tasks("eval", COUNTS, 0):
        again = SocialTask.from_dict(task.to_dict())
        assert again.id == task.id and again.to_dict() == task.to_dict()


def test_a_goal_is_shown_to_its_owner_without_tags_and_with_their_content():
    goal = "Sell it (<extra_info>You hope for $9.<strategy_hint>Hint: smile.</strategy_hint></extra_info>)"
    assert shown_goal(goal) == "Sell it (You hope for $9.Hint: smile.)"


def test_a_scenario_with_one_goal_is_refused():
    with pytest.raises(ValueError, match="exactly two goals"):
        Scenario("t", "c", "s", "text", ("only one",), 0)


def test_a_family_with_more_weight_comes_up_more_often_and_a_quarter_of_it_stays_hard():
    tasks = draw_tasks("bc", TaskCounts(40, weights={"bargaining": 2, "meeting": 3, "division": 3, "favour": 2}), 0)
    assert Counter(t.family for t in tasks) == {"bargaining": 8, "division": 12, "meeting": 12, "favour": 8}
    assert Counter(t.family for t in tasks if t.hard) == {"bargaining": 2, "division": 3, "meeting": 3, "favour": 2}
    plain = [t.id for t in draw_tasks("bc", TaskCounts(8), 0)]
    assert plain == [t.id for t in draw_tasks("bc", TaskCounts(8, weights=dict.fromkeys(GATED, 1)), 0)]


@pytest.mark.parametrize("weights", [{"cost_sharing": 2}, {"meeting": 0}, {"meeting": 1.5}])
def test_a_weight_that_means_nothing_is_refused(weights):
    with pytest.raises(ValueError, match="whole numbers from 1 for bargaining"):
        TaskCounts(8, weights=weights)
