"""Export of a run as a data set of the hub's form: what was trained on, what was played, and a card."""

import json
from pathlib import Path
from typing import Any

from sotopia_pi.app.export_episodes import further_ratings
from sotopia_pi.app.export_folder import ExportReport, LeftOut
from sotopia_pi.app.export_sft import trained_variants, write_sft
from sotopia_pi.app.finished_run import EPISODES, FinishedRun, NotFinished
from sotopia_pi.app.share import PLAYING, base_of, terms, training_round, version
from sotopia_pi.formats.cards import README, CardOptions, DataFacts, DataTable, data_card
from sotopia_pi.formats.episode_rows import EPISODE_FEATURES, TAUGHT_FEATURES, episode_rows
from sotopia_pi.formats.shown_model import shown_model, shown_role
from sotopia_pi.store.items import write_atomically, write_items
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating

DATA, RATINGS = "data", "ratings.jsonl"
SPLITS = dict(zip(PLAYING, ("expert", "agent", "evaluation"), strict=True))
"""What a stage's episodes are called as a split."""
SHOWN_TURNS = 2
"""Of the episode that the card shows."""
LAYOUT = "prompt-completion"
"""The one layout in which every row teaches one turn and no trainer can learn more of it."""


def write_dataset(run: FinishedRun, folder: Path, options: CardOptions) -> ExportReport:
    """Write a folder that `datasets.load_dataset` reads, with a configuration a trained variant and one of episodes.

    Raises NotFinished where nothing was trained or played.
    """
    trained, left_out = trained_variants(run)
    tables, counts = {}, {}
    report = write_sft(run, folder / DATA, LAYOUT)
    for variant in trained:
        name = f"sft-{variant.folder}"
        path = (folder / DATA / f"{run.name}-{variant.folder}.jsonl").replace(folder / DATA / f"{name}.jsonl")
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        files = {"train": (f"{DATA}/{path.name}", len(rows))}
        what = f"a turn that {variant.name} learnt: the conversation before it and the words to say"
        tables[name] = DataTable(what, files, TAUGHT_FEATURES, rows[0] if rows else {})
        counts[name] = {"rows": len(rows)}
    episodes, played = _episodes(run, folder)
    tables["episodes"] = episodes
    counts["episodes"] = {split: n for split, (_, n) in episodes.files.items()}
    left_out = [*report.left_out, *(one for one in played if one not in left_out)]
    sources, free = terms(run, base_of(run, trained[0]).name)
    facts = DataFacts(
        run=run.name,
        version=version(),
        tables=tables,
        taught={variant.name: training_round(run, variant) for variant in trained},
        roles=_roles(run),
        sources=sources,
        left_out=[f"{one.what} ({one.n}): {one.why}" for one in left_out],
        free=free,
        options=options,
    )
    write_atomically(folder / README, data_card(facts).encode())
    return ExportReport({"kind": "dataset", "run": run.name}, counts, left_out, more={"compared": _compared(report)})


def _compared(report: ExportReport) -> dict[str, Any]:
    """What came of rendering the examples again, without the places that were looked in for a model."""
    return {
        variant: {"unchecked": "the model is not on this machine"} if "unchecked" in found else found
        for variant, found in report.more["compared"].items()
    }


def _episodes(run: FinishedRun, folder: Path) -> tuple[DataTable, list[LeftOut]]:
    """Write a file of episodes for every complete stage that plays."""
    complete = run.stages_with(EPISODES, RATINGS)
    stages = [stage for stage in PLAYING if stage in complete]
    if not stages:
        raise NotFinished(f"Run {run.name} has no complete stage with episodes. {run.advice(PLAYING[0])}")
    left_out = [LeftOut(stage, 1, f"not complete. {run.advice(stage)}") for stage in PLAYING if stage not in complete]
    files: dict[str, tuple[str, int]] = {}
    example: dict[str, Any] = {}
    for stage in stages:
        played = [Episode.from_dict(item) for item in run.items(stage, EPISODES)]
        ratings = [Rating.from_dict(item) for item in run.items(stage, RATINGS)] + further_ratings(run, stage)
        rows = episode_rows(played, run.tasks(stage), ratings)
        name = f"{DATA}/episodes-{SPLITS[stage]}.jsonl"
        write_items(folder / name, rows)
        files[SPLITS[stage]] = name, len(rows)
        example = example or next(iter(rows), {})
    what, cut = "a talk with its task, turns and ratings", f"its turns cut to the first {SHOWN_TURNS}"
    example |= {"turns": example["turns"][:SHOWN_TURNS]} if example else {}
    return DataTable(what, files, EPISODE_FEATURES, example, cut), left_out


def _roles(run: FinishedRun) -> dict[str, str]:
    """Who played and rated what, by stage and role."""
    return {
        f"{shown_role(role)}, split {SPLITS[stage]}": shown_model(who)
        for stage in run.stages_with(EPISODES, RATINGS)
        if stage in SPLITS
        for role, who in run.manifest(stage)["notes"].get("roles", {}).items()
    }
