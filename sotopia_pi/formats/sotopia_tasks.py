"""Sotopia's combinations as social tasks: a published scenario, the two who play it, and what lies between them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sotopia_pi.formats.published_payoffs import KINDS, Unpriced, published_payoff
from sotopia_pi.formats.record_lines import Refusal
from sotopia_pi.formats.sotopia_constraints import Constraints
from sotopia_pi.formats.sotopia_profiles import Combination, Profile, SotopiaProfiles
from sotopia_pi.store.items import content_id
from sotopia_pi.world.characters import Character, RelatedPair
from sotopia_pi.world.payoffs import Payoff
from sotopia_pi.world.population import scenario_templates
from sotopia_pi.world.tasks import Scenario, SocialTask

SPLIT = "eval"
"""Published combinations are what agents are evaluated on; training on them would be training on the test."""


@dataclass(frozen=True)
class Stakes:
    """What became of the goals of one scenario whose kind a rule can check.

    payoff: None where the text could not be read; reason: why not, else "".
    """

    env_id: str
    codename: str
    source: str
    payoff: Payoff | None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "env_id": self.env_id,
            "codename": self.codename,
            "source": self.source,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class PublishedWorld:
    """Profiles put together: find characters, scenarios and the story of a pair, and make tasks of them."""

    profiles: SotopiaProfiles

    @cached_property
    def characters(self) -> dict[str, Character]:
        return {profile.value.id: profile.value for profile in self.profiles.characters}

    @cached_property
    def scenarios(self) -> dict[str, Scenario]:
        return {profile.value.template: profile.value for profile in self.profiles.scenarios}

    @cached_property
    def stakes(self) -> dict[str, Stakes]:
        """By scenario id, for the kinds that a rule can check."""
        return {env_id: read_stakes(one) for env_id, one in self.scenarios.items() if one.source in KINDS}

    @cached_property
    def pairs(self) -> dict[frozenset[str], tuple[RelatedPair, ...]]:
        """Relationships by the two ids; a pair may have several, of different levels."""
        found: dict[frozenset[str], tuple[RelatedPair, ...]] = {}
        for profile in self.profiles.relationships:
            key = frozenset((profile.value.first, profile.value.second))
            found[key] = (*found.get(key, ()), profile.value)
        return found

    def task(self, scenario: Scenario, agent_ids: tuple[str, str], split: str = SPLIT) -> SocialTask:
        """The task of a scenario with these two on side 0 and side 1. Raises KeyError for an unknown id."""
        stakes = self.stakes.get(scenario.template)
        payoff = stakes.payoff if stakes else None
        return SocialTask(
            scenario,
            (self.characters[agent_ids[0]], self.characters[agent_ids[1]]),
            background=self.story(agent_ids, scenario.relationship),
            payoff=payoff,
            split=split,
            hard=scenario.template in self.profiles.hard,
            has_zone=bool(payoff.zone()) if payoff else True,
        )

    def story(self, agent_ids: tuple[str, str], level: int) -> str:
        """What lies between two people at a relationship level; "" where no profile tells it."""
        return next((pair.story for pair in self.pairs.get(frozenset(agent_ids), ()) if pair.level == level), "")


@dataclass(frozen=True)
class PublishedTasks:
    """The tasks of all combinations, those refused, and remarks on those that were taken over all the same."""

    tasks: tuple[SocialTask, ...]
    refused: tuple[Refusal, ...]
    remarks: tuple[Refusal, ...]


def published_tasks(world: PublishedWorld) -> PublishedTasks:
    """One task a combination. A combination of unknown ids is refused; one that a constraint speaks against, or
    without a story, is taken over and remarked on: the publishers put these two together."""
    constraints = {p.value.template: Constraints.of(dict(p.record)) for p in world.profiles.scenarios}
    tasks: dict[str, SocialTask] = {}
    refused: list[Refusal] = []
    remarks: list[Refusal] = []
    for profile in world.profiles.combinations:
        unknown = list(_unknown(world, profile.value))
        if unknown:
            refused.append(_about(profile, f"{' and '.join(unknown)}; add the profile or drop the combination"))
            continue
        task = world.task(world.scenarios[profile.value.env_id], profile.value.agent_ids)
        if task.id in tasks:
            refused.append(_about(profile, "the same scenario with the same two stands in an earlier line; drop one"))
            continue
        tasks[task.id] = task
        against = constraints[profile.value.env_id].broken_by(task.characters)
        without = [] if task.background else [f"no relationship profile of level {int(task.scenario.relationship)}"]
        remarks += [_about(profile, remark) for remark in against + without]
    return PublishedTasks(tuple(tasks.values()), tuple(refused), tuple(remarks))


def environment_id(scenario: Scenario) -> str:
    """The id by which a scenario is published: its own one, or a hash where many were drawn from one template here."""
    drawn_here = scenario.template in {template.id for template in scenario_templates()}
    return content_id("scenario", scenario.to_dict()) if drawn_here else scenario.template


def profiles_of(tasks: Sequence[SocialTask]) -> SotopiaProfiles:
    """Tasks as profiles, to take one's own to Sotopia: its characters, stories, scenarios and combinations.

    A payoff has no place in profiles; what matters of it stands in the goals.
    """
    characters, pairs, scenarios, combinations = {}, {}, {}, {}
    for task in tasks:
        env_id = environment_id(task.scenario)
        first, second = (character.id for character in task.characters)
        level = task.scenario.relationship
        characters |= {character.id: Profile(character) for character in task.characters}
        scenarios[env_id] = Profile(replace(task.scenario, template=env_id))
        combinations[task.id] = Profile(Combination(task.id, env_id, (first, second)))
        if task.background:
            pair = RelatedPair(*sorted((first, second)), level, task.background)
            pairs[pair.first, pair.second, level] = Profile(pair)
    hard = frozenset(environment_id(task.scenario) for task in tasks if task.hard)
    return SotopiaProfiles(*(tuple(d.values()) for d in (characters, pairs, scenarios, combinations)), hard=hard)


def read_stakes(scenario: Scenario) -> Stakes:
    """What became of the goals of one scenario."""
    about = (scenario.template, scenario.codename, scenario.source)
    try:
        return Stakes(*about, published_payoff(scenario))
    except Unpriced as problem:
        return Stakes(*about, None, str(problem))


def stakes_table(stakes: Iterable[Stakes]) -> dict[str, dict[str, int]]:
    """By kind: scenarios, and of how many the goals could be read."""
    counts: dict[str, Counter] = {kind: Counter(scenarios=0, read=0) for kind in KINDS}
    for one in stakes:
        counts[one.source].update(scenarios=1, read=one.payoff is not None)
    return {kind: dict(counter) for kind, counter in counts.items()}


def _unknown(world: PublishedWorld, combination: Combination) -> Iterable[str]:
    if combination.env_id not in world.scenarios:
        yield f"scenario {combination.env_id} is not among the {len(world.scenarios)} read"
    for agent_id in combination.agent_ids:
        if agent_id not in world.characters:
            yield f"character {agent_id} is not among the {len(world.characters)} read"


def _about(profile: Profile[Combination], reason: str) -> Refusal:
    return Refusal(profile.file, profile.line, profile.value.id, reason)
