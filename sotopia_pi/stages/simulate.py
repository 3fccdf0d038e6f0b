"""Playing: a map over planned episodes that only plays what is missing and writes each one as it ends."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sotopia_pi.models.negotiator import Expert
from sotopia_pi.models.partner import EvaluationPartner
from sotopia_pi.stages.interrupted import play_on
from sotopia_pi.stages.side_by_side import side_by_side
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.unanswered import earlier_attempts
from sotopia_pi.world.agreements import bargained_by_rule
from sotopia_pi.world.baselines import TrivialPolicy
from sotopia_pi.world.episode import Episode, EpisodePlan, Policy, Rules
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

    One that a server's fault ended in an earlier start goes on from the turn that had no answer. An episode that raises
    does not stop the others; the first error is raised once the rest is written. Only StopAsking (a wrong key, a spent
    budget) ends them all: what is in play ends, nothing more begins. Raises ValueError before anything is played where
    a scripted policy was given a task that it has no words for.
    """
    check_words(plans)
    attempts = earlier_attempts(file.path)
    here = {item["id"]: Episode.from_dict(item) for item in file.read()}
    wanted = sorted((plan for plan in plans if plan.id not in here), key=_players)
    found = len(plans) - len(wanted)

    async def one(plan: EpisodePlan) -> None:
        earlier = [Episode.from_dict(attempt) for attempt in attempts.get(plan.id, ())]
        episode = await play_on(plan, earlier[-1].turns if earlier else ())
        file.append(episode.to_dict())
        here[episode.id] = episode
        progress.advance(failed=episode.outcome != "completed")

    await side_by_side(wanted, one, at_once, "episodes could not be played", file.path)
    return Collected(tuple(here[plan.id] for plan in plans), found)


def _players(plan: EpisodePlan) -> list[str]:
    """Who plays; a local model answers sooner where those who are side by side carry the same adapter."""
    return sorted(policy.name for policy in plan.policies)


def check_words(plans: Sequence[EpisodePlan]) -> None:
    """Raises ValueError where a scripted policy is to play a task that it has no words for."""
    for plan in plans:
        if plan.task.payoff is None or bargained_by_rule(plan.task.payoff):
            continue
        for policy in plan.policies:
            if isinstance(policy, Expert | EvaluationPartner | TrivialPolicy):
                raise ValueError(
                    f"task {plan.task.id} ({plan.task.family}): the scripted policy {policy.name!r} has no words for "
                    f"such deals; it plays the built-in families and prices. Give this task's sides to language models "
                    f"instead, or leave the task out."
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
