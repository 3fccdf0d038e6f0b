"""Trivial policies do exactly the trivial thing they are named after."""

import asyncio
import dataclasses

import pytest
from toy_talks import Lines, deal_of, items_task, price_task, prices, said_by, talk

from sotopia_pi.world.baselines import (
    STALL_TURNS,
    always_accept,
    never_concede,
    random_valid,
    split_the_difference,
    stall_then_accept,
    step_conceder,
    trivial_policies,
)
from sotopia_pi.world.episode import Rules, observe
from sotopia_pi.world.reader import read
from sotopia_pi.world.wording import spoken_terms


def test_the_four_that_gate_come_in_the_order_of_every_table():
    names = [policy.name for policy in trivial_policies()]
    assert names == ["always-accept", "never-concede", "stall-then-accept", "random-valid"]
    assert len({policy.digest for policy in trivial_policies()}) == 4


def test_always_accept_takes_the_first_offer_however_bad():
    task = price_task(limits=(150, 190))
    episode = talk(task, always_accept(), Lines("$100."))
    assert prices(task, episode, 0) == [200, 100] and deal_of(task, episode) == {"price": 100}
    assert task.payoff.goal(0, deal_of(task, episode)) == 0


def test_never_concede_repeats_its_best_to_the_end():
    task = price_task()
    episode = talk(task, never_concede(), Lines("$100.", "$150.", "$190."))
    assert prices(task, episode, 0) == [200] and deal_of(task, episode) is None
    assert len(set(said_by(episode, 0))) == 1 and len(episode.turns) == 20


def test_stall_then_accept_waits_for_the_warning():
    task = price_task()
    episode = talk(task, stall_then_accept(), Lines("$100.", "$120.", "Last chance: $120."))
    assert deal_of(task, episode) == {"price": 120} and said_by(episode, 0)[:3] == ["My offer: $200."] * 3


def test_stall_then_accept_gives_in_by_itself_late():
    task = price_task()
    episode = talk(task, stall_then_accept(), Lines("$100."))
    assert said_by(episode, 0).count("My offer: $200.") == STALL_TURNS and deal_of(task, episode) == {"price": 100}
    short = talk(task, stall_then_accept(), Lines("$100."), turn_limit=6)
    assert deal_of(task, short) == {"price": 100}


def test_random_valid_offers_many_things_and_never_less_than_walking_away():
    task = price_task(limits=(150, 190))
    offered = set()
    for seed in range(12):
        offered |= set(prices(task, talk(task, random_valid(), Lines("$100."), seed=seed), 0))
    assert min(offered) >= 150 and len(offered) >= 5


def test_random_valid_takes_a_fair_offer_about_one_turn_in_four():
    task = price_task(limits=(150, 190))
    talks = [talk(task, random_valid(), Lines("$160."), turn_limit=3, seed=seed) for seed in range(80)]
    answered = [said_by(episode, 0)[1] for episode in talks if len(said_by(episode, 0)) > 1]
    assert 0.1 < sum(text == "I accept: $160." for text in answered) / len(answered) < 0.45


def test_the_step_conceder_comes_down_a_tenth_a_turn():
    task = price_task()
    assert prices(task, talk(task, step_conceder(), Lines("$100."), turn_limit=8), 0) == [200, 190, 180, 170]


def test_split_the_difference_names_the_middle_and_takes_a_third():
    task = price_task()
    assert prices(task, talk(task, split_the_difference(), Lines("$120."), turn_limit=4), 0) == [200, 160]
    assert deal_of(task, talk(task, split_the_difference(), Lines("$140."))) == {"price": 140}


@pytest.mark.parametrize("clause", [False, True])
def test_spoken_terms_say_one_thing_only(clause):
    issues = items_task({"lamp": 5, "rug": 5}, {"lamp": 5, "rug": 5}).payoff.issues
    for deal in ({"lamp": 0, "rug": 1}, {"lamp": 1, "rug": 1}, {"lamp": 0, "rug": 0}):
        for side in (0, 1):
            assert read(f"My offer: {spoken_terms(issues, deal, side, clause)}.", issues, side).terms == deal


def test_a_task_without_a_payoff_is_refused_with_what_to_do():
    seen = dataclasses.replace(observe(price_task(), 0, [], Rules()), stakes=None, issues=())
    with pytest.raises(ValueError, match="language models"):
        asyncio.run(always_accept().act(seen, 0))
