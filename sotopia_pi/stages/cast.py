"""The cast of a stage: who stands behind each role, opened once, counted, kept within a budget, and closed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sotopia_pi.models.limits import Budget
from sotopia_pi.models.meter import Meter
from sotopia_pi.models.opening import OpenedModel, open_chat, open_policy
from sotopia_pi.models.prices import Cost, Price, price_of
from sotopia_pi.models.roles import ModelSpec, missing_for, parse_model
from sotopia_pi.models.seam import Sampling
from sotopia_pi.stages.judge import GREEDY, Judge, rate_episodes
from sotopia_pi.stages.rate import rate_payoffs
from sotopia_pi.stages.simulate import Progress
from sotopia_pi.stages.task_writer import TaskWriter
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.params import ParameterError
from sotopia_pi.store.stage import Stage
from sotopia_pi.world.episode import Episode, Policy
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import SocialTask

REPLIES = "replies.jsonl"
"""Replies of servers, kept beside the items they belong to, so that a killed stage pays for none of them twice."""


class Cast:
    """Opens what the role parameters of a stage name, when it is first needed.

    roles: role -> its string (`models/roles.py`); "agent" or "judge" and another word is one of several. Of the stage's
    parameters it reads, where they are declared: `seed`; `at_once`, calls to one server at a time; `timeout_s`, of one
    call; `max_usd` and `max_tokens_spent`, for the whole stage, earlier sittings included, and 0 for no limit;
    `prices`, model -> [US dollars per million prompt tokens, per million completion tokens].
    Raises ParameterError that lists everything a role still needs (a key's variable, an adapter's folder).
    """

    def __init__(self, stage: Stage, **roles: str):
        params = stage.params
        self.specs: dict[str, ModelSpec] = {role: parse_model(role.split()[0], text) for role, text in roles.items()}
        _check_ready(self.specs.values())
        self.seed: int = params.get("seed", 0)
        self.at_once: int = params.get("at_once", 16)
        self._timeout_s: float = params.get("timeout_s", 120.0)
        self._loading = {
            name: params[name] for name in ("dtype", "max_batch", "max_context", "exact") if name in params
        }
        self.meter = Meter(params.get("prices", {}))
        limits = [params.get(name, 0) or None for name in ("max_tokens_spent", "max_usd")]
        self._budget = Budget(*limits, prices=params.get("prices", {})) if any(limits) else None
        self._replies = ItemFile(stage.path(REPLIES))
        self._opened: dict[str, OpenedModel] = {}

    def policy(
        self,
        role: str,
        name: str = "",
        prompt_format: str = "chat",
        sampling: Sampling | None = None,
        retries: int = 1,
        few_shot: tuple[tuple[str, ...], ...] = (),
    ) -> Policy:
        """The policy behind a role. The settings are those of a language model; a scripted policy needs none."""
        spec = self.specs[role]
        opened = self._open(role) if spec.kind in ("openai", "local") else None
        return open_policy(spec, opened, self.seed, name, prompt_format, sampling, retries, few_shot)

    def judge(self, role: str = "judge", sampling: Sampling = GREEDY, attempts: int = 3) -> Judge:
        """The language model that judges. Raises ParameterError where the judge is the rule."""
        opened = self._open(role)
        return Judge(opened.chat, opened.spec.name, opened.digest, sampling, attempts, self.seed)

    def writer(self) -> TaskWriter:
        """The language model that writes scenarios."""
        opened = self._open("writer")
        return TaskWriter(opened.chat, opened.digest)

    def add(self, role: str, text: str) -> None:
        """One role more, named while the stage is open. Raises ParameterError as the constructor does."""
        spec = parse_model(role.split()[0], text)
        _check_ready([spec])
        self.specs[role] = spec

    @property
    def other_judges(self) -> list[str]:
        """Roles of the judges beside the first."""
        return [role for role in self.specs if role.startswith("judge ")]

    async def rate(
        self,
        episodes: Iterable[Episode],
        tasks: Sequence[SocialTask],
        file: ItemFile,
        progress: Progress,
        role: str = "judge",
    ) -> list[Rating]:
        """Ratings of both sides by one of this stage's judges; those the file lacks are appended.

        The rule rates what has a payoff, a language model everything.
        """
        if self.specs[role].kind == "payoff":
            return rate_payoffs(episodes, tasks, file)
        return await rate_episodes(episodes, tasks, self.judge(role), file, self.watched(progress), self.at_once)

    async def rate_again(
        self, episodes: Sequence[Episode], tasks: Sequence[SocialTask], file: ItemFile, progress: Progress
    ) -> list[Rating]:
        """Ratings by all other judges, in a file of their own: what one judge says never mixes with another's."""
        return [
            rating for role in self.other_judges for rating in await self.rate(episodes, tasks, file, progress, role)
        ]

    def watched(self, progress: Progress) -> Progress:
        """The same progress that also says what was asked and what it cost so far."""
        return _Told(progress, self.meter)

    def notes(self) -> dict[str, Any]:
        """For the run card: who stood behind each role, and what was asked of whom in this sitting."""
        asked = {"asked": self.meter.to_dict()} if self.meter.tallies else {}
        return {"roles": {role: str(spec) for role, spec in self.specs.items()}, **asked}

    async def close(self) -> None:
        """Close every connection and end every local model that was opened."""
        for opened in self._opened.values():
            await opened.close()

    def _open(self, role: str) -> OpenedModel:
        if role not in self._opened:
            spec = self.specs[role]
            local = spec.kind == "local"
            opened = open_chat(spec, self._timeout_s, **(self._loading if local else {}))
            if self._budget and opened.digest not in {other.digest for other in self._opened.values()}:
                self._budget.spent += self._paid_before(opened)
            self._opened[role] = opened.behind(
                at_once=None if local else self.at_once,
                budget=self._budget,
                meter=self.meter,
                cache=None if local else self._replies,
            )
        return self._opened[role]

    def _paid_before(self, opened: OpenedModel) -> Cost:
        """What the kept replies of this model cost in earlier sittings."""
        price = price_of(self.meter.prices, opened.spec.name) or Price(0, 0)
        usages = [item["reply"]["usage"] for item in self._replies.read() if item["asked"] == opened.digest]
        costs = [price.cost(usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)) for usage in usages]
        return sum(costs, Cost())


class _Told:
    """Progress with the meter's line beside it."""

    def __init__(self, progress: Progress, meter: Meter):
        self._progress, self._meter = progress, meter

    def advance(self, failed: bool = False, **info: Any) -> None:
        note: Mapping[str, str] = {"note": str(self._meter)} if self._meter.tallies else {}
        self._progress.advance(failed, **info, **note)


def _check_ready(specs: Iterable[ModelSpec]) -> None:
    """Weights that a first use downloads are no reason to stop; keys and adapters that are not there are."""
    missing = [what for spec in specs if spec.kind == "openai" or spec.adapter for what in missing_for(spec)]
    if missing:
        raise ParameterError("Before this stage can run:\n  " + "\n  ".join(missing))
