"""Rounds of self-reinforcement: who plays and learns in a round, and which tasks are left that no round has played.

A run is one round. A further one is a run of its own that goes on from the agents another run trained.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sotopia_pi.stages.trained import CLONING, REINFORCEMENT
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.params import ParameterError
from sotopia_pi.store.stage import Stage
from sotopia_pi.world.tasks import SocialTask

PLAYING, ROUND_TASKS = "04_agent_episodes", "round_tasks.jsonl"
PLAYED_BY = {"SR": "base", "BC+SR": "BC"}
"""Whose play each variant learns from in the first round: the agent it continues from."""


@dataclass(frozen=True)
class SelfPlay:
    """One round. number: from 1. agents: who plays -> its adapter, None for the base.

    learners: variant -> the agent whose play it learns from and whose adapter it continues. absent: variant -> why it
    is not in this round. earlier: what `round_tasks` wrote for the rounds before.
    """

    number: int
    agents: dict[str, Path | None]
    learners: dict[str, str]
    absent: dict[str, str]
    earlier: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        learning = ", ".join(f"{variant} learns from the play of {agent}" for variant, agent in self.learners.items())
        return "\n".join([f"Round {self.number}: {learning}", *(f"{v}: {why}" for v, why in self.absent.items())])

    @property
    def adapters(self) -> dict[str, Path]:
        """The agents that have an adapter."""
        return {agent: path for agent, path in self.agents.items() if path is not None}

    def start(self, variant: str) -> Path | None:
        """The adapter that a variant's training continues, None where it begins with the base."""
        return self.agents[self.learners[variant]]

    def check_played(self, agents: Iterable[str]) -> None:
        """Raises ParameterError where others played than those this round learns from."""
        if set(agents) != set(self.agents):
            raise ParameterError(
                f"{PLAYING} was played by {', '.join(agents)}, and round {self.number} learns from the play of "
                f"{', '.join(self.agents)}; give stages 04 and 05 the same `continues`"
            )

    def fresh(self, tasks: Sequence[SocialTask], n: int) -> list[SocialTask]:
        """The first n tasks that no earlier round was given (0: all of them). Raises ParameterError for too few."""
        used = {item["id"] for item in self.earlier}
        left = [task for task in tasks if task.id not in used]
        if len(left) < n or (used and not left):
            raise ParameterError(
                f"round {self.number} of self-reinforcement wants {n or 'some'} tasks, and {len(left)} of "
                f"{len(tasks)} are left that no earlier round was given; raise n_sr of stage 01 or lower tasks_a_round"
            )
        return left[: n or None]

    def round_tasks(self, tasks: Sequence[SocialTask]) -> list[dict[str, Any]]:
        """Items of the file that tells the next round which tasks are spent: those of earlier rounds, then these."""
        own = [{"schema": "round-task/1", "id": task.id, "round": self.number} for task in tasks]
        return [*self.earlier, *own]


def self_play(stage: Stage, continues: str = "") -> SelfPlay:
    """The round that a stage is in. continues: the run whose SR and BC+SR play and learn on; "" for the first round.

    What is read of that run counts as this stage's input. Raises MissingInput where it is not complete, ParameterError
    where it trained neither variant or is this very run.
    """
    if not continues:
        cloned = stage.input_path(CLONING, "bc/adapter")
        return SelfPlay(1, {"base": None, "BC": cloned}, dict(PLAYED_BY), {})
    if continues == stage.run:
        raise ParameterError(f"continues is {continues!r}, this very run; name the run that holds the round before")
    earlier = _items(stage, PLAYING, ROUND_TASKS, continues)
    told = _items(stage, REINFORCEMENT, "variants.jsonl", continues)
    trained = [one for one in told if one["trained"]]
    agents = {one["id"]: stage.input_path(REINFORCEMENT, f"{one['folder']}/adapter", continues) for one in trained}
    absent = {one["id"]: f"run {continues} did not train it: {one['reason']}" for one in told if not one["trained"]}
    if not agents:
        raise ParameterError(f"continues is {continues!r}, which trained nothing that could play on: {absent}")
    return SelfPlay(max(i["round"] for i in earlier) + 1, dict(agents), {v: v for v in agents}, absent, tuple(earlier))


def _items(stage: Stage, source: str, file: str, run: str) -> list[dict[str, Any]]:
    return ItemFile(stage.input_path(source, file, run)).read()
