"""Export of what a run trained on, as training files of other tools."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sotopia_pi.app.export_folder import ExportReport, LeftOut
from sotopia_pi.app.finished_run import (
    EPISODES,
    EXAMPLES,
    PLAN_FILE,
    TRAINING,
    FinishedRun,
    NotFinished,
    TrainedVariant,
)
from sotopia_pi.app.sft_check import compare
from sotopia_pi.formats.sft_layouts import Layout, export_sft, kept_turns
from sotopia_pi.stages.examples import SFTExample, teaches
from sotopia_pi.stages.selection import KeptSide
from sotopia_pi.world.episode import Episode

SELECTION = "selection.jsonl"


@dataclass(frozen=True)
class Taught:
    """What one variant learnt. model: as `prepare` takes it; examples: trained on, in the plan's order; held_out:
    left aside to measure a loss; kept: the selected sides; episodes: those they are sides of."""

    model: str
    prompt_format: str
    examples: tuple[SFTExample, ...]
    held_out: tuple[SFTExample, ...]
    kept: tuple[KeptSide, ...]
    episodes: tuple[Episode, ...]

    @property
    def turns(self) -> dict[tuple[str, int], set[int] | None]:
        """(episode id, side) -> the turns that were examples of their own; None where the whole side was one."""
        found: dict[tuple[str, int], set[int] | None] = {}
        for example in self.examples:
            key = example.episode_id, example.side
            found[key] = None if example.turn < 0 else (found.get(key) or set()) | {example.turn}
        return found

    @property
    def sides(self) -> list[SFTExample]:
        """One example of each side, in order."""
        first: dict[tuple[str, int], SFTExample] = {}
        for example in self.examples:
            first.setdefault((example.episode_id, example.side), example)
        return list(first.values())


def write_sft(run: FinishedRun, folder: Path, layout: Layout) -> ExportReport:
    """Write what stages 03 and 05 trained on in a layout, a file a variant.

    The examples are rendered again and compared with those trained on, where the model is on this machine. Raises
    NotFinished where nothing was trained.
    """
    trained, left_out = trained_variants(run)
    counts, compared, formats = {}, {}, set()
    for variant in trained:
        taught = read_taught(run, variant)
        tasks = run.tasks(variant.stage).values()
        told = taught.sides, taught.episodes, tasks, taught.prompt_format, taught.turns
        counts[variant.name] = export_sft(folder / f"{run.name}-{variant.folder}.jsonl", layout, *told)
        again = compare(list(kept_turns(*told)), taught.examples, taught.model)
        counts[variant.name] |= {"examples trained on": len(taught.examples), **again.counts()}
        compared[variant.name] = again.to_dict()
        left_out += _unlearnt(variant.name, taught)
        formats.add(taught.prompt_format)
    what = {"kind": "sft", "run": run.name, "layout": layout}
    return ExportReport(what, counts, left_out, _remarks(layout, formats), {"compared": compared})


def trained_variants(run: FinishedRun) -> tuple[list[TrainedVariant], list[LeftOut]]:
    """The variants that a run trained, and what it did not train and why. Raises NotFinished where it trained none."""
    variants = run.variants()
    left_out = [LeftOut(f"variant {one.name}", 1, f"not trained: {one.reason}") for one in variants if not one.folder]
    complete = {one.stage for one in variants}
    left_out += [LeftOut(stage, 1, f"not complete. {run.advice(stage)}") for stage in TRAINING if stage not in complete]
    trained = [one for one in variants if one.folder]
    if not trained:
        why = "; ".join(f"{one.what}: {one.why}" for one in left_out)
        raise NotFinished(f"Run {run.name} trained nothing that could be exported. {why}")
    return trained, left_out


def read_taught(run: FinishedRun, variant: TrainedVariant) -> Taught:
    """What a variant learnt, as its plan and its stage's manifest name it. Raises NotFinished."""
    from sotopia_pi.stages.batches import split
    from sotopia_pi.stages.training_plan import TrainingPlan

    plan = TrainingPlan.read(run.file(variant.stage, f"{variant.folder}/{PLAN_FILE}").parent)
    items = {item["id"]: item for item in run.items(variant.stage, EXAMPLES)}
    parts = split([SFTExample.from_dict(items[name]) for name in plan.example_ids], plan.settings)
    episodes = tuple(Episode.from_dict(item) for item in run.input(variant.stage, EPISODES))
    learnt_from = {example.episode_id for example in (*parts.train, *parts.held_out)}
    tags = {episode.tag for episode in episodes if episode.id in learnt_from}
    kept = [KeptSide.from_dict(item) for item in run.items(variant.stage, SELECTION)]
    return Taught(
        model=plan.model,
        prompt_format=run.manifest(variant.stage)["params"]["prompt_format"],
        examples=parts.train,
        held_out=parts.held_out,
        kept=tuple(one for one in kept if one.tag in tags),
        episodes=episodes,
    )


def _unlearnt(variant: str, taught: Taught) -> Iterator[LeftOut]:
    """Selected sides, or turns of them where each is an example, that nothing was learnt from."""
    learnt = {(e.episode_id, e.side, e.turn) for e in (*taught.examples, *taught.held_out)}
    idle = sum(place not in learnt for place in _places(taught))
    if idle:
        what = "selected sides" if taught.prompt_format == "chat" else "turns of selected sides"
        why = "longer than max_tokens, or without words to learn: the training left them out too"
        yield LeftOut(f"{what} of {variant}", idle, why)
    if taught.held_out:
        yield LeftOut(f"examples of {variant}", len(taught.held_out), "held out of the training to measure a loss")


def _places(taught: Taught) -> Iterator[tuple[str, int, int]]:
    """(episode id, side, turn) of every example that the selection could have given; turn -1: a whole side."""
    episodes = {episode.id: episode for episode in taught.episodes}
    for one in taught.kept:
        turns = [turn.index for turn in episodes[one.episode_id].turns if turn.side == one.side and teaches(turn)]
        for turn in turns if taught.prompt_format == "sotopia" else [-1]:
            yield one.episode_id, one.side, turn


def _remarks(layout: Layout, formats: set[str]) -> list[str]:
    """What whoever trains on the files must set, for them to learn what was learnt here."""
    if "chat" not in formats:
        return []
    return {
        "alpaca": ["train with mask_history: true; earlier turns of a side are in the history of its later ones"],
        "messages": ["messages with weight 0 carried no loss; a trainer that does not read weights learns [none], too"],
    }.get(layout, [])
