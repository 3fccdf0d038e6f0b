"""The expert opens high, answers concessions, keeps its secrets, and can never be misread."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from toy_talks import Lines, deal_of, favour_task, items_task, offers_of, price_task, prices, said_by, talk, toy_task

from sotopia_pi.models.negotiator import Expert, Style, Temper, cover_reason, disturbed_expert, expert, temper_of
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

SILENT = ("gesture", "deed")
"""Intents of the expert's bank that are no words."""


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
        if not {"{terms}", "{give}"} & set(re.findall(r"{\w+}", phrase)) and intent not in ("leave", "accept", *SILENT):
            for cover in covers if "{cover}" in phrase else {""}:
                readings = [read(filled(phrase, cover=cover), each, 0) for each in issues]
                assert not any(r.terms or r.accepts or r.withdraws for r in readings), phrase


class Wishes:
    """A meeting as side 0, a patient character, sees it: issues by weight, and the ranks of its options of each."""

    def __init__(self, tasks):
        task = next(task for task in tasks if task.family == "meeting" and not task.hard and task.has_zone)
        patient = dataclasses.replace(task.characters[0], big_five="Conscientiousness - High; Neuroticism - Low")
        self.task = dataclasses.replace(task, characters=(patient, task.characters[1]))
        self.points = points = self.task.payoff.sides[0].points
        self.least, self.middle, self.most = sorted(points, key=lambda name: max(points[name].values()))
        ranked = {name: sorted(points[name], key=points[name].get) for name in points}
        self.worst, self.half, self.best = ({name: ranked[name][i] for name in ranked} for i in range(3))

    def talk(self, *offers):
        """The expert with one who makes these offers (a text is said as it is)."""
        return talk(
            self.task, expert(), Lines(*(o if isinstance(o, str) else f"{', '.join(o.values())}." for o in offers))
        )


def test_of_choices_it_gives_one_at_a_time_the_one_that_costs_least(tasks):
    wishes = Wishes(tasks)
    offers = offers_of(wishes.task, wishes.talk(wishes.worst), 0)
    assert offers[0] == wishes.best
    worth = [sum(wishes.points[name][option] for name, option in offer.items()) for offer in offers]
    for (before, after), lost in zip(itertools.pairwise(offers), -np.diff(worth), strict=True):
        (name,) = [name for name in before if before[name] != after[name]]
        cheaper = [
            wishes.points[other][before[other]] - points
            for other in wishes.points
            for points in wishes.points[other].values()
            if points < wishes.points[other][before[other]]
        ]
        assert lost == min(cheaper), f"{name} went from {before[name]} to {after[name]}"
    assert len(offers) >= 4, "three concessions without an answer and a last offer"


def test_of_choices_it_names_only_what_it_still_asks_for(tasks):
    wishes = Wishes(tasks)
    met = wishes.worst | {wishes.middle: wishes.best[wishes.middle], wishes.least: wishes.half[wishes.least]}
    said = said_by(wishes.talk(met), 0)
    assert all(option in said[0] for option in wishes.best.values())
    assert f"I ask for {wishes.best[wishes.most]}, the rest as you wish" in said[1]


def test_it_keeps_what_the_other_gives_back_of_what_it_had_given_up(tasks):
    wishes = Wishes(tasks)
    back = wishes.worst | {wishes.least: wishes.best[wishes.least]}
    offers = offers_of(wishes.task, wishes.talk(wishes.worst, wishes.worst, back), 0)
    given = [offer[wishes.least] for offer in offers]
    assert given[0] == wishes.best[wishes.least] and wishes.best[wishes.least] not in given[1:3]
    assert given[3] == back[wishes.least]


def test_it_names_everything_where_the_other_has_just_named_nothing(tasks):
    wishes = Wishes(tasks)
    episode = wishes.talk(wishes.worst, "Hm.")
    offer = follow(wishes.task.payoff.issues, episode.turns[:5]).offers[0]
    said = read(said_by(episode, 0)[2], wishes.task.payoff.issues, 0).terms
    assert said == offer != wishes.best


def test_it_takes_a_good_deal_from_one_who_is_about_to_go_and_no_bad_one():
    task = price_task()
    firm = talk(task, expert(), Lines("$120.", "Still $120.", "Last chance from my side: $120."))
    assert deal_of(task, firm) == {"price": 120}
    assert sum(turn.side == 0 for turn in firm.turns) <= 5
    bad = talk(task, expert(), Lines("$90.", "Still $90.", "I am about to go. My terms are $90.", "Hm."))
    assert deal_of(task, bad) is None


def test_a_patient_one_gives_more_often_unanswered_and_none_waits():
    task = price_task()
    for big_five, given in (
        ("Agreeableness - Low", [200, 180, 160]),
        ("Agreeableness - High", [200, 180, 160, 140]),
        ("Conscientiousness - High; Neuroticism - Low", [200, 180, 160, 140, 120]),
    ):
        who = dataclasses.replace(task.characters[0], big_five=big_five)
        with_them = dataclasses.replace(task, characters=(who, task.characters[1]))
        assert prices(with_them, talk(with_them, expert(), Lines("$90.")), 0) == given, big_five


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
    spoken = [intent for intent in expert_phrases() if intent not in SILENT]
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
    assert 0 < kinds.count("non-verbal communication") / len(kinds) < 0.05 > kinds.count("action") / len(kinds) > 0
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
    assert tempers == {Temper(1), Temper(2), Temper(3)}


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


def test_a_disturbed_expert_repeats_itself_or_gives_thanks_and_is_marked_where_it_does():
    task = price_task()
    thanks = {phrase for phrases in expert_phrases()["thanks"].values() for phrase in phrases}
    kinds = set()
    for seed in range(6):
        episode = talk(task, Expert(0, Style(slips=1.0)), Lines("$100."), turn_limit=8, seed=seed)
        own = [turn for turn in episode.turns if turn.side == 0]
        assert [turn.slip for turn in own] == [False, True, True, True], "not before both have named their terms"
        said = [turn.action.argument for turn in own]
        kinds |= {now in thanks for now in said[1:]}
        assert all(now in {before, *thanks} for before, now in itertools.pairwise(said))
        assert prices(task, episode, 0) == [200]
    assert kinds == {True, False}
    closed = talk(task, Expert(0, Style(slips=1.0)), Lines("$100.", "I say $200."), turn_limit=8)
    assert not any(turn.slip for turn in closed.turns[4:]), "nor after a deal"


def test_a_disturbed_expert_gets_out_again_and_decides_as_the_other_does():
    task = price_task()
    partner = Lines("$100.", "$110.", "$120.", "$130.", "$140.", "$150.")
    slips = 0
    for seed in range(12):
        episode = talk(task, disturbed_expert(), partner, seed=seed)
        slips += sum(turn.slip for turn in episode.turns)
        assert deal_of(task, episode) is not None
        for turn in (turn for turn in episode.turns if turn.side == 0 and not turn.slip):
            seen = observe(task, 0, list(episode.turns[: turn.index]), Rules())
            intended = {expert().decide(seen, np.random.default_rng(i)).type for i in range(3)}
            assert turn.action.type in intended | {"action", "non-verbal communication"}
    assert slips and disturbed_expert().digest != expert().digest
