"""One message, several policies: what each of them would answer at the same place of the same dialogue."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sotopia_pi.models.overheard import Hear, overheard
from sotopia_pi.stages.simulate import check_words
from sotopia_pi.store.items import content_id
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.episode import Decision, EpisodePlan, Observation, Policy, Rules, observe
from sotopia_pi.world.tasks import SocialTask


@dataclass(frozen=True)
class Dialogue:
    """A task, who asks, and what was said so far. side: of the person who asks, 0 or 1.

    Turns are kept as words alone: whose tokens they once were says nothing to another policy.
    """

    task: SocialTask
    side: int
    rules: Rules
    turns: tuple[Turn, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "turns", tuple(replace(turn, calls=(), timing={}) for turn in self.turns))

    @property
    def asks_first(self) -> bool:
        """Whether the person has to say something before there is anything to answer."""
        return len(self.turns) % 2 == self.side

    @property
    def seen(self) -> Observation:
        """What the person's side may see."""
        return observe(self.task, self.side, list(self.turns), self.rules)

    def then(self, action: Action, failed: bool = False) -> "Dialogue":
        """The dialogue with one turn more. Raises ValueError where it had come to its end before."""
        if ending := self.rules.ending(list(self.turns)):
            raise ValueError(f"this dialogue has ended ({ending}) after {len(self.turns)} turns; begin it anew")
        return replace(self, turns=(*self.turns, Turn(len(self.turns), len(self.turns) % 2, action, failed)))


@dataclass(frozen=True)
class Answer:
    """What one policy answered. name: as the person chose it; digest: of the policy."""

    name: str
    digest: str
    decision: Decision

    def to_dict(self) -> dict[str, Any]:
        action = self.decision.action
        return {
            "name": self.name,
            "digest": self.digest,
            "action": action.to_dict() if action else None,
            "failure": self.decision.failure,
            "calls": list(self.decision.calls),
            "timing": dict(self.decision.timing),
        }


async def answer(name: str, policy: Policy, dialogue: Dialogue, seed: int, hear: Hear) -> Answer:
    """The policy's answer to a dialogue whose last turn is the person's, or with which the policy begins.

    It is asked as in an episode, with the same prompt. Raises ValueError where the dialogue has ended or a scripted
    policy has no words for the task; NoAnswer and whatever else its model raises.
    """
    if ending := dialogue.rules.ending(list(dialogue.turns)):
        raise ValueError(f"nobody answers: the dialogue has ended ({ending})")
    check_words([EpisodePlan(dialogue.task, (policy, policy), dialogue.rules, seed)])
    observation = observe(dialogue.task, 1 - dialogue.side, list(dialogue.turns), dialogue.rules)
    began = time.monotonic()
    decision = await overheard(policy, hear).act(observation, seed)
    return Answer(name, policy.digest, replace(decision, timing={"latency_s": time.monotonic() - began}))


def answer_seed(seed: int, dialogue: Dialogue, attempt: int) -> int:
    """Seed in [0, 2**31) that all policies asked at once share. attempt: from 0, for asking the same again."""
    asked = [dialogue.task.id, dialogue.side, [turn.to_dict() for turn in dialogue.turns], seed, attempt]
    return int(content_id("asked", asked).rsplit("-", 1)[1], 16) % 2**31


def comparison_record(dialogue: Dialogue, seed: int, answers: Sequence[Answer]) -> dict[str, Any]:
    """An item of `comparisons.jsonl`: the dialogue, and what each policy answered to it."""
    known = {
        "task_id": dialogue.task.id,
        "side": dialogue.side,
        "rules": dialogue.rules.to_dict(),
        "turns": [turn.to_dict() for turn in dialogue.turns],
        "seed": seed,
        "policies": [[answer.name, answer.digest] for answer in answers],
    }
    item_id = content_id("comparison", known)
    return {"schema": "comparison/1", "id": item_id, **known, "answers": [answer.to_dict() for answer in answers]}
