"""Social tasks of written scenarios: character pairs drawn by relationship level and ages. Their goals need a judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sotopia_pi.world.characters import Character
from sotopia_pi.world.population import pairs_for
from sotopia_pi.world.tasks import Scenario, SocialTask

PAPER_PAIRS = 10
"""Character pairs a scenario (Sotopia-π, appendix on task generation)."""
_STAGE = 14

Pairs = Callable[[int, tuple[int, int], np.random.Generator], list[tuple[Character, Character, str]]]
"""(relationship level, age range, random numbers) -> shuffled (side 0, side 1, story) that fit; ValueError for none."""


@dataclass(frozen=True)
class JudgedTasks:
    """Tasks in the order of their scenarios. short: template -> pairs found, where fewer fitted than were wanted."""

    tasks: tuple[SocialTask, ...]
    short: dict[str, int]
    n_scenarios: int

    def counts(self) -> dict[str, int]:
        """Count table: scenarios, those with too few fitting pairs, those with none, and tasks."""
        return {
            "scenarios": self.n_scenarios,
            "scenarios with fewer pairs than wanted": sum(n > 0 for n in self.short.values()),
            "scenarios dropped: no pair fits level and ages": sum(n == 0 for n in self.short.values()),
            "tasks": len(self.tasks),
        }


def social_tasks(
    scenarios: Sequence[Scenario],
    seed: int,
    pairs_per_scenario: int = PAPER_PAIRS,
    split: str = "bc",
    pairs: Pairs = pairs_for,
) -> JudgedTasks:
    """Tasks without payoff: all pairs of a scenario's level, filtered by its ages, shuffled, the first n of them.

    split: "bc", "sr" or "eval". pairs: from where pairs come; the product's own characters by default. What a
    scenario gets depends on the seed and the scenario alone. Raises ValueError for an unknown split or a template
    that occurs twice.
    """
    if split not in ("bc", "sr", "eval") or pairs_per_scenario < 1:
        raise ValueError(
            f"split {split!r} with {pairs_per_scenario} pairs; allowed: bc, sr or eval, and 1 pair or more"
        )
    templates = [scenario.template for scenario in scenarios]
    if twice := sorted({name for name in templates if templates.count(name) > 1}):
        raise ValueError(f"scenario {twice[0]} came more than once; give each written scenario one time")
    tasks: list[SocialTask] = []
    short: dict[str, int] = {}
    for scenario in scenarios:
        found = _pairs_of(scenario, seed, pairs)[:pairs_per_scenario]
        tasks += [SocialTask(scenario, (first, second), story, None, split) for first, second, story in found]
        if len(found) < pairs_per_scenario:
            short[scenario.template] = len(found)
    return JudgedTasks(tuple(tasks), short, len(templates))


def _pairs_of(scenario: Scenario, seed: int, pairs: Pairs) -> list[tuple[Character, Character, str]]:
    number = int.from_bytes(scenario.template.encode(), "big")
    try:
        return pairs(scenario.relationship, scenario.age_range, np.random.default_rng([seed, _STAGE, number]))
    except ValueError:
        return []
