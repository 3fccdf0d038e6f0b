"""Export of what a run trained on, as training files of other tools."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sotopia_pi.app.export_folder import ExportReport, LeftOut
from sotopia_pi.app.finished_run import FinishedRun, NotFinished
from sotopia_pi.app.sft_check import compare
from sotopia_pi.formats.sft_layouts import Layout, export_sft, kept_turns
from sotopia_pi.stages.examples import SFTExample
from sotopia_pi.stages.selection import KeptSide
from sotopia_pi.world.episode import Episode

CLONING, REINFORCEMENT = "03_behavior_cloning", "05_self_reinforcement"
STAGES = (CLONING, REINFORCEMENT)
"""The stages that train."""
EPISODES, EXAMPLES = "episodes.jsonl", "examples.jsonl"
SELECTION, VARIANTS = "selection.jsonl", "variants.jsonl"


@dataclass(frozen=True)
class Taught:
    """What one variant learnt. model: as `prepare` takes it; examples: trained on, in the plan's order; held_out:
    left aside to measure a loss; kept: the selected sides; episodes: those they are sides of."""

    variant: str
    stem: str
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
        return list({(e.episode_id, e.side): e for e in reversed(self.examples)}.values())[::-1]


def write_sft(run: FinishedRun, folder: Path, layout: Layout, only: Sequence[str] = ()) -> ExportReport:
    """Write what stages 03 and 05 trained on in a layout, a file a variant.

    only: stages by number or name; they must be complete. The examples are rendered again and compared with those
    trained on, where the model's tokenizer is on this machine. Raises NotFinished where nothing was trained.
    """
    asked = [run.stage(one) for one in only]
    stages = asked or run.stages_with(EXAMPLES, SELECTION)
    if not stages:
        raise NotFinished(f"Run {run.name} has no complete stage that trained. {run.advice(CLONING)}")
    left_out = [LeftOut(stage, 1, run.advice(stage)) for stage in STAGES if not asked and stage not in stages]
    tasks, counts, differing, formats = list(run.tasks().values()), {}, {}, set()
    for taught in _taught(run, stages, left_out):
        sides = taught.sides
        told = taught.episodes, tasks, taught.prompt_format, taught.turns
        path = folder / f"{run.name}-{taught.stem}.jsonl"
        counts[taught.variant] = export_sft(path, layout, sides, *told)
        compared = compare(list(kept_turns(sides, *told)), taught.examples, taught.model)
        counts[taught.variant] |= {"examples trained on": len(taught.examples), **compared.counts()}
        differing[taught.variant] = compared.to_dict()
        left_out += _unlearnt(taught)
        formats.add(taught.prompt_format)
    if not counts:
        why = "; ".join(f"{one.what}: {one.why}" for one in left_out)
        raise NotFinished(f"Run {run.name} trained nothing that could be exported. {why}")
    what = {"kind": "sft", "run": run.name, "layout": layout}
    return ExportReport(what, counts, left_out, _remarks(layout, formats), {"compared": differing})


def _taught(run: FinishedRun, stages: Sequence[str], left_out: list[LeftOut]) -> Iterator[Taught]:
    """Every variant that these stages trained; those that were not trained are added to `left_out` with the reason."""
    for stage in stages:
        variants = [{"id": "BC", "trained": True, "folder": "bc"}]
        if VARIANTS in run.manifest(stage)["items"]:
            variants = run.items(stage, VARIANTS)
        for variant in variants:
            if variant["trained"]:
                yield _read_taught(run, stage, variant["id"], variant["folder"])
            else:
                left_out.append(LeftOut(f"variant {variant['id']}", 1, f"not trained: {variant['reason']}"))


def _read_taught(run: FinishedRun, stage: str, variant: str, folder: str) -> Taught:
    from sotopia_pi.stages.batches import split
    from sotopia_pi.stages.training_plan import TrainingPlan

    plan = TrainingPlan.read(run.dir / stage / folder)
    items = {item["id"]: item for item in run.items(stage, EXAMPLES)}
    parts = split([SFTExample.from_dict(items[name]) for name in plan.example_ids], plan.settings)
    episodes = _played_for(run, stage)
    learnt_from = {example.episode_id for example in parts.train}
    tags = {episode.tag for episode in episodes if episode.id in learnt_from}
    kept = [KeptSide.from_dict(item) for item in run.items(stage, SELECTION)]
    return Taught(
        variant=variant,
        stem=folder,
        model=plan.model,
        prompt_format=run.manifest(stage)["params"]["prompt_format"],
        examples=parts.train,
        held_out=parts.held_out,
        kept=tuple(one for one in kept if one.tag in tags),
        episodes=episodes,
    )


def _played_for(run: FinishedRun, stage: str) -> tuple[Episode, ...]:
    """The episodes that a stage trained on. Raises NotFinished where they were played anew since."""
    ((name, digest),) = [one for one in run.manifest(stage)["inputs"].items() if one[0].endswith(f"/{EPISODES}")]
    source = name.removesuffix(f"/{EPISODES}")
    if run.manifest(source)["digests"][EPISODES] != digest:
        raise NotFinished(f"{run.name}/{name} was made anew since {stage} learned from it. {run.advice(stage)}")
    return tuple(Episode.from_dict(item) for item in run.items(source, EPISODES))


def _unlearnt(taught: Taught) -> Iterator[LeftOut]:
    """Selected sides that nothing was learnt from."""
    learnt = {(e.episode_id, e.side) for e in (*taught.examples, *taught.held_out)}
    idle = sum((one.episode_id, one.side) not in learnt for one in taught.kept)
    if idle:
        why = "longer than max_tokens, or without a turn to learn from: the training left them out too"
        yield LeftOut(f"selected sides of {taught.variant}", idle, why)
    if taught.held_out:
        yield LeftOut(
            f"examples of {taught.variant}", len(taught.held_out), "held out of the training to measure a loss"
        )


def _remarks(layout: Layout, formats: set[str]) -> list[str]:
    """What whoever trains on the files must set, for them to learn what was learnt here."""
    if "chat" not in formats:
        return []
    return {
        "alpaca": ["train with mask_history: true; earlier turns of a side are in the history of its later ones"],
        "messages": ["messages with weight 0 carried no loss; a trainer that does not read weights learns [none], too"],
    }.get(layout, [])
