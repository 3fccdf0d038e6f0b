"""Rules for written scenarios: each refuses what breaks it and nothing else."""

from dataclasses import replace

import pytest
from toy_writer import DRAFT, TEXT

from sotopia_pi.stages.scenario_names import names_in
from sotopia_pi.stages.scenario_rules import Problem, problems_of
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.stages.writer_prompt import Draft
from sotopia_pi.world.population import characters


def rules(**changes) -> set[str]:
    return {problem.rule for problem in problems_of(replace(DRAFT, **changes), characters().values())}


def test_a_good_draft_breaks_no_rule():
    assert problems_of(DRAFT, characters().values()) == []


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("goals", {"goals": DRAFT.goals[:1]}),
        ("goals", {"goals": (*DRAFT.goals, "Leave early and in peace.")}),
        ("goals", {"goals": (DRAFT.goals[0], "  ")}),
        ("goals", {"goals": (DRAFT.goals[0], "<extra_info></extra_info>")}),
        ("goals", {"goals": (DRAFT.goals[0], DRAFT.goals[0].upper().replace("EXTRA_INFO", "extra_info"))}),
        ("length", {"scenario": "Two people talk."}),
        ("length", {"scenario": "they talk on " * 60}),
        ("length", {"goals": (DRAFT.goals[0], "Win it.")}),
        ("length", {"goals": (DRAFT.goals[0], "keep it all " * 70)}),
        ("relationship", {"relationship": -1}),
        ("relationship", {"relationship": 6}),
        ("age", {"youngest": 17}),
        ("age", {"oldest": 71}),
        ("age", {"youngest": 50, "oldest": 40}),
        ("age", {"scenario": TEXT + " One of them is 17 years old."}),
        ("age", {"scenario": TEXT + " A 15-year-old student comes along."}),
        ("age", {"scenario": TEXT + " One is aged 83."}),
        ("age", {"scenario": TEXT + " A teenager is one of the two."}),
        ("age", {"scenario": TEXT + " The other is in their eighties."}),
        ("names", {"scenario": TEXT + " They live in Karim's house."}),
        ("names", {"goals": (DRAFT.goals[0], "Make Alex see that you did your best.")}),
        ("names", {"occupations": ("assistant to Voss",)}),
        ("gender", {"scenario": TEXT + " She is angry."}),
        ("gender", {"goals": (DRAFT.goals[0], "Calm your wife without paying much.")}),
        ("gender", {"scenario": TEXT + " A mother and a student are the two."}),
        ("private", {"scenario": "Two neighbours meet. One wants to get the other to pay for new plants in the hall."}),
        (
            "private",
            {
                "scenario": "One neighbour would like the other to buy new orchids, pay soon and water them daily.",
                "goals": ("Make the other buy new orchids, pay soon, water them.", DRAFT.goals[1]),
            },
        ),
        ("private", {"scenario": TEXT + " The orchid was $60, and its owner would take $30."}),
    ],
)
def test_each_rule_refuses_what_breaks_it_and_nothing_else_is_blamed(rule, changes):
    assert rules(**changes) == {rule}


@pytest.mark.parametrize(
    "addition",
    [
        "They meet on Monday in June over a French cake.",
        "Both work for a TV channel, and I mean both.",
        "A 12-year-old car is parked outside, turning 15 dollars into rust.",
        "They talk about their child's birthday.",
        "The grandmother's box stands between them.",
        "One of them is 19 years old and the other 64.",
        'The other says: "Never mind."',
        "Money is tight.",
    ],
)
def test_ordinary_words_that_look_alike_break_no_rule(addition):
    assert rules(scenario=f"{TEXT} {addition}") == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Alex wants to sell a bike to the other person.", ["Alex"]),
        ("Emily, tired of it, went home.", ["Emily"]),
        ("Thandiwe wants to sell a bike.", ["Thandiwe"]),
        ("They were told so by Xiuying yesterday.", ["Xiuying"]),
        ("It is O'Brien's turn.", ["O'Brien's"]),
        ("Ask Dr. Strange for help.", ["Dr. Strange"]),
        ("Convince the other that it is fine. Everyone wants peace.", []),
        ("(<extra_info>Extra information: you paid already. <strategy_hint>Hint: be calm</strategy_hint>)", []),
    ],
)
def test_names_are_told_from_words_that_only_begin_a_sentence(text, found):
    assert names_in(text, characters().values()) == found


def test_the_names_of_all_characters_are_found_at_the_beginning_of_a_sentence_too():
    for person in characters().values():
        for name in (person.first_name, person.last_name):
            assert names_in(f"{name} came home.", [person]) == [name], name


def test_the_products_own_situations_are_hardly_ever_refused():
    tasks = draw_tasks("bc", TaskCounts(60, 8), 0) + draw_tasks("eval", TaskCounts(60, 8, 8), 0)
    drafts = [Draft("", t.scenario.text, t.scenario.goals, int(t.scenario.relationship), 18, 70) for t in tasks]
    refused = [draft for draft in drafts if problems_of(draft, characters().values())]
    assert len(refused) / len(drafts) < 0.08


def test_a_rule_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'taste' is not one of"):
        Problem("taste", "")
