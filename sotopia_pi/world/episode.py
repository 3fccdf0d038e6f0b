"""Episodes: two policies take turns on a task until somebody leaves, both fall silent, or the turns run out."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from sotopia_pi.store.items import content_id
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.characters import Character, visible_profile
from sotopia_pi.world.payoffs import Issue, SidePayoff
from sotopia_pi.world.tasks import SocialTask, shown_goal

Ending = Literal["left", "silence", "turn_limit", "failed"]
Outcome = Literal["completed", "policy_failed", "policy_api_error"]


@dataclass(frozen=True)
class Rules:
    """Turn rules. turn_limit: most turns of an episode, both sides together.

    limit_semantics: "ge" ends the episode when `turn_limit` turns were played (n >= limit), "gt" allows one more
    (n > limit); both occur in published code. silence_limit: more consecutive `none` than this end the episode.
    on_failure: "fail" ends the episode as `policy_failed`; "none" lets a marked, counted `none` stand in.
    """

    turn_limit: int = 20
    limit_semantics: Literal["ge", "gt"] = "ge"
    silence_limit: int = 2
    on_failure: Literal["fail", "none"] = "fail"

    def __post_init__(self):
        if self.turn_limit < 1:
            raise ValueError(f"turn_limit is {self.turn_limit}; it takes at least 1 turn")
        if self.limit_semantics not in ("ge", "gt"):
            raise ValueError(f"limit_semantics is {self.limit_semantics!r}; allowed: 'ge' (>=) and 'gt' (>)")
        if self.on_failure not in ("fail", "none"):
            raise ValueError(f"on_failure is {self.on_failure!r}; allowed: 'fail' and 'none'")

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def ending(self, turns: list[Turn]) -> Ending | None:
        """Why the episode ends after these turns, or None when it goes on."""
        if turns and turns[-1].action.type == "leave":
            return "left"
        silent = turns[-(self.silence_limit + 1) :]
        if len(silent) > self.silence_limit and all(turn.action.type == "none" for turn in silent):
            return "silence"
        limit = self.turn_limit + (self.limit_semantics == "gt")
        return "turn_limit" if len(turns) >= limit else None


@dataclass(frozen=True)
class Observation:
    """All that a side knows when it must act. Nothing private to the other side is in here.

    goal: the owner's text without hint tags. issues: public terms on which the two must agree (empty in judged tasks).
    stakes: this side's own payoff, None in judged tasks.
    """

    task_id: str
    side: int
    me: Character
    other: Mapping[str, str]
    relationship: int
    background: str
    scenario: str
    goal: str
    issues: tuple[Issue, ...]
    stakes: SidePayoff | None
    turns: tuple[Turn, ...]
    turn_limit: int

    @property
    def other_name(self) -> str:
        return self.other.get("name", "the other person")


@dataclass(frozen=True)
class Decision:
    """What a policy decided. action None = the output stayed unparsable after all attempts; `failure` says why."""

    action: Action | None
    calls: tuple[dict[str, Any], ...] = ()
    failure: str = ""
    timing: dict[str, float] = field(default_factory=dict, compare=False)


class Policy(Protocol):
    """Decides a side's next action. `digest` names everything that determines its behaviour."""

    name: str
    digest: str

    async def act(self, observation: Observation, seed: int) -> Decision: ...


@dataclass(frozen=True)
class Episode:
    """One played task. policies: per side {"name", "digest"}. agent_side: side under study, None where both are.

    outcome: only what is "completed" is rated. "policy_failed": an answer that stayed unparsable; "policy_api_error": a
    server that gave none.
    """

    id: str
    task_id: str
    template: str
    family: str
    policies: tuple[dict[str, str], dict[str, str]]
    agent_side: int | None
    rules: dict[str, Any]
    seed: int
    repeat: int
    turns: tuple[Turn, ...]
    ending: Ending
    outcome: Outcome
    failure: str = ""
    tag: str = ""
    timing: dict[str, float] = field(default_factory=dict, compare=False)

    def to_dict(self) -> dict[str, Any]:
        record = {"schema": "episode/1", **vars(self)}
        record["policies"] = list(self.policies)
        record["turns"] = [turn.to_dict() for turn in self.turns]
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Episode":
        body = {k: v for k, v in record.items() if k != "schema"}
        body["policies"] = tuple(body["policies"])
        body["turns"] = tuple(Turn.from_dict(t) for t in body["turns"])
        return cls(**body)


@dataclass(frozen=True)
class EpisodePlan:
    """One episode to play. Its id is known before a word is said."""

    task: SocialTask
    policies: tuple[Policy, Policy]
    rules: Rules
    seed: int
    repeat: int = 0
    agent_side: int | None = None
    tag: str = ""

    @cached_property
    def id(self) -> str:
        """Hash of everything above, computed once: the seed of every turn begins with it."""
        return content_id(
            "episode",
            {
                "task": self.task.id,
                "policies": [policy.digest for policy in self.policies],
                "rules": self.rules.to_dict(),
                "seed": self.seed,
                "repeat": self.repeat,
                "agent_side": self.agent_side,
                "tag": self.tag,
            },
        )

    def ended(self, turns: Sequence[Turn], ending: Ending, outcome: Outcome, failure: str, wall_s: float) -> Episode:
        """The episode that this plan became. failure: empty where it was completed; wall_s: seconds it took."""
        return Episode(
            id=self.id,
            task_id=self.task.id,
            template=self.task.template,
            family=self.task.family,
            policies=tuple({"name": p.name, "digest": p.digest} for p in self.policies),
            agent_side=self.agent_side,
            rules=self.rules.to_dict(),
            seed=self.seed,
            repeat=self.repeat,
            turns=tuple(turns),
            ending=ending,
            outcome=outcome,
            failure=failure,
            tag=self.tag,
            timing={"wall_s": wall_s},
        )


def observe(task: SocialTask, side: int, turns: list[Turn], rules: Rules) -> Observation:
    """What a side of a task sees after these turns."""
    level = task.scenario.relationship
    return Observation(
        task_id=task.id,
        side=side,
        me=task.characters[side],
        other=visible_profile(task.characters[1 - side], level),
        relationship=int(level),
        background=task.background,
        scenario=task.scenario.text,
        goal=shown_goal(task.scenario.goals[side]),
        issues=task.payoff.issues if task.payoff else (),
        stakes=task.payoff.sides[side] if task.payoff else None,
        turns=tuple(turns),
        turn_limit=rules.turn_limit,
    )


async def play(plan: EpisodePlan) -> Episode:
    """Play one episode to its end. Only what the policies do takes time; nothing is shared between episodes."""
    started = time.monotonic()
    turns: list[Turn] = []
    ending, failure = plan.rules.ending(turns), ""
    while ending is None:
        side = len(turns) % 2
        seed = turn_seed(plan, len(turns))
        decision = await plan.policies[side].act(observe(plan.task, side, turns, plan.rules), seed)
        failed = decision.action is None
        action = decision.action or Action("none")
        turns.append(Turn(len(turns), side, action, failed, decision.calls, decision.timing))
        if failed and plan.rules.on_failure == "fail":
            ending, failure = "failed", f"side {side}, turn {len(turns) - 1}: {decision.failure}"
        else:
            ending = plan.rules.ending(turns)
    outcome = "policy_failed" if ending == "failed" else "completed"
    return plan.ended(turns, ending, outcome, failure, time.monotonic() - started)


def turn_seed(plan: EpisodePlan, turn: int) -> int:
    """Seed of one turn, in [0, 2**31): from the run's seed, the episode and the turn, never from what ran before."""
    episode = int(plan.id.rsplit("-", 1)[1], 16)
    return int(np.random.default_rng([plan.seed, episode, turn]).integers(2**31))
