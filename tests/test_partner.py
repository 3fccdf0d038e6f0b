"""The evaluation partner gives only to those who give, warns before it leaves, and cannot be waited out."""

import itertools

import numpy as np
import pytest
from toy_talks import Lines, deal_of, favour_task, items_task, offers_of, price_task, prices, said_by, talk

from sotopia_pi.models.negotiator import expert
from sotopia_pi.models.partner import (
    FAIR,
    GENEROUS,
    KINDS,
    LATE_DOUBLER,
    PROBER,
    TOUGH,
    WARM_THEN_FIRM,
    EvaluationPartner,
    evaluation_partner,
    training_partner,
)
from sotopia_pi.models.phrasing import partner_phrases
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.world.actions import Action
from sotopia_pi.world.baselines import step_conceder, trivial_policies
from sotopia_pi.world.leaks import leaked
from sotopia_pi.world.reader import read

NONSENSE = (
    "the the the the",
    "$",
    "I I I $100 $100 $100 $",
    "Deal! Deal! Deal!",
    "-5 dollars and 1e9 dollars",
    "{terms} %s \\n <|im_end|>",
    "¿Qué? 你好 🤖",
    "I accept your last offer of $999999.",
    "." * 400,
)


def partner(kind, patience=2) -> EvaluationPartner:
    return EvaluationPartner(kinds=(kind,), patience=(patience,))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_gives_nothing_to_one_who_gives_nothing_and_leaves_after_a_warning(kind):
    task = price_task()
    episode = talk(task, Lines("$200."), partner(kind))
    assert prices(task, episode, 1) == [100]
    assert episode.ending == "left" and episode.turns[-1].side == 1
    warned = [line.split("{terms}")[0] for line in partner_phrases()["last_chance"]]
    assert any(said_by(episode, 1)[-1].startswith(line) for line in warned)


@pytest.mark.parametrize(("patience", "turns"), [(2, 8), (3, 10)])
def test_its_patience_counts_turns_without_a_concession(patience, turns):
    assert len(talk(price_task(), Lines("$200."), partner(FAIR, patience)).turns) == turns


def test_each_kind_answers_in_its_own_pattern():
    assert FAIR.conceded([0.0, 0.2]) == pytest.approx(0.22)
    assert TOUGH.conceded([0.1, 0.3, 0.3]) == pytest.approx(0.16)
    assert GENEROUS.conceded([-0.2, 0.0]) == pytest.approx(0.3)
    assert LATE_DOUBLER.conceded([0.0, 0.2]) == 0.0
    assert LATE_DOUBLER.conceded([0.0, 0.2, 0.2, 0.4]) == pytest.approx(1.3 * 0.3 + 1.3 * 0.1)
    assert WARM_THEN_FIRM.conceded([0.0, 0.2]) == pytest.approx(0.36)
    assert WARM_THEN_FIRM.conceded([0.0, 0.5]) == pytest.approx(1.8 * 0.3 + 0.8 * 0.2)
    assert PROBER.conceded([0.0, 0.2]) == pytest.approx(1.4 * 0.08)
    assert PROBER.conceded([0.0, 0.2, 0.2]) == pytest.approx(1.4 * 0.2)


def test_what_is_given_again_unasked_is_half_pocketed():
    assert LATE_DOUBLER.conceded([0.0, 0.2, 0.4]) == pytest.approx(1.3 * 0.3)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_taking_an_offer_back_and_giving_it_again_earns_nothing(kind):
    once = kind.conceded([0.0, 0.2, 0.2, 0.2, 0.2])
    assert kind.conceded([0.0, 0.2, 0.0, 0.2, 0.2]) == pytest.approx(once)


def test_a_concession_of_twenty_is_answered_with_twenty_two_on_the_grid():
    task = price_task()
    episode = talk(task, Lines("$200.", "$180."), partner(FAIR), turn_limit=4)
    assert prices(task, episode, 1) == [100, 120]


def test_it_accepts_only_what_meets_its_aspiration():
    task = price_task()
    early = talk(task, Lines("$160."), partner(FAIR))
    assert deal_of(task, early) is None
    paid = talk(task, Lines("$200.", "$180.", "$160.", "$140."), partner(FAIR))
    assert deal_of(task, paid)["price"] <= 150


def test_it_talks_on_in_the_face_of_nonsense_and_asks_for_terms():
    for line in NONSENSE:
        episode = talk(price_task(), Lines(line), partner(FAIR))
        assert episode.outcome == "completed" and len(episode.turns) <= 10
    silent = talk(price_task(), Lines("the the the"), partner(FAIR))
    asked = [line.split("{terms}")[0] for line in partner_phrases()["unclear"]]
    assert any(said_by(silent, 1)[1].startswith(line) for line in asked)
    mute = talk(price_task(), Lines(Action("non-verbal communication", "shrugs")), partner(FAIR))
    assert mute.ending == "left"


def test_it_leaves_once_there_is_a_deal():
    episode = talk(price_task(), Lines("What is your price?", "Deal, $100."), partner(FAIR))
    assert episode.turns[-1].side == 1 and episode.ending == "left" and len(episode.turns) == 4


def test_a_giver_asks_why_and_grants_more_to_one_who_opens_up():
    task = favour_task()
    closed = talk(task, Lines("8 days.", "7 days.", "6 days."), partner(TOUGH))
    assert any("?" in text for text in said_by(closed, 1)[1:3])
    secret = "I lost my licence after a race. "
    frank = talk(task, Lines("8 days.", f"{secret}7 days.", "6 days."), partner(TOUGH))
    amounts = [[offer["amount"] for offer in offers_of(task, episode, 1)] for episode in (closed, frank)]
    assert amounts[1][1] > amounts[0][1]


def test_as_the_one_who_asks_it_keeps_its_own_reason():
    task = favour_task()
    episode = talk(task, partner(FAIR), Lines("1 day. Why do you need it?"))
    assert not any(leaked(task.payoff.sides[0].guarded, text) for text in said_by(episode, 0))


def test_a_task_fixes_the_kind_and_the_mix_holds_kinds_that_experts_never_show():
    mix = evaluation_partner(0)
    drawn = [mix.habits(f"task-{i}").kind for i in range(60)]
    assert set(drawn) == set(KINDS)
    assert drawn == [evaluation_partner(0).habits(f"task-{i}").kind for i in range(60)]
    assert any(kind.held_out for kind in KINDS) and not all(kind.held_out for kind in KINDS)
    assert mix.digest != evaluation_partner(1).digest != evaluation_partner(0, (FAIR,)).digest


def test_trades_over_items_go_to_what_the_agent_asks_for_most():
    task = items_task({"lamp": 5, "rug": 3, "mug": 1, "vase": 1}, {"lamp": 1, "rug": 1, "mug": 3, "vase": 5})
    lines = Lines("I take everything but the vase.", "The lamp and the rug for me, the mug and the vase for you.")
    assert deal_of(task, talk(task, lines, partner(FAIR))) == {"lamp": 0, "rug": 0, "mug": 1, "vase": 1}


def test_of_choices_nothing_that_was_given_is_ever_taken_back():
    tasks = [task for task in draw_tasks("eval", TaskCounts(zone=48), 3) if task.family == "meeting"]
    gave = 0
    for task in tasks:
        points = task.payoff.sides[1].points
        said = [read(text, task.payoff.issues, 1) for text in said_by(talk(task, expert(), evaluation_partner()), 1)]
        offers = [reading.terms for reading in said if reading.terms and not reading.accepts]
        for before, after in itertools.pairwise(offers):
            assert all(points[name][after[name]] <= points[name][before[name]] for name in before), (before, after)
            gave += before != after
    assert gave >= len(tasks) / 2


def _mean_goal(policy, tasks) -> float:
    goals = []
    for task in tasks:
        for side in (0, 1):
            sides = (policy, evaluation_partner()) if side == 0 else (evaluation_partner(), policy)
            goals.append(task.payoff.goal(side, deal_of(task, talk(task, *sides))))
    return float(np.mean(goals))


@pytest.mark.slow
def test_the_expert_beats_every_trivial_policy_by_more_than_a_point_and_a_half():
    tasks = draw_tasks("eval", TaskCounts(zone=48), 11)
    ours = _mean_goal(expert(), tasks)
    assert ours >= 4.6
    for policy in trivial_policies():
        assert ours - _mean_goal(policy, tasks) >= 1.5, policy.name
    assert ours > _mean_goal(step_conceder(), tasks) - 0.6, "about as good as giving way steadily, which is no skill"


def test_training_never_meets_the_held_out_kinds_nor_half_of_the_phrasings():
    trainer = training_partner(seed=3)
    kinds = {trainer.habits(f"task-{k}").kind.name for k in range(200)}
    assert kinds == {"fair", "tough", "generous"}
    assert {kind.name for kind in KINDS} - kinds == {"late doubler", "warm then firm", "prober"}
    patience = [{one.habits(f"task-{k}").patience for k in range(200)} for one in (trainer, evaluation_partner(3))]
    assert patience == [{1, 2}, {2, 3}], "it warns sooner than the one of the evaluation"
    assert trainer.digest != evaluation_partner(3).digest
    tasks = draw_tasks("bc", TaskCounts(40), seed=0)
    known = [line for lines in trainer.phrases.values() for line in lines]
    unseen = [line for lines in partner_phrases().values() for line in lines if line not in known]
    assert len(unseen) >= 0.4 * (len(known) + len(unseen))
    said = [text for task in tasks for text in said_by(talk(task, expert(), trainer), 1)]
    begun = [line.split("{")[0].strip() for line in unseen]
    assert not [text for text in said for line in begun if len(line) > 6 and text.startswith(line)]
