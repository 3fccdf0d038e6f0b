"""Safety tasks: own scenarios with other people in each, both roles, and the published scenario where a run has it."""

import re
from collections import Counter
from pathlib import Path

import pytest
from sotopia_records import agent, combination, environment, folder, needs_published, published, relationship
from toy_safety import safety_task

from sotopia_pi.formats.sotopia_profiles import read_profiles
from sotopia_pi.formats.sotopia_tasks import PublishedWorld, published_tasks
from sotopia_pi.stages.safety_tasks import (
    AGGRESSOR,
    PREVENTER,
    SafetyTask,
    own_scenarios,
    own_tasks,
    published_among,
    repeated,
)
from sotopia_pi.stages.tasks import SPLITS, TaskCounts, draw_tasks, overlap
from sotopia_pi.world.characters import Relationship
from sotopia_pi.world.population import characters


def test_the_own_scenarios_name_nobody_and_tell_the_plan_to_its_owner_only():
    scenarios = own_scenarios()
    assert len(scenarios) >= 6 and len({one.id for one in scenarios}) == len(scenarios)
    names = {word for one in characters().values() for word in one.name.split() if len(word) > 3}
    for one in scenarios:
        harm, prevention = one.goals
        assert not names & set(re.findall(r"\w+", f"{one.text} {harm} {prevention}")), one.id
        assert "hatred" in harm and "hatred" not in f"{one.text} {prevention}"
        assert not re.search(r"\b(he|she|his|her|him|hers)\b", f"{one.text} {harm} {prevention}", re.IGNORECASE), one.id


def test_thirty_tasks_differ_and_begin_with_the_first_nine():
    tasks = own_tasks(30, seed=0)
    assert len({one.id for one in tasks}) == 30
    assert [one.id for one in tasks[:9]] == [one.id for one in own_tasks(9, seed=0)]
    assert [one.id for one in own_tasks(9, seed=1)] != [one.id for one in tasks[:9]]
    assert all(one.task.scenario.relationship == Relationship.ACQUAINTANCE and one.task.background for one in tasks)
    people = {(one.task.template, frozenset(person.id for person in one.task.characters)) for one in tasks}
    assert len(people) == 30, "no scenario meets the same two again"


def test_who_speaks_first_is_the_aggressor_in_half_of_the_tasks():
    assert Counter(one.aggressor for one in own_tasks(32, seed=3)) == {0: 16, 1: 16}
    for one in own_tasks(16, seed=0):
        assert "hatred" in one.task.scenario.goals[one.side_of(AGGRESSOR)]
        assert one.side_of(PREVENTER) == 1 - one.aggressor and one.role_of(one.aggressor) == AGGRESSOR


def test_more_tasks_than_there_are_pairs_are_refused_with_the_number_that_there_is():
    most = len(own_tasks(224, seed=0))
    with pytest.raises(ValueError, match=rf"{most + 1} safety tasks are asked for; {most} can be made"):
        own_tasks(most + 1, seed=0)


def test_a_task_comes_back_from_its_record_and_a_third_side_is_refused():
    one = safety_task(aggressor=1)
    assert SafetyTask.from_dict(one.to_dict()) == one and one.to_dict()["id"] == one.id
    with pytest.raises(ValueError, match="aggressor is side 2; a task has sides 0 and 1"):
        SafetyTask(one.task, 2)
    with pytest.raises(
        ValueError, match="role 'judge' is none of the safety evaluation; allowed: aggressor, preventer"
    ):
        one.side_of("judge")


def test_safety_tasks_share_no_template_and_no_text_with_training():
    training = [task for split in SPLITS for task in draw_tasks(split, TaskCounts(40), seed=0)]
    overlap(training, [one.task for one in own_tasks(30, seed=0)]).check()


def test_the_published_scenario_is_found_by_its_codename_and_repeated_to_fill_a_cell(tmp_path):
    plot = environment("e-plot", "revenge_plot", relationship="2")
    place = folder(
        tmp_path,
        environments=[environment(), plot],
        combinations=[combination(), combination("c-2", "e-plot")],
    )
    assert agent() and relationship()
    evaluated = published_tasks(PublishedWorld(read_profiles(place))).tasks
    tasks = published_among(evaluated)
    assert [one.task.template for one in tasks] == ["e-plot"] and tasks[0].aggressor == 0
    assert not {one.id for one in tasks} & {task.id for task in evaluated}, "an episode of stage 06 is another one"
    assert [repeat for _, repeat in repeated(tasks, 3)] == [0, 1, 2]
    assert repeated([], 9) == []
    two = [safety_task(0), safety_task(1)]
    assert [(one.aggressor, repeat) for one, repeat in repeated(two, 5)] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]


@needs_published
def test_the_published_profiles_hold_revenge_plot_for_five_pairs():
    tasks = published_among(published_tasks(PublishedWorld(read_profiles(Path(published())))).tasks)
    assert len(tasks) == 5 and all("Injure" in one.task.scenario.goals[one.side_of(AGGRESSOR)] for one in tasks)
