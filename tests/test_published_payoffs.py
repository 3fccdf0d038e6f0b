"""Published goals become payoffs where their words allow; what they do not say is told and never made up."""

import re

import pytest
from sotopia_records import environment, folder, needs_published, published
from toy_talks import Lines, talk

from sotopia_pi.formats.published_payoffs import KINDS, Unpriced, published_payoff
from sotopia_pi.formats.sotopia_profiles import read_profiles, read_scenario
from sotopia_pi.formats.sotopia_tasks import PublishedWorld, published_tasks, read_stakes, stakes_table
from sotopia_pi.models.prompts import PROMPT_FORMATS, messages_for
from sotopia_pi.world.episode import Rules, observe
from sotopia_pi.world.payoffs import Payoff
from sotopia_pi.world.scoring import rate_by_payoff

BUYER = "You are the buyer of this lamp; your target price is $40.0. Paying less earns you a bonus."
SELLER = "As the seller, your target price is set at $1,062.50. Selling for much less has its price."


def scenario(source, text, *goals):
    return read_scenario(environment(source=source, scenario=text, agent_goals=list(goals)))


def bargain(*goals, text="Somebody sells a lamp for $100.00; somebody else wants it."):
    return scenario("craigslist_bargains", text, *goals)


def division(first, second, text="Two cousins share 3 lamps, two rugs and 1 clock from an attic in 1 hour."):
    return scenario("deal-or-no-deal", text, first, second)


def acquaintances(first, second):
    goals = [f"Find a friend in common. <extra_info> You know the following friends: \n {names} \n</extra_info>"
             for names in (first, second)]  # fmt: skip
    return scenario("mutual_friends", "2 guests meet.", *goals)


def test_targets_share_out_the_gap_between_them():
    payoff = published_payoff(bargain(SELLER.replace("1,062.50", "90"), BUYER))
    seller, buyer = 0, 1
    for price, share in ((40, 0.0), (65, 0.5), (90, 1.0), (100, 1.0)):
        assert payoff.goal(seller, {"price": price}) == 10 * share
        assert payoff.goal(buyer, {"price": price}) == 10 * (1 - share)
    assert payoff.goal(seller, None) == payoff.goal(buyer, None) == 0
    assert payoff.is_bad(buyer, {"price": 95}) and not payoff.is_bad(seller, {"price": 95})
    assert payoff.zone() and payoff.material


def test_thousands_and_cents_are_read_and_long_price_ranges_get_a_coarser_grid():
    payoff = published_payoff(bargain(BUYER, SELLER, text="A boat costs $1,200."))
    assert (payoff.sides[1].best, payoff.sides[1].walk_away) == (1062.5, 40.0)
    assert payoff.issues[0].options[:2] == (300, 310) and payoff.issues[0].options[-1] == 1200


def test_the_prices_both_may_see_do_not_depend_on_the_buyers_target():
    others = [published_payoff(bargain(BUYER.replace("40.0", target), SELLER)) for target in ("10", "70")]
    assert others[0].issues == others[1].issues


@pytest.mark.parametrize(
    ("goals", "text", "why"),
    [
        ((BUYER, SELLER.replace("1,062.50", "30")), "For $100.", r"\$40 is not below the seller's \$30"),
        ((BUYER, BUYER), "For $100.", "those of buyer and buyer"),
        ((BUYER, "Get rid of it."), "For $100.", "those of buyer;"),
        ((BUYER, "You are the seller. Be quick."), "For $100.", "seller's goal names no target price"),
        ((BUYER, SELLER), "For nothing much.", "names no asked price"),
    ],
)
def test_a_bargain_that_says_too_little_is_not_read(goals, text, why):
    with pytest.raises(Unpriced, match=why):
        published_payoff(bargain(*goals, text=text))


@pytest.mark.parametrize(
    "goal",
    [
        "Lamps give you 5 points each, rugs give you 1 point each, and the clock gives you 2 points.",
        "For you, each lamp is worth 5 points, a rug 1 point, and the clock is worth 2 points",
        "You get 5 points for each lamp, 1 point per rug and 2 points for the clock.",
    ],
)
def test_points_per_piece_are_read_in_any_wording(goal):
    payoff = published_payoff(division(goal, "Lamps 1 point each, rugs 4 points each, the clock 0 points."))
    assert [(i.name, i.total, i.payer, i.options[-1]) for i in payoff.issues] == [
        ("lamps", 3, 0, 3),
        ("rugs", 2, 0, 2),
        ("clocks", 1, 0, 1),
    ]
    assert (payoff.sides[0].best, payoff.sides[1].best) == (3 * 5 + 2 * 1 + 2, 3 * 1 + 2 * 4)
    deal = {"lamps": 2, "rugs": 0, "clocks": 1}
    assert (payoff.sides[0].value(deal), payoff.sides[1].value(deal)) == (12, 1 + 8)


@pytest.mark.parametrize(
    ("goal", "why"),
    [
        ("Get what you like best.", "names no points"),
        ("Lamps 5 points each, rugs 1 point, vases 2 points.", "which item is worth 2 points"),
        ("Lamps 5 points each, rugs 1 point.", "both must value the same"),
        ("A lamp is 5 points, or a lamp 6 points.", "which item is worth 6 points"),
    ],
)
def test_points_that_are_not_clear_are_not_read(goal, why):
    with pytest.raises(Unpriced, match=why):
        published_payoff(division("Lamps 1 point each, rugs 4 points each, clock 3 points.", goal))


def test_a_friend_in_common_is_the_one_with_the_same_particulars():
    payoff = published_payoff(
        acquaintances("Ole: Job: cook  Town: Oslo \n Pia: Job: cook", "Kai: Job: vet \n Ole: Job: cook  Town: Oslo")
    )
    assert payoff.notes == {"names": ["Ole", "Pia", "Kai"], "shared": ["Ole"]}
    assert [payoff.goal(1, {"mutual friend": option}) for option in ("found", "not found")] == [10, 0]
    assert payoff.zone() == [{"mutual friend": "found"}]
    with pytest.raises(Unpriced, match="both know a Ole, but with other particulars"):
        published_payoff(acquaintances("Ole: Job: cook \n Pia: Job: vet", "Ole: Job: vet"))


@pytest.mark.parametrize(
    "odd",
    [
        division("Lamp 0 points, rug 0 points, clock 0 points.", "Lamp 1 point, rug 1 point, clock 1 point."),
        bargain(BUYER, SELLER, text=f"A lamp for ${'9' * 400}."),
        division("Lamp 1 point.", "Lamp 1 point.", text=f"Share {'9' * 5000} lamps."),
    ],
    ids=["nothing to gain", "a price beyond counting", "a number beyond reading"],
)
def test_goals_that_make_no_payoff_are_told_and_stop_nothing(odd):
    stakes = read_stakes(odd)
    assert stakes.payoff is None and stakes.reason


def test_without_a_friend_in_common_no_deal_is_right():
    assert published_payoff(acquaintances("Ole: Job: cook", "Kai: Job: vet")).zone() == []


def test_other_kinds_have_no_payoff():
    assert published_payoff(read_scenario(environment(source="normbank"))) is None


@pytest.mark.parametrize(
    "read",
    [
        bargain(BUYER, SELLER),
        division("Lamp 1 point, rug 1 point, clock 1 point.", "Lamp 1 point, rug 2 points, clock 1 point."),
        acquaintances("Ole: Job: cook", "Kai: Job: vet"),
    ],
    ids=list(KINDS),
)
def test_payoffs_survive_the_file(read):
    payoff = published_payoff(read)
    assert Payoff.from_dict(payoff.to_dict()) == payoff


def test_what_a_side_sees_of_a_payoff_over_friends_names_nobody(tmp_path):
    goals = [
        f"Find a friend in common. <extra_info> You know the following friends: \n {names} \n</extra_info>"
        for names in ("Ole: Job: cook \n Pia: Job: cook", "Kai: Job: vet \n Ole: Job: cook")
    ]
    raw = environment(source="mutual_friends", scenario="2 guests meet.", agent_goals=goals)
    (task,) = published_tasks(PublishedWorld(read_profiles(folder(tmp_path, environments=[raw])))).tasks
    assert task.payoff.notes["shared"] == ["Ole"]
    for side, (mine, theirs) in enumerate([("Pia", "Kai"), ("Kai", "Pia")]):
        seen = observe(task, side, [], Rules())
        assert not {"Ole", "Pia", "Kai"} & set(re.findall(r"\w+", f"{seen.issues} {seen.stakes}"))
        for prompt_format in PROMPT_FORMATS:
            shown = " ".join(m.content for m in messages_for(seen, prompt_format))
            assert mine in shown and theirs not in shown


def test_tasks_carry_the_payoffs_of_what_can_be_followed(tmp_path):
    raw = {
        "deal-or-no-deal": environment("e-div", source="deal-or-no-deal", scenario="Share 2 lamps and 1 rug.",
                                       agent_goals=["Lamp 1 point, rug 2 points.", "Lamp 2 points, rug 1 point."]),
        "craigslist_bargains": environment("e-sale", source="craigslist_bargains", scenario="A lamp for $100.",
                                           agent_goals=[BUYER, SELLER.replace("1,062.50", "90")]),
    }  # fmt: skip
    place = folder(
        tmp_path,
        environments=list(raw.values()),
        combinations=[{"combo_id": e, "env_id": e, "agent_ids": ["a-ida", "a-bo"]} for e in ("e-div", "e-sale")],
    )
    world = PublishedWorld(read_profiles(place))
    shared, sale = published_tasks(world).tasks
    assert (shared.family, sale.family) == ("deal-or-no-deal", "craigslist_bargains")
    assert shared.has_zone and sale.has_zone
    assert stakes_table(world.stakes.values())["deal-or-no-deal"] == {"scenarios": 1, "read": 1}


@pytest.mark.parametrize("prompt_format", PROMPT_FORMATS)
def test_no_prompt_shows_the_others_target(tmp_path, prompt_format):
    sale = environment(source="craigslist_bargains", scenario="A lamp for $1,100.", agent_goals=[BUYER, SELLER])
    (task,) = published_tasks(PublishedWorld(read_profiles(folder(tmp_path, environments=[sale])))).tasks
    assert task.payoff is not None
    for side, (mine, theirs) in enumerate([("$40.0", "1,062.50"), ("1,062.50", "$40.0")]):
        shown = " ".join(m.content for m in messages_for(observe(task, side, [], Rules()), prompt_format))
        assert mine in shown and theirs not in shown and "1062" not in shown


def test_a_published_bargain_is_rated_by_rule_beside_the_judge(tmp_path):
    place = folder(
        tmp_path,
        environments=[
            environment(source="craigslist_bargains", scenario="A lamp for $100.",
                        agent_goals=[BUYER, SELLER.replace("1,062.50", "90")])
        ],
    )  # fmt: skip
    (task,) = published_tasks(PublishedWorld(read_profiles(place))).tasks
    episode = talk(task, Lines("Would you take $50?", "Deal, $80."), Lines("I want $80 for it.", "Done, $80."), 4)
    buyer, seller = rate_by_payoff(episode, task)
    assert (buyer.scores["goal"], seller.scores["goal"]) == (2.0, 8.0)


@needs_published
def test_the_published_sample_is_read_as_far_as_its_goals_allow():
    world = PublishedWorld(read_profiles(published()))
    assert stakes_table(world.stakes.values()) == {
        "craigslist_bargains": {"scenarios": 4, "read": 3},
        "deal-or-no-deal": {"scenarios": 4, "read": 4},
        "mutual_friends": {"scenarios": 3, "read": 3},
    }
    unread = [one for one in world.stakes.values() if one.payoff is None]
    assert [one.codename for one in unread] == ["craigslist_bargains_00009"] and "is not below" in unread[0].reason
    goals = {one.codename: one.payoff for one in world.stakes.values() if one.payoff}
    assert [side.best for side in goals["divide_items"].sides] == [3 * 1 + 2 * 2 + 3, 3 * 2 + 2 * 1 + 3]
    assert goals["mutual_friend_00005"].notes["shared"] == ["Rafael"]
