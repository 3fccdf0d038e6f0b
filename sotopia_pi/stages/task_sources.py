"""Where a run's tasks come from: the built-in templates, a language model that writes them, or published profiles."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from sotopia_pi.formats.inspirations import (
    NORMBANK,
    SOCIAL_CHEMISTRY,
    SOCIAL_IQA,
    Inspiration,
    RefusedRow,
    read_inspirations,
)
from sotopia_pi.formats.sotopia_hub import profiles_folder
from sotopia_pi.formats.sotopia_profiles import read_profiles
from sotopia_pi.formats.sotopia_tasks import PublishedWorld, published_tasks
from sotopia_pi.stages.cast import Cast
from sotopia_pi.stages.inspirations import UsedPrompts, clean, evaluation_prompts, own_prompts
from sotopia_pi.stages.judged_tasks import social_tasks
from sotopia_pi.stages.simulate import Progress
from sotopia_pi.stages.task_writer import write_scenarios
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.store.params import ParameterError
from sotopia_pi.store.stage import Stage
from sotopia_pi.world.tasks import Scenario, SocialTask

BUILT_IN, WRITER = "templates", "writer"
LAYOUTS = {layout.source: layout for layout in (SOCIAL_CHEMISTRY, SOCIAL_IQA, NORMBANK)}
SCENARIOS, USED = "scenarios.jsonl", "used_prompts.jsonl"

Wanted = Mapping[str, TaskCounts]
"""Split ("bc", "sr", "eval") -> how many tasks; of written tasks `zone` counts the scenarios."""


@dataclass(frozen=True)
class DrawnTasks:
    """The tasks of all splits; counts: what went in and was dropped; scenario_ids: items that the stage names."""

    tasks: tuple[SocialTask, ...]
    counts: dict[str, int] = field(default_factory=dict)
    scenario_ids: tuple[str, ...] = ()

    @property
    def items(self) -> dict[str, list[str]]:
        """Ids by file, for the stage's manifest."""
        written = {SCENARIOS: list(self.scenario_ids)} if self.scenario_ids else {}
        return {"tasks.jsonl": [task.id for task in self.tasks], **written}


@dataclass(frozen=True)
class TaskSources:
    """training: "templates" or "writer". evaluation: the same, or a folder of Sotopia's profiles, or `hub:SPACE`.

    prompts: source (social_chemistry, social_iqa, normbank) -> its file; without any, the product's own prompts.
    pairs: character pairs a written scenario. eval_pairs, eval_pairs_hard: pairs of a published scenario, ordinary and
    hard (in the paper one pair over all 90 scenarios, five over the 14 hard ones).
    """

    training: str = BUILT_IN
    evaluation: str = BUILT_IN
    prompts: Mapping[str, str] = field(default_factory=dict)
    pairs: int = 10
    eval_pairs: int = 1
    eval_pairs_hard: int = 5

    def __post_init__(self):
        if self.training not in (BUILT_IN, WRITER):
            raise ParameterError(f"tasks_from is {self.training!r}; allowed: {BUILT_IN!r} and {WRITER!r}")
        unknown = sorted(set(self.prompts) - set(LAYOUTS))
        if unknown:
            raise ParameterError(f"prompts names {', '.join(unknown)}; allowed: {', '.join(LAYOUTS)}")

    def written(self, wanted: Wanted) -> dict[str, int]:
        """Split -> scenarios that the writer is asked for."""
        source = {"bc": self.training, "sr": self.training, "eval": self.evaluation}
        return {split: counts.zone for split, counts in wanted.items() if source[split] == WRITER}

    async def tasks(self, wanted: Wanted, seed: int, stage: Stage, cast: Cast, progress: Progress) -> DrawnTasks:
        """Every split's tasks, in the order bc, sr, eval."""
        by_split: dict[str, Iterable[SocialTask]] = {}
        written = await self._write(self.written(wanted), seed, stage, cast, progress)
        counts = dict(written.counts)
        for split, how_many in wanted.items():
            if split in self.written(wanted):
                by_split[split] = [task for task in written.tasks if task.split == split]
            elif split == "eval" and self.evaluation != BUILT_IN:
                found = published_tasks(PublishedWorld(read_profiles(profiles_folder(self.evaluation))))
                by_split[split] = self._chosen(found.tasks, how_many.zone)
                counts |= {"published tasks": len(found.tasks), "published tasks refused": len(found.refused)}
            else:
                by_split[split] = draw_tasks(split, how_many, seed)
        return DrawnTasks(tuple(chain.from_iterable(by_split.values())), counts, written.scenario_ids)

    def _chosen(self, published: Iterable[SocialTask], n_scenarios: int) -> list[SocialTask]:
        """The first pairs of the first scenarios, in the publishers' order; n_scenarios 0: of all scenarios."""
        by_scenario: dict[str, list[SocialTask]] = {}
        for task in published:
            by_scenario.setdefault(task.template, []).append(task)
        kept = list(by_scenario.values())[: n_scenarios or None]
        return [t for tasks in kept for t in tasks[: self.eval_pairs_hard if tasks[0].hard else self.eval_pairs]]

    async def _write(
        self, scenarios: Mapping[str, int], seed: int, stage: Stage, cast: Cast, progress: Progress
    ) -> DrawnTasks:
        """Scenarios for each split, one inspirational prompt each and none twice, and the tasks made of them."""
        if not scenarios:
            return DrawnTasks(())
        pool = clean(self._rows(), evaluation_prompts())
        used = UsedPrompts(stage.run_dir / USED)
        total = sum(scenarios.values())
        prompts = used.claim(pool, total, seed, f"{stage.run}, {stage.name}")
        file = stage.items(SCENARIOS)
        result = await write_scenarios(prompts, cast.writer(), file, cast.watched(progress), cast.at_once, seed)
        of_prompt = {one.inspiration.key: one.scenario for one in result.written if one.scenario is not None}
        tasks: list[SocialTask] = []
        counts: dict[str, int] = pool.counts() | result.counts()
        for split, its_prompts in zip(scenarios, _cut(prompts, scenarios.values()), strict=True):
            accepted: list[Scenario] = [of_prompt[p.key] for p in its_prompts if p.key in of_prompt]
            made = social_tasks(accepted, seed, self.pairs, split)
            tasks += made.tasks
            counts |= {f"{what} ({split})": n for what, n in made.counts().items()}
        return DrawnTasks(tuple(tasks), counts, tuple(result.ids))

    def _rows(self) -> Iterable[Inspiration | RefusedRow]:
        if not self.prompts:
            return own_prompts()
        return chain.from_iterable(read_inspirations(file, LAYOUTS[source]) for source, file in self.prompts.items())


def _cut(prompts: tuple[Any, ...], sizes: Iterable[int]) -> Iterator[tuple[Any, ...]]:
    """The prompts in runs of these lengths."""
    start = 0
    for size in sizes:
        yield prompts[start : start + size]
        start += size
