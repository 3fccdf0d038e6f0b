"""The expert opens high, answers concessions, keeps its secrets, and can never be misread."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from toy_talks import Lines, deal_of, favour_task, items_task, offers_of, price_task, prices, said_by, talk, toy_task

from sotopia_pi.models.negotiator import Temper, cover_reason, expert, temper_of
from sotopia_pi.models.partner import evaluation_partner
from sotopia_pi.models.phrasing import VOICES, expert_phrases, filled, partner_phrases, speak, voice_of
from sotopia_pi.models.strategy import all_deals
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.world.deals import DealState, follow
from sotopia_pi.world.episode import Rules, observe
from sotopia_pi.world.leaks import leaked
from sotopia_pi.world.population import characters
from sotopia_pi.world.reader import read
from sotopia_pi.world.tasks import shown_goal
from sotopia_pi.world.wording import given_terms, kept_terms


@pytest.fixture(scope="module")
def tasks():
    return draw_tasks("bc", TaskCounts(zone=16, no_zone=4), 5) + draw_tasks("eval", TaskCounts(8, 0, 2), 5)


@pytest.fixture(scope="module")
def self_play(tasks):
    return [(task, talk(task, expert(), expert())) for task in tasks]


def phrasings():
    """(who, intent, phrasing) of both banks that name terms."""
    for intent, by_voice in expert_phrases().items():
        yield from (("expert", intent, phrase) for phrases in by_voice.values() for phrase in phrases)
    for intent, phrases in partner_phrases().items():
        yield from (("partner", intent, phrase) for phrase in phrases)


def test_every_phrasing_in_every_family_reads_back_as_the_terms_that_were_meant(tasks):
    rng = np.random.default_rng(0)
    for family in ("bargaining", "division", "meeting", "favour", "cost_sharing"):
        issues = next(task for task in tasks if task.family == family).payoff.issues
        deals = all_deals(issues)
        for who, intent, phrase in phrasings():
            if "{terms}" not in phrase and "{give}" not in phrase:
                continue
            side = int(rng.integers(2))
            deal, before = (deals[i] for i in rng.permutation(len(deals))[:2])
            if who == "expert":
                given = given_terms(issues, before, deal, side, rising=bool(rng.integers(2)))
                text = filled(phrase, terms=kept_terms(issues, deal, side), give=given)
            else:
                text = speak(phrase, issues, deal, side, clause=": {terms}" in phrase)
            reading = read(text, issues, side)
            assert reading.terms == deal, text
            assert reading.accepts == (intent == "accept"), text
            assert not reading.withdraws, text


def test_everything_the_expert_says_at_play_reads_back_as_what_it_did(self_play):
    for task, episode in self_play:
        state = DealState(task.payoff.issues)
        for turn in episode.turns:
            before, deal_before = state.offers[1 - turn.side], state.deal
            state = state.step(turn)
            reading = read(turn.action.argument, task.payoff.issues, turn.side)
            if turn.action.type == "speak" and deal_before:
                assert not (reading.terms or reading.accepts), "after a deal it thanks, and says nothing about terms"
            elif turn.action.type == "speak":
                if reading.accepts:
                    assert state.deal == before and reading.terms.items() <= before.items(), turn.action.argument
                else:
                    named = reading.terms if before is None else {**before, **reading.terms}
                    complete = set(reading.terms) == {issue.name for issue in task.payoff.issues}
                    assert complete or "the rest as you wish" in turn.action.argument, turn.action.argument
                    assert state.offers[turn.side] == named, "what is not named is what the other last offered"


def test_what_is_said_beside_the_terms_says_nothing_about_terms(tasks):
    issues = [task.payoff.issues for task in tasks[:8]]
    covers = {cover_reason(shown_goal(goal)) for task in tasks for goal in task.scenario.goals} - {""}
    assert covers
    for _, intent, phrase in phrasings():
        if not {"{terms}", "{give}"} & set(re.findall(r"{\w+}", phrase)) and intent not in (
            "leave",
            "gesture",
            "accept",
        ):
            for cover in covers if "{cover}" in phrase else {""}:
                readings = [read(filled(phrase, cover=cover), each, 0) for each in issues]
                assert not any(r.terms or r.accepts or r.withdraws for r in readings), phrase


class Wishes:
    """A meeting as side 0, a soft character, sees it: issues by weight, and its best and worst option of each."""

    def __init__(self, tasks):
        soft = [task for task in tasks if temper_of(task.characters[0]) == Temper(0, 0)]
        self.task = next(task for task in soft if task.family == "meeting" and not task.hard and task.has_zone)
        self.points = points = self.task.payoff.sides[0].points
        self.least, self.middle, self.most = sorted(points, key=lambda name: max(points[name].values()))
        self.best = {name: max(points[name], key=points[name].get) for name in points}
        self.worst = {name: min(points[name], key=points[name].get) for name in points}

    def talk(self, *offers):
        """The expert with one who makes these offers (a text is said as it is)."""
        return talk(
            self.task, expert(), Lines(*(o if isinstance(o, str) else f"{', '.join(o.values())}." for o in offers))
        )


def test_of_choices_it_gives_one_at_a_time_what_the_other_asks_for(tasks):
    wishes = Wishes(tasks)
    offers = offers_of(wishes.task, wishes.talk(wishes.worst), 0)
    steps = [[name for name in a if a[name] != b[name]] for a, b in itertools.pairwise(offers)]
    assert steps and all(len(changed) == 1 for changed in steps)
    given = [name for (name,) in steps]
    assert given[0] == wishes.least, "what weighs least goes first"
    assert all(offers[-1][name] == wishes.worst[name] for name in given), "and goes as asked"


def test_of_choices_it_names_only_what_it_still_asks_for(tasks):
    wishes = Wishes(tasks)
    said = said_by(wishes.talk(wishes.worst, wishes.worst | {wishes.middle: wishes.best[wishes.middle]}), 0)
    assert all(option in said[0] for option in wishes.best.values())
    asked = f"{wishes.best[wishes.most]} and {wishes.best[wishes.middle]}"
    assert f"I ask for {asked}, the rest as you wish" in said[1]
    (half,) = [option for option, worth in wishes.points[wishes.most].items() if worth == 3]
    both = f"{half} and {wishes.best[wishes.middle]}"
    assert f"I ask for {both}, the rest as you wish" in said[2], (
        "the second was given; half of the first alone is no gain"
    )


def test_a_list_of_choices_is_worth_more_than_walking_away_whatever_the_rest_will_be():
    lists = []
    for task in draw_tasks("bc", TaskCounts(60, weights={"meeting": 1}), 3):
        episode = talk(task, expert(), evaluation_partner())
        stakes = task.payoff.sides[0]
        for words in said_by(episode, 0):
            if "the rest as you wish" in words:
                named = read(words, task.payoff.issues, 0).terms
                lists.append(sum(stakes.points[name][option] for name, option in named.items()) > stakes.walk_away)
    assert len(lists) > 10 and all(lists)


def test_it_keeps_what_the_other_gives_back_of_what_it_had_given_up(tasks):
    wishes = Wishes(tasks)
    back = wishes.worst | {wishes.least: wishes.best[wishes.least]}
    offers = offers_of(wishes.task, wishes.talk(wishes.worst, back), 0)
    assert [offer[wishes.least] for offer in offers[:3]] == [
        back[wishes.least],
        wishes.worst[wishes.least],
        back[wishes.least],
    ]


def test_it_names_everything_where_the_other_has_just_named_nothing(tasks):
    wishes = Wishes(tasks)
    episode = wishes.talk(wishes.worst, "Hm.")
    offer = follow(wishes.task.payoff.issues, episode.turns[:5]).offers[0]
    said = read(said_by(episode, 0)[2], wishes.task.payoff.issues, 0).terms
    assert said == offer and offer[wishes.least] == wishes.worst[wishes.least]


def test_it_takes_a_good_deal_from_one_who_is_about_to_go_and_no_bad_one():
    task = price_task()
    firm = talk(task, expert(), Lines("$120.", "Still $120.", "Last chance from my side: $120."))
    assert deal_of(task, firm) == {"price": 120}
    assert sum(turn.side == 0 for turn in firm.turns) <= 5
    bad = talk(task, expert(), Lines("$90.", "Still $90.", "I am about to go. My terms are $90.", "Hm."))
    assert deal_of(task, bad) is None


def test_a_firm_one_gives_in_at_once_to_one_who_is_about_to_go():
    task = price_task()
    firm = dataclasses.replace(task.characters[0], big_five="Agreeableness - Low")
    task = dataclasses.replace(task, characters=(firm, task.characters[1]))
    assert temper_of(firm).firmness == 1
    assert prices(task, talk(task, expert(), Lines("$90.")), 0)[:2] == [200, 180]
    waits, gives = (talk(task, expert(), Lines(line), turn_limit=4) for line in ("I say $90.", "My last offer is $90."))
    assert prices(task, waits, 0) == [200] and prices(task, gives, 0) == [200, 180]


def test_an_acceptance_closes_the_deal_that_was_offered(tasks):
    for task in tasks[:6]:
        deal = task.payoff.zone()[0] if task.payoff.zone() else all_deals(task.payoff.issues)[0]
        offered = speak("{terms}.", task.payoff.issues, deal, 0)
        for phrases in expert_phrases()["accept"].values():
            for phrase in phrases:
                state = DealState(task.payoff.issues).hear(0, read(offered, task.payoff.issues, 0))
                said = speak(phrase, task.payoff.issues, deal, 1)
                assert state.hear(1, read(said, task.payoff.issues, 1)).deal == deal, said


def test_the_banks_hold_eight_phrasings_of_every_intent_and_share_none():
    ours = [phrase for _, by_voice in expert_phrases().items() for p in by_voice.values() for phrase in p]
    theirs = [phrase for phrases in partner_phrases().values() for phrase in phrases]
    plain = [re.sub(r"\W+", " ", phrase.lower()).strip() for phrase in (*ours, *theirs)]
    assert set(plain[: len(ours)]).isdisjoint(plain[len(ours) :])
    spoken = [intent for intent in expert_phrases() if intent != "gesture"]
    assert all(sum(map(len, expert_phrases()[intent].values())) >= 8 for intent in spoken)
    assert all(set(expert_phrases()[intent]) == set(VOICES) for intent in expert_phrases())


def test_it_opens_at_its_best_and_gives_up_on_one_who_does_not_move():
    task = price_task()
    episode = talk(task, expert(), Lines("$100."), turn_limit=4)
    assert prices(task, episode, 0)[0] == 200
    stuck = talk(task, expert(), Lines("$100."))
    assert prices(task, stuck, 0) == [200, 180, 160, 140], "two unanswered steps and a last offer, not more"
    assert sum(turn.side == 0 for turn in stuck.turns) == 5 and stuck.ending == "left"


def test_it_gives_a_step_for_a_step():
    task = price_task()
    episode = talk(task, expert(), Lines("$100.", "$110.", "$120.", "$130."))
    assert prices(task, episode, 0)[:4] == [200, 180, 160, 140]


def test_it_accepts_what_is_as_good_as_its_own_next_offer():
    task = price_task()
    episode = talk(task, expert(), Lines("I say $180."))
    assert deal_of(task, episode) == {"price": 180}
    assert episode.ending == "left"


def test_it_thanks_whoever_accepted_and_leaves_after_its_own_acceptance_was_heard():
    task = price_task()
    accepting = talk(task, expert(), Lines("Deal.", "See you."))
    thanks = [phrase for phrases in expert_phrases()["thanks"].values() for phrase in phrases]
    assert deal_of(task, accepting) == {"price": 200} and said_by(accepting, 0)[1] in thanks
    assert accepting.turns[4].action.type == "leave" and deal_of(task, accepting) == {"price": 200}
    accepted = talk(task, expert(), Lines("I say $180.", "Fine."))
    assert [turn.action.type for turn in accepted.turns if turn.side == 0] == ["speak", "speak", "leave"]


def test_two_experts_find_the_trade_that_gives_each_what_it_wants_most(tasks):
    task = items_task({"lamp": 5, "rug": 3, "mug": 1, "vase": 1}, {"lamp": 1, "rug": 1, "mug": 3, "vase": 5})
    episode = talk(task, expert(), expert())
    assert deal_of(task, episode) == {"lamp": 0, "rug": 0, "mug": 1, "vase": 1}


def test_it_never_agrees_to_less_than_walking_away_and_leaves_where_no_deal_is_good(self_play):
    for task, episode in self_play:
        deal = deal_of(task, episode)
        assert (deal is None) or not any(task.payoff.is_bad(side, deal) for side in (0, 1))
        for side in (0, 1):
            assert not any(task.payoff.is_bad(side, offer) for offer in offers_of(task, episode, side))
        if not task.has_zone:
            assert deal is None and episode.ending == "left"
    zones = [deal_of(task, episode) is not None for task, episode in self_play if task.has_zone]
    assert np.mean(zones) >= 0.9


def test_it_names_a_last_offer_before_it_leaves_for_good():
    task = price_task(limits=(150, 140))
    episode = talk(task, expert(), Lines("$100."))
    assert episode.turns[-1].action.type == "leave" and episode.turns[-1].side == 0
    ends = [
        phrase.replace("{terms}.", "").replace("{terms}!", "")
        for p in expert_phrases()["last"].values()
        for phrase in p
    ]
    assert any(said_by(episode, 0)[-1].startswith(end.rstrip()) for end in ends)


def test_asked_why_it_gives_the_harmless_reason_once_and_never_the_true_one():
    task = favour_task()
    episode = talk(task, expert(), Lines("2 days. Why do you need it?"))
    told = [text for text in said_by(episode, 0) if "my bike is broken" in text]
    assert len(told) == 1
    assert not any(leaked(task.payoff.sides[0].guarded, text) for text in said_by(episode, 0))


def test_no_secret_comes_out_in_any_family(self_play):
    for task, episode in self_play:
        for side in (0, 1):
            hidden = (task.characters[side].secret, task.payoff.sides[side].guarded)
            assert not any(leaked(secret, text) for secret in hidden for text in said_by(episode, side))


def test_it_speaks_briefly_and_hardly_ever_wastes_a_turn(self_play):
    words = [len(text.split()) for _, episode in self_play for side in (0, 1) for text in said_by(episode, side)]
    assert np.median(words) <= 14 and np.mean(np.array(words) <= 28) >= 0.95
    kinds = [turn.action.type for _, episode in self_play for turn in episode.turns]
    assert kinds.count("non-verbal communication") / len(kinds) < 0.05
    assert np.mean([len(episode.turns) for _, episode in self_play]) < 16


def test_the_same_seed_says_the_same_and_another_seed_something_else():
    task = price_task()
    first, again = talk(task, expert(), expert()), talk(task, expert(), expert())
    assert first.to_dict() | {"timing": {}} == again.to_dict() | {"timing": {}}
    assert expert(1).digest != expert().digest == expert(0).digest
    assert [t.action for t in talk(task, expert(), expert(), seed=1).turns] != [t.action for t in first.turns]


def test_characters_differ_in_voice_and_patience():
    people = characters().values()
    assert len({voice_of(person) for person in people}) >= 5
    tempers = {temper_of(person) for person in people}
    assert len(tempers) >= 3 and all(t.firmness in (0, 1) and t.patience in (0, 1) for t in tempers)
    soft = dataclasses.replace(next(iter(people)), big_five="Agreeableness - High; Neuroticism - High")
    assert temper_of(soft) == Temper(firmness=0, patience=0)


def test_it_decides_from_what_it_may_see_only():
    task = price_task()
    other = dataclasses.replace(task.payoff.sides[1], walk_away=-120.0, best=-110.0)
    changed = toy_task(dataclasses.replace(task.payoff, sides=(task.payoff.sides[0], other)))
    turns = list(talk(task, expert(), Lines("$100.", "$120."), turn_limit=4).turns)
    seen = [observe(each, 0, turns, Rules()) for each in (task, changed)]
    seen[1] = dataclasses.replace(seen[1], task_id=seen[0].task_id)
    said = [expert().decide(each, np.random.default_rng(3)) for each in seen]
    assert said[0] == said[1]


def test_a_task_without_a_payoff_is_refused_with_what_to_do():
    seen = dataclasses.replace(observe(price_task(), 0, [], Rules()), stakes=None, issues=())
    with pytest.raises(ValueError, match="language models"):
        expert().decide(seen, np.random.default_rng(0))
