"""A talk between a person and a policy: an episode under the same rules as every other, which can stop and go on."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sotopia_pi.models.overheard import Hear, overheard
from sotopia_pi.models.person import HUMAN, Person
from sotopia_pi.stages.interrupted import play_on
from sotopia_pi.stages.simulate import check_words
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.episode import Decision, Episode, EpisodePlan, Observation, Policy, Rules, observe
from sotopia_pi.world.tasks import SocialTask

Note = Callable[[Observation], None]


@dataclass(frozen=True)
class Beginning:
    """What tells a talk from all others.

    task_id; side: the person's, 0 or 1. agent: whom the person chose, as `Company` names it. number: of the talk in its
    run, from 1. started_ms: milliseconds since 1970; it is the seed of the episode, so two talks draw other words.
    """

    task_id: str
    side: int
    agent: str
    number: int
    started_ms: int

    @classmethod
    def now(cls, task_id: str, side: int, agent: str, number: int) -> "Beginning":
        return cls(task_id, side, agent, number, time.time_ns() // 1_000_000)


@dataclass(frozen=True)
class Unfinished:
    """A talk that stopped before its end. id: of the episode that it is going to be; turns: all that were played."""

    id: str
    beginning: Beginning
    turns: tuple[Turn, ...]

    def to_dict(self) -> dict[str, Any]:
        turns = [turn.to_dict() for turn in self.turns]
        return {"schema": "unfinished-talk/1", "id": self.id, **vars(self.beginning), "turns": turns}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Unfinished":
        beginning = Beginning(**{name: record[name] for name in Beginning.__dataclass_fields__})
        return cls(record["id"], beginning, tuple(Turn.from_dict(turn) for turn in record["turns"]))


@dataclass(frozen=True)
class Noted:
    """A policy that lets somebody see the talk whenever it is its turn."""

    policy: Policy
    note: Note

    @property
    def name(self) -> str:
        return self.policy.name

    @property
    def digest(self) -> str:
        return self.policy.digest

    async def act(self, observation: Observation, seed: int) -> Decision:
        self.note(observation)
        return await self.policy.act(observation, seed)


class Talk:
    """One talk, as it goes on.

    note: called at every turn, before it is decided, with what that side sees; hear: told the policy's words as they
    come. turns: of an earlier sitting. `turns` holds what was played so far, `id` the id of the episode.
    Raises ValueError where a scripted policy has no words for the task.
    """

    def __init__(
        self,
        beginning: Beginning,
        task: SocialTask,
        agent: Policy,
        rules: Rules,
        note: Note,
        hear: Hear,
        turns: tuple[Turn, ...] = (),
    ):
        self.beginning, self.task, self.turns = beginning, task, turns
        self.person, self._rules, self._note = Person(), rules, note
        pair = (self.person, agent) if beginning.side == 0 else (agent, self.person)
        plan = EpisodePlan(
            task, pair, rules, beginning.started_ms, beginning.number, agent_side=1 - beginning.side, tag=HUMAN
        )
        check_words([plan])
        self._plan = replace(plan, policies=tuple(Noted(overheard(policy, hear), self._noted) for policy in pair))

    @property
    def id(self) -> str:
        return self._plan.id

    @property
    def seen(self) -> Observation:
        """What the person's side may see now; nothing private to the other side is in it."""
        return observe(self.task, self.beginning.side, list(self.turns), self._rules)

    @property
    def is_persons_turn(self) -> bool:
        return len(self.turns) % 2 == self.beginning.side

    @property
    def unfinished(self) -> Unfinished:
        return Unfinished(self.id, self.beginning, self.turns)

    async def play(self) -> Episode:
        """Go on from the turns there are, to the end or until a server gives no answer (`policy_api_error`).

        Cancelled, it leaves the talk as it stands; play again and the policy is asked once more for the same turn.
        """
        return await play_on(self._plan, self.turns)

    def leave(self) -> None:
        """The person leaves: now, or, where the other is speaking, right after."""
        self.person.intend(Action("leave"))

    def _noted(self, observation: Observation) -> None:
        self.turns = observation.turns
        self._note(observation)
