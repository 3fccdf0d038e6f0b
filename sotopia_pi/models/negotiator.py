"""The expert: a scripted negotiator that is worth cloning.

It opens at its best, gives a step at a time, accepts what is as good as its own next offer, takes any good deal from
one who is about to go, says when an offer is its last, and walks away from bad deals and from those who do not move.
Every offer has complete terms. Character decides the manner: firmness, patience and voice.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from sotopia_pi.models.phrasing import expert_phrases, filled, pick, trait_level, voice_of
from sotopia_pi.models.strategy import EPS, History, Menu, asks_why, history, need_stakes
from sotopia_pi.store.digest import source_digest
from sotopia_pi.store.items import content_id
from sotopia_pi.world.actions import Action
from sotopia_pi.world.characters import Character
from sotopia_pi.world.episode import Decision, Observation
from sotopia_pi.world.payoffs import Deal, Issue, SidePayoff
from sotopia_pi.world.reader_agreement import announces_leaving
from sotopia_pi.world.wording import given_terms, kept_terms

Intent = Literal["open", "concede", "hold", "last", "accept", "ask", "leave"]


@dataclass(frozen=True)
class Style:
    """What all experts share, in own utility (0 = walking away, 1 = best).

    step: size of a concession in amounts and items, the largest gift that fits into it; take: least utility accepted
    rather than leaving without a deal; gestures: share of holds in [0, 1] that are a gesture instead of words.
    """

    step: float = 0.2
    take: float = 0.08
    gestures: float = 0.05


@dataclass(frozen=True)
class Temper:
    """How one character bargains.

    firmness: holds before the first concession; patience: holds between unanswered ones. Both are small: whoever
    learns from one that repeats itself learns to repeat itself, and this partner gains nothing by being waited for.
    """

    firmness: int
    patience: int


def temper_of(character: Character) -> Temper:
    """Less agreeable people hold first; calm and conscientious people hold in between.

    Character alone decides: a temper drawn by chance could not be told from anything a cloned model sees.
    """
    agreeable = trait_level(character.big_five, "agreeableness")
    calm = trait_level(character.big_five, "conscientiousness") - trait_level(character.big_five, "neuroticism")
    return Temper(firmness=int(agreeable < 0), patience=int(calm > 1))


@dataclass(frozen=True)
class Choice:
    """What to do and on which terms (None for leaving)."""

    intent: Intent
    deal: Deal | None = None


def choose(
    menu: Menu, heard: History, side: int, temper: Temper, style: Style, turns_left: int, warned: bool = False
) -> Choice:
    """The expert's decision; a function of what was offered, its own stakes and temper.

    turns_left: turns of the episode that are still to come, this one included; warned: the other is about to go.
    """
    utility = menu.stakes.utility
    theirs = heard.offers(1 - side)
    standing = heard.standing(1 - side)
    on_table = utility(standing) if standing is not None else float("-inf")
    planned = _planned(menu, heard, side, temper, style, theirs, warned)
    worth = utility(planned.deal) if planned.deal is not None else style.take
    if turns_left <= 2 or warned:
        worth = min(worth, style.take)
    if on_table > EPS and on_table >= worth - EPS:
        return Choice("accept", standing)
    return planned


def _planned(
    menu: Menu, heard: History, side: int, temper: Temper, style: Style, theirs: list[Deal], warned: bool
) -> Choice:
    mine = heard.offers(side)
    if not mine:
        return Choice("open", menu.best)
    since, answered = _since_their_last_step(menu, heard, side)
    script = _script(temper, answered, bool(theirs))
    intent = script[min(since, len(script) - 1)]
    if warned and intent == "hold":
        intent = "concede"
    if intent == "leave":
        return Choice("leave")
    last = menu.with_gifts(mine[-1], heard.standing(1 - side))
    if intent in ("hold", "ask"):
        return Choice(intent, last)
    offer = menu.give(last, style.step, theirs)
    return Choice("hold" if intent == "concede" and offer == last else intent, offer)


def _script(temper: Temper, answered: bool, heard_terms: bool) -> list[Intent]:
    """What to do at each turn since the other last moved."""
    if not heard_terms:
        return ["ask", "ask", "ask", "last", "leave"]
    first = [] if answered else ["hold"] * temper.firmness
    wait = ["hold"] * temper.patience
    return [*first, "concede", *wait, "concede", *wait, "last", "leave"]


def _since_their_last_step(menu: Menu, heard: History, side: int) -> tuple[int, bool]:
    """(own turns since the other's standing offer last became better, whether it ever did).

    The first offers of both sides count as no step.
    """
    best, since, answered, opened = None, 0, False, False
    for move in heard.moves:
        if move.side == side:
            since += opened
            opened = opened or move.offer is not None
        elif move.offer is not None:
            value = menu.stakes.utility(move.offer)
            if best is None or value > best + EPS:
                since, answered, best = 0, best is not None, value
    return since, answered


class Expert:
    """The scripted negotiator as a policy. Stateless: everything is recomputed from the observation."""

    name = "expert"

    def __init__(self, seed: int = 0, style: Style | None = None):
        self.seed = seed
        self.style = style or Style()
        modules = source_digest("sotopia_pi.models.negotiator")
        body = {
            "name": self.name,
            "seed": seed,
            "style": asdict(self.style),
            "code": modules,
            "phrases": expert_phrases(),
        }
        self.digest = content_id("policy", body)

    async def act(self, observation: Observation, seed: int) -> Decision:
        return Decision(self.decide(observation, np.random.default_rng([self.seed, seed])))

    def decide(self, observation: Observation, rng: np.random.Generator) -> Action:
        stakes = need_stakes(observation, self.name)
        heard = history(observation)
        if heard.agreed is not None:
            return self._close(observation, heard, rng)
        temper = temper_of(observation.me)
        menu = Menu(observation.issues, stakes, observation.side)
        left = observation.turn_limit - len(observation.turns)
        choice = choose(menu, heard, observation.side, temper, self.style, left, _warned(observation))
        return self._say(observation, choice, rng)

    def _close(self, observation: Observation, heard: History, rng: np.random.Generator) -> Action:
        """After a deal: thanks to one who has just accepted, else leaving.

        Whoever takes a new offer for an acceptance then loses a turn by it and not the whole talk.
        """
        deal_before = history(replace(observation, turns=observation.turns[:-1])).agreed
        if deal_before is None and heard.moves[-1].side != observation.side:
            return Action("speak", pick(expert_phrases()["thanks"][voice_of(observation.me)], rng))
        return Action("leave")

    def _say(self, observation: Observation, choice: Choice, rng: np.random.Generator) -> Action:
        voice, bank = voice_of(observation.me), expert_phrases()
        phrase = pick(bank[choice.intent][voice], rng)
        if choice.intent == "leave":
            return Action("leave", phrase)
        if choice.intent == "hold" and rng.random() < self.style.gestures:
            return Action("non-verbal communication", pick(bank["gesture"][voice], rng))
        said = self._words(observation, choice, phrase)
        if choice.intent in ("open", "concede", "hold", "ask") and _asked_why(observation):
            said = f"{self._reason(observation, voice, rng)} {said}"
        return Action("speak", said)

    def _words(self, observation: Observation, choice: Choice, phrase: str) -> str:
        """The phrasing with its terms: the whole offer, and in a concession also what is given."""
        side, heard = observation.side, history(observation)
        issues = by_weight(observation.issues, observation.stakes)
        mine = heard.offers(side)
        if not mine:
            return filled(phrase, terms=kept_terms(issues, choice.deal, side))
        menu = Menu(observation.issues, need_stakes(observation, self.name), side)
        theirs = heard.standing(1 - side) if heard.moves[-1].clear else None
        answered = menu.taken_for_granted(choice.deal, theirs) if theirs is not None else None
        terms = kept_terms(issues, choice.deal, side, answered)
        first = issues[0].name
        rising = issues[0].kind == "amount" and choice.deal[first] > mine[-1][first]
        return filled(phrase, terms=terms, give=given_terms(issues, mine[-1], choice.deal, side, rising, answered))

    def _reason(self, observation: Observation, voice: str, rng: np.random.Generator) -> str:
        """The harmless reason the goal allows, once; after that, and where there is none, a polite refusal."""
        cover = cover_reason(observation.goal)
        told = any(cover in turn.action.argument for turn in observation.turns) if cover else True
        intent = "deflect" if told else "reason"
        return filled(pick(expert_phrases()[intent][voice], rng), cover=cover)


def _warned(observation: Observation) -> bool:
    """Whether the other's last words were that it is about to go."""
    if not observation.turns or observation.turns[-1].side == observation.side:
        return False
    return announces_leaving(observation.turns[-1].action.argument)


def by_weight(issues: Sequence[Issue], stakes: SidePayoff) -> list[Issue]:
    """Items and choices with what matters most first, as one would name them; amounts as they stand."""
    if any(issue.kind == "amount" for issue in issues):
        return list(issues)
    return sorted(issues, key=lambda issue: -max(stakes.points[issue.name].values()))


def cover_reason(goal: str) -> str:
    """What the goal says one may say instead of the true reason; empty where it says nothing of the kind."""
    found = re.search(r"you may say(?: that|:)? ([^.]+)", goal)
    return found[1].strip() if found else ""


def _asked_why(observation: Observation) -> bool:
    if not observation.turns or observation.turns[-1].side == observation.side:
        return False
    last = observation.turns[-1].action
    return last.type == "speak" and asks_why(last.argument)


def expert(seed: int = 0) -> Expert:
    """The expert. seed: changes its habits and phrasings, not its rules."""
    return Expert(seed)
