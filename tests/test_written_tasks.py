"""Tasks of written scenarios: who plays them, as the draw and the ages allow."""

import pytest
from toy_writer import scenario

from sotopia_pi.models.seam import ScriptedReplies
from sotopia_pi.stages.judged_tasks import social_tasks
from sotopia_pi.stages.task_writer import TaskWriter
from sotopia_pi.world.population import characters, related_pairs


def test_a_scenario_gets_ten_different_pairs_of_its_level_and_ages():
    drawn = social_tasks([scenario("a", level=3), scenario("b", level=5, ages=(25, 45))], seed=0)
    stories = {frozenset((p.first, p.second)): p for p in related_pairs()}
    for task in drawn.tasks:
        people = frozenset(person.id for person in task.characters)
        assert stories[people].level == task.scenario.relationship and stories[people].story == task.background
        assert all(task.scenario.age_range[0] <= c.age <= task.scenario.age_range[1] for c in task.characters)
        assert task.payoff is None and task.family == "judged" and task.split == "bc"
    of_a = [frozenset(c.id for c in task.characters) for task in drawn.tasks if task.template == "a"]
    assert len(of_a) == len(set(of_a)) == 10
    assert len({task.id for task in drawn.tasks}) == len(drawn.tasks)


def test_where_fewer_pairs_fit_they_are_all_taken_and_the_shortage_is_counted():
    family = [p for p in related_pairs(5) if all(18 <= characters()[i].age <= 36 for i in (p.first, p.second))]
    assert 0 < len(family) < 10, "the test needs a level and ages with few pairs"
    drawn = social_tasks([scenario("few", 5, (18, 36)), scenario("none", 5, (18, 18)), scenario("all")], seed=0)
    assert drawn.short == {"few": len(family), "none": 0}
    assert drawn.counts()["tasks"] == len(family) + 10
    assert drawn.counts()["scenarios dropped: no pair fits level and ages"] == 1


def test_what_a_scenario_gets_depends_on_the_seed_and_on_itself_alone():
    def people(seed, names, of):
        tasks = social_tasks([scenario(name) for name in names], seed, pairs_per_scenario=4).tasks
        return [tuple(c.id for c in task.characters) for task in tasks if task.template == of]

    assert people(0, "a", of="a") == people(0, "bac", of="a") != people(1, "a", of="a")
    assert people(0, "bac", of="a") != people(0, "bac", of="b"), "no scenario gets the pairs of another"


def test_other_people_can_be_brought_along():
    first, second, *_ = characters().values()

    def pairs(level, ages, rng):
        return [(first, second, f"level {level}, {ages}")]

    drawn = social_tasks([scenario("a", 4)], 0, split="sr", pairs=pairs)
    (task,) = drawn.tasks
    assert task.characters == (first, second) and task.background == "level 4, (18, 70)" and task.split == "sr"


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="split 'test'"):
        social_tasks([scenario("a")], 0, split="test")
    with pytest.raises(ValueError, match="a came more than once"):
        social_tasks([scenario("a"), scenario("a")], 0)
    with pytest.raises(ValueError, match="attempts is 0"):
        TaskWriter(ScriptedReplies([]), "m", attempts=0)
