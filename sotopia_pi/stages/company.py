"""Whom a person can talk to in a run, and who rates the talk: each opened when first asked for, then kept open."""

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sotopia_pi.models.roles import parse_model
from sotopia_pi.models.seam import Sampling
from sotopia_pi.models.weights import prepare
from sotopia_pi.stages.cast import Cast
from sotopia_pi.stages.evaluate import BASE, Speech, model_policy
from sotopia_pi.stages.talk_files import TalkFiles
from sotopia_pi.stages.trained import trained_adapters
from sotopia_pi.store.params import ParameterError
from sotopia_pi.store.stage import Stage
from sotopia_pi.world.episode import Episode, Policy
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.scoring import rate_by_payoff
from sotopia_pi.world.tasks import SocialTask

if TYPE_CHECKING:
    from sotopia_pi.models.local_model import LocalModel

EXPERT = "expert"


class Company:
    """The base, the variants this run trained, the expert, further agents, any other model string, and the judge.

    Of the stage's parameters it reads `model`, `dtype`, `exact`, `max_batch`, `max_context`; `prompt_format`,
    `temperature`, `top_p`, `max_new_tokens`; `expert`, `more_agents`, `judge`; and what `Cast` reads. With those of
    stage 06, everybody here answers as there, under the same digest.

    names: whom one can choose; absent: variant -> why it is not there. Torch is imported when a local model is opened.
    """

    def __init__(self, stage: Stage):
        self._params: dict[str, Any] = stage.params
        self._adapters, self.absent = trained_adapters(stage)
        self._cast = Cast(stage)
        self._local: LocalModel | None = None
        self._policies: dict[str, Policy] = {}
        self._gate = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        return (BASE, *self._adapters, EXPERT, *self._params["more_agents"])

    @property
    def latest(self) -> str:
        """The variant that was trained last, or the base."""
        return [BASE, *self._adapters][-1]

    async def policy(self, name: str) -> Policy:
        """Who answers to a name, or to a model string; a model is loaded beside the event loop.

        Raises ParameterError for a variant that is not trained, a string that names no model, a key or an adapter that
        is not there; WeightsError and AdapterError for files that cannot be read.
        """
        return await asyncio.to_thread(self._opened, name)

    async def rate(self, episode: Episode, task: SocialTask) -> tuple[Rating, ...]:
        """Both sides' ratings by the judge; () where the rule is asked about a task without payoff."""
        text = self._params["judge"]
        if parse_model("judge", text).kind == "payoff":
            return rate_by_payoff(episode, task)
        judge = await asyncio.to_thread(self._judge, text)
        return await judge.rate(episode, task)

    async def close(self) -> None:
        """Close every connection, end every local model and free its memory; nobody can be asked any more."""
        await self._cast.close()
        if self._local is not None:
            self._local.close()
        self._policies, self._local = {}, None

    def _opened(self, name: str) -> Policy:
        with self._gate:
            if name not in self._policies:
                self._policies[name] = self._open(name)
            return self._policies[name]

    def _open(self, name: str) -> Policy:
        if name in self.absent:
            raise ParameterError(f"{name} is not there to talk to: {self.absent[name]}")
        params = self._params
        sampling = Sampling(params["temperature"], params["top_p"], params["max_new_tokens"])
        if name == BASE or name in self._adapters:
            adapter = self._adapters.get(name)
            speech = Speech(params["prompt_format"], sampling)
            return model_policy(self._model_with(name, adapter), name, speech, name if adapter else None)
        role = f"agent {name}"
        self._cast.add(role, params["expert"] if name == EXPERT else name)
        return self._cast.policy(role, prompt_format=params["prompt_format"], sampling=sampling)

    def _model_with(self, name: str, adapter: Path | None) -> "LocalModel":
        from sotopia_pi.models.local_model import LocalModel

        if self._local is None:
            sizes = {setting: self._params[setting] for setting in ("dtype", "max_batch", "max_context", "exact")}
            self._local = LocalModel(prepare(self._params["model"]), processes=1, **sizes)  # for one talk at a time
        if adapter is not None:
            self._local.add_adapter(name, adapter)
        return self._local

    def _judge(self, text: str) -> Any:
        with self._gate:
            if "judge" not in self._cast.specs:
                self._cast.add("judge", text)
            return self._cast.judge()


_open: list[Company] = []
"""The company of this kernel: a notebook that is run a second time does not keep a second model in memory."""


async def open_company(stage: Stage) -> Company:
    """The company of a stage, in the place of the one that this kernel opened before."""
    while _open:
        await _open.pop().close()
    _open.append(Company(stage))
    return _open[-1]


async def rate_the_unrated(company: Company, files: TalkFiles) -> int:
    """Rate what ended and has no rating, as after a kernel that died or a judge that was away; returns how many."""
    talks = files.talks()
    rated = {rating.episode_id for rating in talks.ratings}
    left = [episode for episode in talks.episodes if episode.outcome == "completed" and episode.id not in rated]
    for episode in left:
        files.rate(await company.rate(episode, talks.tasks[episode.task_id]))
    return len(left)
