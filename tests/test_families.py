"""Families: stakes as their docstrings say, hard and zone as asked, scores as arithmetic by hand says."""

import numpy as np
import pytest

from sotopia_pi.world.families import DRAW, GATED, HELD_OUT
from sotopia_pi.world.families.draw import is_hard
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff
from sotopia_pi.world.population import scenario_templates

DRAWS = 25


def draws(family, hard, has_zone, seed=0):
    rng = np.random.default_rng([seed, 7])
    templates = scenario_templates(family)
    return [DRAW[family](templates[i % len(templates)].fields, rng, hard, has_zone) for i in range(DRAWS)]


def price_payoff(seller_limit=60, seller_best=100, buyer_limit=90, buyer_best=50):
    seller = SidePayoff({"price": 1}, walk_away=seller_limit, best=seller_best)
    buyer = SidePayoff({"price": -1}, walk_away=-buyer_limit, best=-buyer_best)
    return Payoff(
        "bargaining", (Issue("price", "amount", range(50, 101, 5), unit="$"),), (seller, buyer), material=True
    )


def test_price_goals_are_the_share_of_the_hoped_for_gain():
    payoff = price_payoff()
    deal = {"price": 80}
    assert payoff.goal(0, deal) == pytest.approx(10 * (80 - 60) / (100 - 60))
    assert payoff.goal(1, deal) == pytest.approx(10 * (90 - 80) / (90 - 50))
    assert payoff.benefits(0, deal) == pytest.approx(5 * 0.5)


def test_a_deal_worse_than_walking_away_has_goal_zero_and_a_loss():
    payoff = price_payoff()
    assert payoff.goal(0, {"price": 50}) == 0
    assert payoff.is_bad(0, {"price": 50}) and not payoff.is_bad(1, {"price": 50})
    assert payoff.benefits(0, {"price": 50}) == pytest.approx(5 * (50 - 60) / 40)


def test_no_deal_is_goal_zero_and_better_than_hoped_is_ten():
    payoff = price_payoff()
    assert payoff.goal(0, None) == 0 and payoff.benefits(0, None) == 0
    assert payoff.goal(0, {"price": 140}) == 10


def test_the_zone_holds_exactly_the_prices_between_the_limits():
    assert [deal["price"] for deal in price_payoff().zone()] == list(range(60, 91, 5))
    assert price_payoff(seller_limit=95).zone() == []


@pytest.mark.parametrize("family", DRAW)
@pytest.mark.parametrize("has_zone", [True, False])
def test_a_zone_is_there_iff_it_was_asked_for(family, has_zone):
    assert all(bool(draw.payoff.zone()) == has_zone for draw in draws(family, False, has_zone))


@pytest.mark.parametrize("family", GATED)
def test_hard_draws_are_hard_by_the_rule(family):
    assert all(is_hard(draw.payoff) for draw in draws(family, True, True))


@pytest.mark.parametrize("family", DRAW)
def test_ordinary_draws_are_mostly_not_hard(family):
    ordinary = [is_hard(draw.payoff) for draw in draws(family, False, True)]
    assert np.mean(ordinary) < 0.5


def test_division_points_of_all_items_are_ten_for_each_side():
    for draw in draws("division", False, True):
        for side in (0, 1):
            assert draw.payoff.sides[side].value({issue.name: side for issue in draw.payoff.issues}) == 10
            assert draw.payoff.sides[side].value({issue.name: 1 - side for issue in draw.payoff.issues}) == 0


def test_meeting_favourites_are_worth_ten():
    for draw in draws("meeting", False, True):
        for side in draw.payoff.sides:
            assert sum(max(table.values()) for table in side.points.values()) == 10


def test_ordinary_division_rewards_trading_over_splitting_each_item_blindly():
    best = [draw.payoff.best_joint() for draw in draws("division", False, True)]
    opposed = [draw.payoff.best_joint() for draw in draws("division", True, True)]
    assert min(best) > max(opposed)


def test_the_one_who_asks_has_something_to_guard_and_the_one_who_gives_has_not():
    for draw in draws("favour", False, True):
        guarded = [side.guarded for side in draw.payoff.sides]
        asker = 0 if guarded[0] else 1
        assert guarded[asker] and not guarded[1 - asker]
        assert guarded[asker] in draw.goals[asker] and guarded[asker] not in draw.goals[1 - asker]


def test_shares_of_a_bill_add_up():
    for draw in draws("cost_sharing", False, True):
        issue = draw.payoff.issues[0]
        share = {"share": issue.options[0]}
        first, second = draw.payoff.sides
        assert first.value(share) == -issue.options[0]
        assert second.value(share) == issue.options[0]
        assert issue.total == int(draw.fill["total"])


@pytest.mark.parametrize("family", DRAW)
def test_each_goal_text_names_its_own_numbers_and_not_the_others(family):
    for draw in draws(family, False, True):
        issue = draw.payoff.issues[0]
        if issue.kind != "amount":
            continue
        for side in (0, 1):
            stakes = draw.payoff.sides[side]
            own = {abs(stakes.walk_away), abs(stakes.best)}
            if issue.payer == 1 - side:
                own = {issue.total - value for value in own}
            assert all(str(int(value)) in draw.goals[side] for value in own), (draw.goals[side], own)


def test_the_held_out_family_is_not_gated():
    assert HELD_OUT in DRAW and HELD_OUT not in GATED


def test_a_payoff_survives_the_way_to_json_and_back():
    for family in DRAW:
        payoff = draws(family, False, True)[0].payoff
        again = Payoff.from_dict(payoff.to_dict())
        deal = payoff.zone()[0]
        assert again.to_dict() == payoff.to_dict()
        assert [again.goal(s, deal) for s in (0, 1)] == [payoff.goal(s, deal) for s in (0, 1)]
