"""An episode that a server's fault interrupts: it ends under a name of its own, and goes on at the next start."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sotopia_pi.models.failures import NoAnswer
from sotopia_pi.world.actions import Turn
from sotopia_pi.world.episode import Decision, Episode, EpisodePlan, Observation, Policy, play


async def play_on(plan: EpisodePlan, turns: Sequence[Turn] = ()) -> Episode:
    """Play an episode to its end, or until a server gives no answer: then its outcome is `policy_api_error`, and its
    turns are those before. turns: of an earlier start of this very plan, which are not decided again."""
    started = time.monotonic()
    going_on = tuple(GoingOn(policy, tuple(turns)) for policy in plan.policies)
    try:
        return await play(replace(plan, policies=going_on) if turns else plan)
    except NoAnswer as outage:
        n = len(outage.turns)
        failure = f"side {n % 2}, turn {n}: {outage}"
        return plan.ended(outage.turns, "failed", "policy_api_error", failure, time.monotonic() - started)


@dataclass(frozen=True)
class GoingOn:
    """A policy in an episode of which some turns were played before: it repeats its own, then decides by itself."""

    policy: Policy
    turns: tuple[Turn, ...]

    @property
    def name(self) -> str:
        return self.policy.name

    @property
    def digest(self) -> str:
        return self.policy.digest

    async def act(self, observation: Observation, seed: int) -> Decision:
        if len(observation.turns) >= len(self.turns):
            return await self.policy.act(observation, seed)
        turn = self.turns[len(observation.turns)]
        return Decision(None if turn.failed else turn.action, turn.calls, timing=turn.timing)
