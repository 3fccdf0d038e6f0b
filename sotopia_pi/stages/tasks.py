"""Stage 01: social tasks drawn from scenario templates, with private numbers, hard ones and ones without a zone."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sotopia_pi.world.families import DRAW, GATED, HELD_OUT
from sotopia_pi.world.families.draw import is_hard
from sotopia_pi.world.population import ScenarioTemplate, pairs_for, scenario_templates
from sotopia_pi.world.tasks import Scenario, SocialTask

HARD_SHARE = 0.25
"""A quarter of the tasks is hard, decided by `is_hard` on the stakes alone."""
SPLITS = {"bc": "train_bc", "sr": "train_sr", "eval": "eval"}
_STAGE = 1


@dataclass(frozen=True)
class TaskCounts:
    """How many tasks to draw. zone: tasks with a zone of agreement, spread over the gated families;
    no_zone: tasks where walking away is right; held_out: tasks of the family that training never sees.

    weights: gated family -> whole number of at least 1, how often it comes up in a round of drawing `zone` tasks; a
    family that is not named comes up once. Raises ValueError for another family or number.
    """

    zone: int
    no_zone: int = 0
    held_out: int = 0
    weights: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self):
        for family, weight in self.weights.items():
            if family not in GATED or not isinstance(weight, int) or weight < 1:
                raise ValueError(
                    f"weight of family {family!r} is {weight!r}; allowed: whole numbers from 1 for {', '.join(GATED)}"
                )


def draw_tasks(split: str, counts: TaskCounts, seed: int) -> list[SocialTask]:
    """Tasks of one split, no two alike. A quarter of those with a zone is hard, in every family alike.

    split: "bc", "sr" or "eval". Raises ValueError when a family has no template in the split.
    """
    wanted = [(family, True) for family in _spread(_rounds(counts.weights), counts.zone)]
    wanted += [(family, False) for family in _spread(GATED, counts.no_zone)]
    wanted += [(HELD_OUT, True)] * counts.held_out
    rng = np.random.default_rng([seed, _STAGE, list(SPLITS).index(split)])
    turns = {family: _template_turns(family, split, rng) for family in dict(wanted)}
    so_far: Counter = Counter()
    tasks: dict[str, SocialTask] = {}
    for family, has_zone in wanted:
        hard = has_zone and so_far[family] % round(1 / HARD_SHARE) == 1
        so_far[family] += has_zone
        task = _draw_one(next(turns[family]), split, rng, hard, has_zone)
        while task.id in tasks:
            task = _draw_one(next(turns[family]), split, rng, hard, has_zone)
        tasks[task.id] = task
    return list(tasks.values())


def _rounds(weights: Mapping[str, int]) -> list[str]:
    """Families in one round of drawing, each as often as its weight says."""
    most = max((1, *weights.values()))
    return [family for turn in range(most) for family in GATED if weights.get(family, 1) > turn]


def _spread(families: Sequence[str], n: int) -> list[str]:
    return list(itertools.islice(itertools.cycle(families), n))


def _template_turns(family: str, split: str, rng: np.random.Generator) -> Iterable[ScenarioTemplate]:
    """All templates of a family and split in a drawn order, over and over: each once before any comes twice."""
    templates = scenario_templates(family, SPLITS[split])
    if not templates:
        raise ValueError(f"no scenario template of family {family!r} for split {split!r} in world/data/templates.jsonl")
    return itertools.cycle([templates[i] for i in rng.permutation(len(templates))])


def _draw_one(template: ScenarioTemplate, split: str, rng: np.random.Generator, hard: bool, zone: bool) -> SocialTask:
    draw = DRAW[template.family](template.fields, rng, hard, zone)
    while bool(draw.payoff.zone()) != zone or is_hard(draw.payoff) != hard:
        draw = DRAW[template.family](template.fields, rng, hard, zone)
    level = int(rng.choice(template.relationships))
    first, second, story = pairs_for(level, (18, 70), rng)[0]
    scenario = Scenario(
        template=template.id,
        codename=template.codename,
        source=template.prompt,
        text=template.text.format(**draw.fill),
        goals=draw.goals,
        relationship=level,
    )
    characters = (first, second) if rng.random() < 0.5 else (second, first)
    return SocialTask(scenario, characters, story, draw.payoff, split, hard, zone)


@dataclass(frozen=True)
class Overlap:
    """What training and evaluation tasks have in common. near: largest word-5-gram Jaccard index, in [0, 1]."""

    templates: int
    same_text: int
    items: int
    characters: int
    near: float
    nearest: tuple[str, str]

    def check(self) -> None:
        """Raises ValueError when a template, a text or an item occurs on both sides, or two texts nearly agree."""
        if self.templates or self.same_text or self.items or self.near > NEAR_DUPLICATE:
            raise ValueError(
                f"evaluation tasks are not held out: {self.templates} templates, {self.same_text} texts and "
                f"{self.items} items are shared with training, closest texts {self.nearest} at {self.near:.2f} "
                f"(allowed: 0, 0, 0 and {NEAR_DUPLICATE}); move the template to one split in world/data/templates.jsonl"
            )


NEAR_DUPLICATE = 0.4
"""Jaccard index of word 5-grams above which two situation texts count as near-duplicates."""


def overlap(training: Sequence[SocialTask], evaluation: Sequence[SocialTask]) -> Overlap:
    """How far evaluation is held out from training: templates, texts, items, characters, near-duplicates."""
    near, nearest = 0.0, ("", "")
    ours = {task.scenario.text: word_grams(task.scenario.text) for task in training}
    for task in evaluation:
        theirs = word_grams(task.scenario.text)
        for text, grams in ours.items():
            index = len(grams & theirs) / max(1, len(grams | theirs))
            if index > near:
                near, nearest = index, (text, task.scenario.text)
    return Overlap(
        templates=len({t.template for t in training} & {t.template for t in evaluation}),
        same_text=len(set(ours) & {t.scenario.text for t in evaluation}),
        items=len(_items(training) & _items(evaluation)),
        characters=len(_people(training) & _people(evaluation)),
        near=near,
        nearest=nearest,
    )


def word_grams(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def _items(tasks: Iterable[SocialTask]) -> set[str]:
    """What is sold, divided, met at or lent: the things that must not be known from training."""
    found = set()
    for task in (task for task in tasks if task.payoff is not None):
        found |= {str(task.payoff.notes[key]) for key in ("item", "bill", "thing") if key in task.payoff.notes}
        found |= {issue.name for issue in task.payoff.issues if issue.kind == "item"}
        found |= {str(o) for issue in task.payoff.issues if issue.name == "place" for o in issue.options}
    return found


def _people(tasks: Iterable[SocialTask]) -> set[str]:
    return {character.id for task in tasks for character in task.characters}
