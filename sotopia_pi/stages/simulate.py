"""Playing: a map over planned episodes that only plays what is missing and writes each one as it ends."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from sotopia_pi.models.failures import NoAnswer
from sotopia_pi.stages.side_by_side import side_by_side
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.unanswered import earlier_attempts
from sotopia_pi.world.actions import Turn
from sotopia_pi.world.episode import Decision, Episode, EpisodePlan, Observation, Policy, Rules, play
from sotopia_pi.world.tasks import SocialTask

_PARTNERED = 3


class Progress(Protocol):
    """What tells a person how far a long stage is."""

    def advance(self, failed: bool = False) -> None: ...


@dataclass(frozen=True)
class Collected:
    """Episodes in the order they were planned; `found` of them lay there already."""

    episodes: tuple[Episode, ...]
    found: int

    def counts(self) -> dict[str, int]:
        """Count table: planned, found, played now, failed by outcome, and how the completed ones ended."""
        endings = Counter(e.ending for e in self.episodes if e.outcome == "completed")
        failed = Counter(e.outcome for e in self.episodes if e.outcome != "completed")
        return {
            "episodes planned": len(self.episodes),
            "found from an earlier start": self.found,
            "played now": len(self.episodes) - self.found,
            "failed: policy_failed": failed.pop("policy_failed", 0),
            **{f"failed: {outcome}": n for outcome, n in failed.items()},
            **{f"ended: {ending}": n for ending, n in sorted(endings.items())},
            "turns that failed to parse": sum(turn.failed for e in self.episodes for turn in e.turns),
        }


async def collect(plans: Sequence[EpisodePlan], file: ItemFile, progress: Progress, at_once: int = 64) -> Collected:
    """Play every plan that is not in the file yet, at most `at_once` side by side, and append each as it ends.

    An episode that a server's fault ended in an earlier start goes on from the turn that had no answer.
    An episode that raises does not stop the others; the first error is raised once the rest is written. Only
    StopAsking (a wrong key, a spent budget) ends them all: what is in play ends, nothing more begins.
    """
    attempts = earlier_attempts(file.path)
    here = {item["id"]: Episode.from_dict(item) for item in file.read()}
    wanted = [plan for plan in plans if plan.id not in here]
    found = len(plans) - len(wanted)

    async def one(plan: EpisodePlan) -> None:
        earlier = [Episode.from_dict(attempt) for attempt in attempts.get(plan.id, ())]
        episode = await play_on(plan, earlier[-1].turns if earlier else ())
        file.append(episode.to_dict())
        here[episode.id] = episode
        progress.advance(failed=episode.outcome != "completed")

    await side_by_side(wanted, one, at_once, "episodes could not be played", file.path)
    return Collected(tuple(here[plan.id] for plan in plans), found)


async def play_on(plan: EpisodePlan, turns: Sequence[Turn] = ()) -> Episode:
    """Play an episode to its end, or until a server gives no answer: then its outcome is `policy_api_error`, and its
    turns are those before. turns: of an earlier start of this very plan, which are not decided again."""
    started = time.monotonic()
    going_on = tuple(GoingOn(policy, tuple(turns)) for policy in plan.policies)
    try:
        return await play(replace(plan, policies=going_on) if turns else plan)
    except NoAnswer as outage:
        return _broken_off(plan, outage, time.monotonic() - started)


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


def _broken_off(plan: EpisodePlan, outage: NoAnswer, wall_s: float) -> Episode:
    n = len(outage.turns)
    return Episode(
        id=plan.id,
        task_id=plan.task.id,
        template=plan.task.template,
        family=plan.task.family,
        policies=tuple({"name": p.name, "digest": p.digest} for p in plan.policies),
        agent_side=plan.agent_side,
        rules=plan.rules.to_dict(),
        seed=plan.seed,
        repeat=plan.repeat,
        turns=outage.turns,
        ending="failed",
        outcome="policy_api_error",
        failure=f"side {n % 2}, turn {n}: {outage}",
        tag=plan.tag,
        timing={"wall_s": wall_s},
    )


def training_plans(
    tasks: Sequence[SocialTask],
    policy: Policy,
    partner: Policy,
    rules: Rules,
    seed: int,
    tag: str,
    partner_share: float,
    repeats: int = 1,
) -> list[EpisodePlan]:
    """Plans of a data round: on a drawn share of the tasks the policy meets `partner`, in both speaking orders (only
    its own side is then under study); on the others it plays both sides, as in the paper (partner_share 0).

    Whether a task is among them depends on the seed and the task alone. Raises ValueError for a share outside [0, 1].
    """
    if not 0 <= partner_share <= 1:
        raise ValueError(f"partner_share is {partner_share}; it is a share of the tasks, in [0, 1]")
    plans = []
    for task in tasks:
        number = int(task.id.rsplit("-", 1)[1], 16)
        partnered = np.random.default_rng([seed, _PARTNERED, number]).random() < partner_share
        for repeat in range(repeats):
            if partnered:
                plans += against([task], policy, partner, rules, seed, tag, repeat)
            else:
                plans.append(EpisodePlan(task, (policy, policy), rules, seed, repeat=repeat, tag=tag))
    return plans


def against(
    tasks: Sequence[SocialTask], agent: Policy, partner: Policy, rules: Rules, seed: int, tag: str, repeat: int = 0
) -> list[EpisodePlan]:
    """Plans of an agent against a fixed partner on every task, in both speaking orders."""
    return [
        EpisodePlan(task, (agent, partner) if side == 0 else (partner, agent), rules, seed, repeat, side, tag)
        for task in tasks
        for side in (0, 1)
    ]
