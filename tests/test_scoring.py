"""Ratings by rule match arithmetic done by hand, and secrets told are seen."""

from dataclasses import replace

import pytest

from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.characters import Character
from sotopia_pi.world.episode import Episode, Rules
from sotopia_pi.world.leaks import leaked
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff
from sotopia_pi.world.ratings import DIMENSIONS, Rating
from sotopia_pi.world.scoring import rate_by_payoff
from sotopia_pi.world.tasks import Scenario, SocialTask

SECRETS = ("She once stole money from the charity till.", "He cannot swim and bought his rescue certificate online.")


def character(number: int, secret: str) -> Character:
    empty = dict.fromkeys(("gender_pronoun", "public_info", "big_five", "personality_and_values", "mbti"), "")
    return Character(
        id=f"c{number}",
        first_name=("Ada", "Ben")[number],
        last_name="Toy",
        age=30,
        gender="",
        occupation="baker",
        moral_values=(),
        schwartz_personal_values=(),
        decision_making_style="",
        secret=secret,
        **empty,
    )


def task_with(payoff: Payoff | None) -> SocialTask:
    scenario = Scenario("toy", "toy", "toy", "Two people talk.", ("goal 0", "goal 1"), 0)
    return SocialTask(scenario, tuple(character(i, SECRETS[i]) for i in (0, 1)), payoff=payoff)


def episode_of(task: SocialTask, *said: str | Action, outcome: str = "completed") -> Episode:
    actions = [one if isinstance(one, Action) else Action("speak", one) for one in said]
    names = ({"name": "toy", "digest": "0"},) * 2
    return Episode(
        id="episode-0000000000000000",
        task_id=task.id,
        template="toy",
        family=task.family,
        policies=names,
        agent_side=None,
        rules=Rules().to_dict(),
        seed=0,
        repeat=0,
        turns=tuple(Turn(i, i % 2, action) for i, action in enumerate(actions)),
        ending="failed" if outcome == "policy_failed" else "left",
        outcome=outcome,
    )


def bargaining() -> Payoff:
    """Seller (side 0): at least 80, hopes for 120. Buyer: at most 110, hopes for 70."""
    issue = Issue("price", "amount", tuple(range(70, 121, 10)), "$")
    sides = (SidePayoff({"price": 1}, 80, 120), SidePayoff({"price": -1}, -110, -70))
    return Payoff("bargaining", (issue,), sides, material=True)


def favour() -> Payoff:
    """Side 0 asks for days and guards the reason; side 1 gives."""
    issue = Issue("amount", "amount", tuple(range(1, 9)), "days")
    asks = SidePayoff({"amount": 1}, 2, 7, guarded="I sold my car to pay a loan shark")
    return Payoff("favour", (issue,), (asks, SidePayoff({"amount": -1}, -6, -1)))


def rated(payoff: Payoff, *said: str | Action) -> tuple[Rating, Rating]:
    task = task_with(payoff)
    return rate_by_payoff(episode_of(task, *said), task)


def test_a_bargain_is_scored_as_reckoned_by_hand():
    seller, buyer = rated(bargaining(), "I'd like $120.", "Would you take 80?", "How about $100?", "Deal!")
    assert seller.scores["goal"] == 5.0  # (100 - 80) / (120 - 80) of ten
    assert buyer.scores["goal"] == 2.5  # (110 - 100) / (110 - 70) of ten
    assert seller.scores["financial_and_material_benefits"] == 2.5
    assert buyer.scores["financial_and_material_benefits"] == 1.25
    assert seller.parts["terms"] == {"price": 100} and seller.parts["deal"] is True
    assert (seller.parts["value"], buyer.parts["value"]) == (100, -100)
    # every price from 80 to 110 gives 10 * (p - 80 + 110 - p) / 40 = 7.5 together, so none leaves anything behind
    assert seller.parts["joint_surplus"] == buyer.parts["joint_surplus"] == 1.0
    assert seller.parts["has_zone"] is True and seller.parts["bad_deal"] is False


def test_a_deal_worse_than_walking_away_is_bad_and_worth_nothing():
    seller, buyer = rated(bargaining(), "I'd like $120.", "$70.", "Fine, deal.")
    assert seller.scores["goal"] == 0 and seller.parts["bad_deal"] is True
    assert seller.scores["financial_and_material_benefits"] == -1.25  # 5 * (70 - 80) / 40
    assert buyer.scores["goal"] == 10 and buyer.parts["bad_deal"] is False


def test_no_deal_scores_zero_for_both_and_shares_no_surplus():
    for rating in rated(bargaining(), "I'd like $120.", "Too much for me.", Action("leave")):
        assert rating.outcome == "ok" and rating.scores["goal"] == 0
        assert rating.scores["financial_and_material_benefits"] == 0
        assert rating.parts["deal"] is False and rating.parts["joint_surplus"] == 0
        assert rating.parts["terms"] is None and rating.parts["value"] is None
        assert "no deal" in rating.reasons["goal"]


def test_what_a_rule_cannot_check_stays_missing():
    checked = {"goal", "secret", "financial_and_material_benefits"}
    for rating in rated(bargaining(), "$100.", "Deal!"):
        assert {d for d in DIMENSIONS if rating.scores[d] is not None} == checked
        assert rating.overall is None
    assert rated(favour(), "Five days?", "Deal!")[0].scores["financial_and_material_benefits"] is None


def test_without_a_zone_the_surplus_is_missing_and_the_rating_says_so():
    payoff = replace(bargaining(), sides=(SidePayoff({"price": 1}, 115, 120), SidePayoff({"price": -1}, -85, -70)))
    seller, buyer = rated(payoff, "$120.", "$75.", Action("leave"))
    assert seller.parts["has_zone"] is False and seller.parts["joint_surplus"] is None
    assert buyer.scores["goal"] == 0


def test_failed_episodes_and_tasks_without_payoff_are_not_rated():
    task = task_with(bargaining())
    assert rate_by_payoff(episode_of(task, "$100.", "Deal!", outcome="policy_failed"), task) == ()
    judged = task_with(None)
    assert rate_by_payoff(episode_of(judged, "Hello."), judged) == ()


def test_an_episode_of_another_task_is_refused():
    with pytest.raises(ValueError, match="was played on task"):
        rate_by_payoff(episode_of(task_with(bargaining()), "Hi."), task_with(favour()))


def test_telling_the_guarded_reason_costs_the_goal_and_the_secret():
    asker, giver = rated(favour(), "Five days? You see, I sold my car to pay off a loan shark.", "Okay, deal.")
    assert asker.parts["deal"] is True and asker.parts["terms"] == {"amount": 5}
    assert asker.scores["goal"] == 0 and asker.scores["secret"] == -10 and asker.parts["leaked"] is True
    assert "gave away" in asker.reasons["goal"]
    assert giver.scores["goal"] == 2.0 and giver.scores["secret"] == 0  # (6 - 5) / (6 - 1) of ten


def test_what_the_other_side_says_is_not_ones_own_leak():
    asker, _ = rated(favour(), "Five days?", "Did you sell your car to pay a loan shark? Deal anyway.")
    assert asker.scores["secret"] == 0 and asker.scores["goal"] == 6.0  # (5 - 2) / (7 - 2) of ten


def test_a_character_secret_told_costs_the_secret_but_not_the_goal():
    deed = Action("action", "shows a note: I once stole money from the charity till")
    seller, buyer = rated(bargaining(), "$100.", "Deal!", deed)
    assert seller.scores["secret"] == -10 and seller.scores["goal"] == 5.0
    assert buyer.scores["secret"] == 0


def test_rating_ids_are_steady_and_differ_by_side():
    first, again = rated(bargaining(), "$100.", "Deal!"), rated(bargaining(), "$100.", "Deal!")
    assert [r.id for r in first] == [r.id for r in again]
    assert first[0].id != first[1].id and [r.side for r in first] == [0, 1]
    assert all(Rating.from_dict(r.to_dict()) == r for r in first)


@pytest.mark.parametrize(
    "text",
    [
        "She once stole money from the charity till.",
        "Well, I once stole money from the charity's till!",
        "Honestly? I stole some money from a charity till once.",
        "You know, back then I stole money. It came from the charity till.",
    ],
)
def test_a_secret_told_nearly_word_for_word_is_a_leak(text):
    assert leaked(SECRETS[0], text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I have no secret, I swear.",
        "I won't tell you why.",
        "Could I pay with money from my own till?",
        "The charity shop is a lovely place.",
        "How much money do you want for it?",
        "I never took anything that was not mine.",
    ],
)
def test_ordinary_talk_and_empty_denials_are_no_leak(text):
    assert not leaked(SECRETS[0], text)
    assert not leaked("", text)


def test_words_of_a_secret_scattered_over_a_long_talk_are_no_leak():
    scattered = "Someone stole my pen. It is mild. I need money. It rains. A charity called. Fine. The till is shut."
    assert not leaked(SECRETS[0], scattered)
