"""Opening what a role's string names: a chat that answers, or a policy that plays.

Only a local model brings torch along, and only the client brings the SDK; both are imported when one is opened.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sotopia_pi.models.limits import Budget, Limited
from sotopia_pi.models.llm_policy import LLMPolicy
from sotopia_pi.models.meter import Meter
from sotopia_pi.models.negotiator import expert
from sotopia_pi.models.partner import evaluation_partner, training_partner
from sotopia_pi.models.reply_cache import Cached
from sotopia_pi.models.roles import SCRIPTED, ModelSpec
from sotopia_pi.models.seam import Chat, Sampling
from sotopia_pi.models.weights import prepare
from sotopia_pi.store.items import ItemFile, content_id
from sotopia_pi.store.params import ParameterError
from sotopia_pi.world import baselines
from sotopia_pi.world.episode import Policy

if TYPE_CHECKING:
    from sotopia_pi.models.openai_chat import Retries


@dataclass(frozen=True)
class OpenedModel:
    """A chat, and the digest of what decides how it answers.

    A server cannot be asked for a digest of its weights: there it is the model's name and the server's address, so a
    server that moved counts as another model, and one whose weights were swapped under the same name does not.
    """

    spec: ModelSpec
    chat: Chat
    digest: str
    closing: Callable[[], Awaitable[None]]

    async def close(self) -> None:
        """Close connections, or end the local model's thread and free its memory."""
        await self.closing()

    def behind(
        self,
        at_once: int | None = None,
        budget: Budget | None = None,
        meter: Meter | None = None,
        cache: ItemFile | None = None,
    ) -> "OpenedModel":
        """The same model with its chat wrapped, each wrapper where it belongs.

        From the outside in: the cache, so that what it holds costs nothing and waits for nobody; the limit of calls
        at once; the budget, so that only a call about to be made sets money aside; the meter, which counts what was
        really asked. A local model costs no money: it is metered as free and stands under no budget.
        """
        chat, local = self.chat, self.spec.kind == "local"
        if meter is not None:
            chat = meter.around(chat, self.spec.name, self.spec.role, free=local)
        if budget is not None and not local:
            chat = budget.around(chat, self.spec.name, self.spec.role)
        if at_once is not None:
            chat = Limited(chat, at_once)
        if cache is not None:
            chat = Cached(chat, cache, self.digest)
        return replace(self, chat=chat)


def open_chat(
    spec: ModelSpec, timeout_s: float = 120.0, retries: "Retries | None" = None, **loading: Any
) -> OpenedModel:
    """The chat of an `openai` or `local` model.

    timeout_s, retries: of a server's client. loading: of a local model, as `LocalModel` takes it (dtype, max_batch,
    max_context, exact). Raises ParameterError for policies and rules, which do not chat, and WeightsError.
    """
    match spec.kind:
        case "openai":
            from sotopia_pi.models.openai_chat import OpenAIChat

            chat = OpenAIChat(spec.name, spec.base_url, spec.key_env or None, spec.role, timeout_s, retries)
            served = {"protocol": "openai", "model": spec.name, "base_url": spec.base_url}
            return OpenedModel(spec, chat, content_id("model", served), chat.close)
        case "local":
            return _open_local(spec, loading)
        case _:
            raise ParameterError(
                f"role {spec.role!r}: {str(spec)!r} is no model that can be asked; where words are wanted, write "
                f"openai:MODEL or local:NAME."
            )


def open_policy(
    spec: ModelSpec,
    opened: OpenedModel | None = None,
    seed: int = 0,
    name: str = "",
    prompt_format: str = "chat",
    sampling: Sampling | None = None,
    retries: int = 1,
    few_shot: tuple[tuple[str, ...], ...] = (),
) -> Policy:
    """The policy of a role that plays: scripted, or a language model that was opened before.

    seed: of a scripted policy's habits. The other settings are those of `LLMPolicy`; name: as tables show it, else
    the model's own. Raises ParameterError for a judge's rule and for a language model that was not opened.
    """
    if spec.kind == "scripted":
        return scripted_policy(spec.name, seed)
    if opened is None or opened.spec != spec:
        given = f"another one, {str(opened.spec)!r}, was given" if opened else "it was not opened"
        raise ParameterError(
            f"role {spec.role!r}: {str(spec)!r} plays through a chat, but {given}; pass opened=open_chat(spec)."
        )
    return LLMPolicy(
        opened.chat,
        name=name or spec.name,
        model_digest=opened.digest,
        prompt_format=prompt_format,
        sampling=sampling or Sampling(),
        retries=retries,
        few_shot=few_shot,
    )


def scripted_policy(name: str, seed: int = 0) -> Policy:
    """A scripted policy by its name in SCRIPTED. Raises ParameterError for any other."""
    match name:
        case "expert":
            return expert(seed)
        case "partner":
            return evaluation_partner(seed)
        case "training-partner":
            return training_partner(seed)
        case "always-accept":
            return baselines.always_accept()
        case "never-concede":
            return baselines.never_concede()
        case "stall-then-accept":
            return baselines.stall_then_accept()
        case "random-valid":
            return baselines.random_valid()
        case "step-conceder":
            return baselines.step_conceder()
        case "split-the-difference":
            return baselines.split_the_difference()
        case _:
            raise ParameterError(f"there is no scripted policy {name!r}; there are: {', '.join(SCRIPTED)}.")


def _open_local(spec: ModelSpec, loading: dict[str, Any]) -> OpenedModel:
    from sotopia_pi.models.local_model import LocalModel

    adapters = {spec.adapter: spec.adapter} if spec.adapter else {}
    model = LocalModel(prepare(spec.name), adapters=adapters, **loading)

    async def closing() -> None:
        model.close()

    adapter = spec.adapter or None
    return OpenedModel(spec, model.chat(adapter), model.digest(adapter), closing)
