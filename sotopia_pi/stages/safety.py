"""Stage 07: every variant as the one who wants to injure and as the one who prevents it, against a fixed partner."""

from collections.abc import Mapping, Sequence
from typing import Any

from sotopia_pi.formats.sotopia_hub import profiles_folder
from sotopia_pi.formats.sotopia_profiles import read_profiles
from sotopia_pi.formats.sotopia_tasks import PublishedWorld, published_tasks
from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.stages.cast import Cast
from sotopia_pi.stages.evaluate import BASE, Speech, model_policy
from sotopia_pi.stages.played import read_tasks
from sotopia_pi.stages.safety_judge import Judgement
from sotopia_pi.stages.safety_tasks import REVENGE_PLOT, ROLES, SafetyTask, own_tasks, published_among, repeated
from sotopia_pi.stages.toxic_words import WordList
from sotopia_pi.store.params import ParameterError
from sotopia_pi.store.stage import Stage
from sotopia_pi.world.episode import EpisodePlan, Policy, Rules

OWN, PUBLISHED = "own", "published"
"""Where the tasks come from: the scenarios that come along, or the published one."""
NO_PUBLISHED = (
    f"No task of the published scenario {REVENGE_PLOT} is at hand, so nothing is played. Name a folder of Sotopia's "
    "profiles (or hub:cmu-lti/sotopia-space) in `profiles` here or in `evaluation` of 01_social_tasks, or set "
    "tasks_from to 'own'."
)


def safety_tasks(stage: Stage, tasks_from: str, profiles: str, n: int, seed: int) -> list[SafetyTask]:
    """The tasks of a cell of n episodes: n of our own, or all of the published scenario that there are (maybe none).

    profiles: folder of Sotopia's profiles or `hub:SPACE`; empty: the published tasks that stage 01 took over. Raises
    ParameterError for another tasks_from.
    """
    if tasks_from not in (OWN, PUBLISHED):
        raise ParameterError(f"tasks_from is {tasks_from!r}; allowed: {OWN!r} and {PUBLISHED!r}")
    if tasks_from == OWN:
        return own_tasks(n, seed)
    if profiles:
        return published_among(published_tasks(PublishedWorld(read_profiles(profiles_folder(profiles)))).tasks)
    return published_among(read_tasks(stage, "eval") if stage.has_input("01_social_tasks", "tasks.jsonl") else [])


def safety_cast(stage: Stage, expert: str, partner: str, judge: str, more_agents: Sequence[str]) -> Cast:
    """Who stands behind the roles here. A scripted expert is left out; partner "base" is opened with the base model.

    Raises ParameterError for a scripted partner or agent: the scripted policies have no words for such tasks.
    """
    for role, text in (("partner", partner), *(("agent", text) for text in more_agents)):
        if text.startswith("scripted:"):
            raise ParameterError(
                f"{stage.name}: {role} is {text!r}, which has no words for these tasks; allowed: "
                f"{f'{BASE!r}, ' if role == 'partner' else ''}openai:MODEL[@BASE_URL] or local:NAME_OR_FOLDER"
            )
    roles = {f"agent {text}": text for text in more_agents} | {"judge": judge}
    roles |= {} if expert.startswith("scripted:") else {"expert": expert}
    return Cast(stage, **roles, **({} if partner == BASE else {"partner": partner}))


def safety_agents(cast: Cast, model: LocalModel, speech: Speech, adapters: Sequence[str]) -> dict[str, Policy]:
    """Base, every trained variant, and the expert and further agents where they are language models."""
    agents: dict[str, Policy] = {BASE: model_policy(model, BASE, speech)}
    agents |= {name: model_policy(model, name, speech, adapter=name) for name in adapters}
    asked = {"prompt_format": speech.prompt_format, "sampling": speech.sampling}
    others = [role for role in cast.specs if role == "expert" or role.startswith("agent ")]
    return agents | {role.removeprefix("agent "): cast.policy(role, **asked) for role in others}


def fixed_partner(cast: Cast, model: LocalModel, speech: Speech) -> Policy:
    """Whom all agents meet: the model a preset names, else the base model with no adapter, alike for every variant."""
    if "partner" in cast.specs:
        return cast.policy("partner", prompt_format=speech.prompt_format, sampling=speech.sampling)
    return model_policy(model, f"partner ({BASE})", speech)


def safety_plans(
    tasks: Sequence[SafetyTask], n: int, agents: Mapping[str, Policy], partner: Policy, rules: Rules, seed: int
) -> list[EpisodePlan]:
    """n episodes for every agent in each of the two roles, on the same tasks; the tag is the variant's name."""
    plans = []
    for variant, agent in agents.items():
        for role in ROLES:
            for of, repeat in repeated(tasks, n):
                side = of.side_of(role)
                policies = (agent, partner) if side == 0 else (partner, agent)
                plans.append(EpisodePlan(of.task, policies, rules, seed, repeat, side, tag=variant))
    return plans


def notes(
    tasks_from: str,
    absent: Mapping[str, str],
    agents: Mapping[str, Policy],
    partner: Policy,
    words: WordList,
    judgements: Sequence[Judgement],
) -> dict[str, Any]:
    """For the run card: who played whom on which tasks, who could not, and by which list and prompt it was read."""
    return {
        "tasks": tasks_from,
        "policies": {name: agent.digest for name, agent in agents.items()},
        "partner": {"name": partner.name, "digest": partner.digest},
        "not played": dict(absent),
        "toxic words": {"name": words.name, "licence": words.licence, "digest": words.digest},
        "judge prompt": judgements[0].raw[0]["judge"]["prompt"] if judgements else "not asked",
    }
