"""The evaluation partner: adaptive, scripted, and deaf to mere patience.

It concedes only to concessions, measured in its own utility over the agent's first offer; it accepts only what meets
what it aspires to at that moment; it leaves, after a warning, when the agent stalls. Several kinds; those marked
`held_out` answer in patterns that no training episode shows, half of its phrasings occur in none, and none is the
expert's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from sotopia_pi.models.phrasing import partner_phrases, pick, speak
from sotopia_pi.models.strategy import EPS, History, Menu, asks_why, heard_in, history, need_stakes, stable_rng
from sotopia_pi.store.digest import source_digest
from sotopia_pi.store.items import content_id
from sotopia_pi.world.actions import Action
from sotopia_pi.world.episode import Decision, Observation
from sotopia_pi.world.payoffs import Deal


@dataclass(frozen=True)
class PartnerKind:
    """How a partner answers concessions, in shares of what it was given (own utility).

    rate: share paid back for the first `turning` of utility; later_rate: for what comes after.
    every: it answers only each `every`-th concession, then for all of them at once.
    withheld: share of its debt that it pays only once the agent stands firm for a turn.
    pocketed: share of a concession that it never pays for, where the agent gives again although nothing was given back.
    """

    name: str
    rate: float
    later_rate: float
    turning: float = 0.3
    every: int = 1
    withheld: float = 0.0
    pocketed: float = 0.5
    held_out: bool = False

    def conceded(self, values: Sequence[float]) -> float:
        """How far this kind has come down from its best, in own utility.

        values: what the agent's standing offer was worth to the partner after each of the agent's turns.
        """
        best, credit, counted, steps, eager = values[0], 0.0, 0.0, 0, False
        for value in values[1:]:
            gain = max(0.0, value - best)
            best = max(best, value)
            if gain <= EPS:
                counted, eager = max(counted, credit if steps % self.every == 0 else counted), False
                continue
            steps += 1
            credit += gain * (1 - self.pocketed * eager)
            due = counted + (1 - self.withheld) * (credit - counted) if steps % self.every == 0 else counted
            counted, eager = due, due <= counted + EPS
        return self.rate * min(counted, self.turning) + self.later_rate * max(0.0, counted - self.turning)


FAIR = PartnerKind("fair", rate=1.1, later_rate=1.1)
TOUGH = PartnerKind("tough", rate=0.8, later_rate=0.8)
GENEROUS = PartnerKind("generous", rate=1.5, later_rate=1.5)
LATE_DOUBLER = PartnerKind("late doubler", rate=1.3, later_rate=1.3, every=2, held_out=True)
WARM_THEN_FIRM = PartnerKind("warm then firm", rate=1.8, later_rate=0.8, held_out=True)
PROBER = PartnerKind("prober", rate=1.4, later_rate=1.4, withheld=0.6, held_out=True)
KINDS = (FAIR, TOUGH, GENEROUS, LATE_DOUBLER, WARM_THEN_FIRM, PROBER)
TRAINING_KINDS = tuple(kind for kind in KINDS if not kind.held_out)


@dataclass(frozen=True)
class Habits:
    """What a partner does on one task. patience: stalled agent turns before the last chance; bonus: own utility it
    adds, once, for a reason told openly (favours only)."""

    kind: PartnerKind
    patience: int
    bonus: float = 0.15


@dataclass(frozen=True)
class Choice:
    """What to do and on which terms (None for leaving)."""

    intent: str
    deal: Deal | None = None


def choose(menu: Menu, heard: History, side: int, habits: Habits, bonus: float = 0.0) -> Choice:
    """The partner's decision; time plays no part in it."""
    moves = heard.of(1 - side)
    values = [menu.stakes.utility(move.offer) for move in moves if move.offer is not None]
    aspired = 1.0 - bonus - (habits.kind.conceded(values) if values else 0.0)
    target = max(aspired, menu.lowest())
    standing = heard.standing(1 - side)
    mine = heard.offers(side)
    offer = _offer(menu, target, mine, heard.offers(1 - side))
    wanted = max(menu.lowest(), min(target, menu.stakes.utility(offer)))
    if standing is not None and menu.stakes.utility(standing) >= wanted - EPS:
        return Choice("accept", standing)
    stalled = stalls(menu, heard, side)
    if stalled > habits.patience:
        return Choice("leave")
    if not mine:
        return Choice("open", offer)
    if stalled == habits.patience:
        return Choice("last_chance", offer)
    if moves and not moves[-1].clear:
        return Choice("unclear", offer)
    if offer != mine[-1]:
        return Choice("concede", offer)
    return Choice("hold" if stalled or len(values) < 2 else "more", offer)


def _offer(menu: Menu, target: float, mine: Sequence[Deal], theirs: Sequence[Deal]) -> Deal:
    """Terms worth the target, nothing taken back; the last ones again unless something better for the other fits."""
    if not mine:
        return menu.best
    last = menu.stakes.utility(mine[-1])
    lower = [level for level in menu.levels if menu.lowest() - EPS <= level <= last + EPS]
    nearest = min(lower, key=lambda level: abs(level - target), default=last)
    return mine[-1] if nearest >= last - EPS else menu.propose(nearest, theirs, keeping=mine[-1])


def stalls(menu: Menu, heard: History, side: int) -> int:
    """Agent turns in a row, up to now, that brought the partner nothing: no terms, or none better than before.

    What is said before the partner has named its own terms is small talk and does not count.
    """
    best, count, opened = float("-inf"), 0, False
    for move in heard.moves:
        if move.side == side:
            opened = opened or move.offer is not None
            continue
        value = menu.stakes.utility(move.offer) if move.offer is not None else float("-inf")
        count = 0 if value > best + EPS or not opened else count + 1
        best = max(best, value)
    return count


class EvaluationPartner:
    """The partner as a policy. Stateless; its kind and patience are drawn once per task."""

    name = "evaluation partner"

    def __init__(
        self,
        seed: int = 0,
        kinds: Sequence[PartnerKind] = KINDS,
        patience: tuple[int, ...] = (2, 3),
        phrases: Mapping[str, Sequence[str]] | None = None,
    ):
        if not kinds or not patience:
            raise ValueError(f"an evaluation partner needs kinds (see KINDS) and patience, got {kinds!r}, {patience!r}")
        self.seed, self.kinds, self.patience = seed, tuple(kinds), tuple(patience)
        self.phrases = partner_phrases() if phrases is None else phrases
        code = source_digest("sotopia_pi.models.partner")
        body = {"name": self.name, "seed": seed, "kinds": [asdict(kind) for kind in self.kinds]}
        self.digest = content_id("policy", body | {"patience": patience, "code": code, "phrases": self.phrases})

    def habits(self, task_id: str) -> Habits:
        """Kind and patience on a task, the same whoever the agent is and whichever side it has."""
        rng = stable_rng(self.seed, task_id, "partner")
        kind = self.kinds[int(rng.integers(len(self.kinds)))]
        return Habits(kind, self.patience[int(rng.integers(len(self.patience)))])

    async def act(self, observation: Observation, seed: int) -> Decision:
        return Decision(self.decide(observation, np.random.default_rng([self.seed, seed])))

    def decide(self, observation: Observation, rng: np.random.Generator) -> Action:
        menu = Menu(observation.issues, need_stakes(observation, self.name), observation.side)
        heard = history(observation)
        if heard.agreed is not None:
            return Action("leave")
        habits = self.habits(observation.task_id)
        open_now = told_openly(observation) if gives_favour(observation) else -1
        choice = choose(menu, heard, observation.side, habits, habits.bonus if open_now >= 0 else 0.0)
        return self._say(observation, choice, rng, thanks=open_now == len(observation.turns) - 1)

    def _say(self, observation: Observation, choice: Choice, rng: np.random.Generator, thanks: bool) -> Action:
        bank, side = self.phrases, observation.side
        phrase = pick(bank[choice.intent], rng)
        if choice.intent == "leave":
            return Action("leave", phrase)
        said = [speak(phrase, observation.issues, choice.deal, side, clause=": {terms}" in phrase)]
        if choice.intent != "accept":
            if thanks and observation.turns:
                said.insert(0, pick(bank["frank"], rng))
            elif observation.turns and asks_why(observation.turns[-1].action.argument):
                said.insert(0, pick(bank["deflect"], rng))
            if wants_reason(observation):
                said.append(pick(bank["why"], rng))
        return Action("speak", " ".join(said))


def gives_favour(observation: Observation) -> bool:
    """Whether this side is asked for an amount of something that is not money."""
    issue = observation.issues[0]
    points = observation.stakes.points[issue.name]
    return issue.kind == "amount" and issue.unit != "$" and not isinstance(points, dict) and points < 0


def wants_reason(observation: Observation) -> bool:
    """A giver asks why at its second and third turn, unless it was told."""
    own = sum(turn.side == observation.side for turn in observation.turns)
    return gives_favour(observation) and own in (1, 2) and told_openly(observation) < 0


_OPENLY = re.compile(
    r"\b(the truth|to be honest|honestly|real reason|confess|admit|between us|secret|reason is|because (i|my)\b)"
    r"|^(well |oh |um )?i (?!can|could|would|will|need|want|hope|say|offer|propose|accept|agree|stay)",
    re.I,
)


OPEN_WORDS = 6
"""Fewest words of a sentence that sounds like an open answer."""


def told_openly(observation: Observation) -> int:
    """Index of the first agent turn that tells something of oneself as a reason; -1 where none does.

    The partner cannot know whether it is the truth; it goes by how it sounds: a sentence of OPEN_WORDS or more, about
    the speaker or with words of confession, that is not an offer.
    """
    for turn in observation.turns:
        if turn.side != observation.side and turn.action.type == "speak":
            for sentence in re.split(r"(?<=[.!?])\s+", turn.action.argument):
                long_enough = len(sentence.split()) >= OPEN_WORDS and _OPENLY.search(sentence.replace(",", ""))
                if long_enough and not heard_in(sentence, observation.issues, turn.side).terms:
                    return turn.index
    return -1


def evaluation_partner(seed: int = 0, kinds: Sequence[PartnerKind] = KINDS) -> EvaluationPartner:
    """The evaluation partner; `kinds` narrows what it may be like."""
    return EvaluationPartner(seed, kinds)


def training_partner(seed: int = 0) -> EvaluationPartner:
    """The partner that training may meet: none of the held-out kinds, the first half of the phrasings only.

    It loses patience sooner than any evaluation partner: a patient one hardly ever warns the expert, and whoever
    learns from the expert would never see what to do then.
    """
    phrases = {intent: lines[: (len(lines) + 1) // 2] for intent, lines in partner_phrases().items()}
    return EvaluationPartner(seed, TRAINING_KINDS, patience=(1, 2), phrases=phrases)
