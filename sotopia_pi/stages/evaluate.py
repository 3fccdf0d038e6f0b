"""Stage 06: the variants, the expert and the trivial policies as agents against the fixed partner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sotopia_pi.models.llm_policy import LLMPolicy
from sotopia_pi.models.seam import Sampling
from sotopia_pi.stages.simulate import against
from sotopia_pi.world import baselines
from sotopia_pi.world.agreements import bargained_by_rule
from sotopia_pi.world.episode import EpisodePlan, Policy, Rules
from sotopia_pi.world.tasks import SocialTask

if TYPE_CHECKING:
    from sotopia_pi.models.local_model import LocalModel

BASE, FEW_SHOT = "base", "base few-shot"


@dataclass(frozen=True)
class Speech:
    """How a language-model agent is asked and read. retries: further attempts after an unparsable reply."""

    prompt_format: str
    sampling: Sampling
    retries: int = 1


def model_policy(
    model: "LocalModel", name: str, speech: Speech, adapter: str | None = None, few_shot: tuple = ()
) -> LLMPolicy:
    """The local model, with or without an adapter, as a policy named after its variant."""
    return LLMPolicy(
        model.chat(adapter),
        name=name,
        model_digest=model.digest(adapter),
        prompt_format=speech.prompt_format,
        sampling=speech.sampling,
        retries=speech.retries,
        few_shot=few_shot,
    )


def trained_agents(model: "LocalModel", speech: Speech, adapters: Sequence[str], few_shot: tuple) -> dict[str, Policy]:
    """Base, few-shot base and one agent per trained variant. adapters: variant names the model holds adapters for."""
    agents: dict[str, Policy] = {BASE: model_policy(model, BASE, speech)}
    if few_shot:
        agents[FEW_SHOT] = model_policy(model, FEW_SHOT, speech, few_shot=few_shot)
    for variant in adapters:
        agents[variant] = model_policy(model, variant, speech, adapter=variant)
    return agents


def baseline_agents(tasks: Sequence[SocialTask]) -> dict[str, Policy]:
    """The trivial policies every goal table shows, and two more that a sceptic would try.

    They bargain by rule: where tasks have no payoff, or one over pieces or friends, there are none.
    """
    if not all(bargained_by_rule(task.payoff) for task in tasks):
        return {}
    policies = [*baselines.trivial_policies(), baselines.step_conceder(), baselines.split_the_difference()]
    return {policy.name: policy for policy in policies}


def evaluation_plans(
    tasks: Sequence[SocialTask], agents: Mapping[str, Policy], partner: Policy, rules: Rules, seed: int
) -> list[EpisodePlan]:
    """Every agent against the partner on every task, in both speaking orders; the tag is the variant's name."""
    return [
        plan for variant, agent in agents.items() for plan in against(tasks, agent, partner, rules, seed, tag=variant)
    ]
