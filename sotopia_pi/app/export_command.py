"""The command `sotopia-pi export`: a run's data for other tools."""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sotopia_pi.app.export_folder import ExportFolder, ExportReport
from sotopia_pi.app.export_merged import DTYPES
from sotopia_pi.app.finished_run import FinishedRun
from sotopia_pi.app.share import named_variant
from sotopia_pi.formats.cards import CardOptions
from sotopia_pi.formats.hub_push import checked_repository
from sotopia_pi.formats.record_lines import Unreadable
from sotopia_pi.formats.sft_layouts import DATASET_INFO, LAYOUTS
from sotopia_pi.store.notebook import project_root
from sotopia_pi.store.params import ParameterError

PLACE = "export"
"""Folder of a run's exports, inside the run's."""


def add_export(commands: argparse._SubParsersAction) -> None:
    """Add `export episodes | profiles | sft | adapters | merged | dataset` to the command line."""
    export = commands.add_parser("export", help="write a run's data for other tools")
    kinds = export.add_subparsers(required=True, metavar="KIND", dest="kind")
    _kind(kinds, "episodes", "episodes and ratings as Sotopia's EpisodeLog, with the profiles they refer to")
    _kind(kinds, "profiles", "the tasks as Sotopia's profile files")
    adapters = _kind(kinds, "adapters", "the trained adapters as PEFT folders with their model cards")
    merged = _kind(
        kinds,
        "merged",
        "a trained variant as a whole model, for servers that take no adapter",
        "The adapter is added to the base's full-precision weights, never to four-bit ones. Tokenizer, chat template "
        "and model card come along.",
    )
    merged.add_argument("--variant", metavar="NAME", help="which trained variant, for instance BC+SR")
    merged.add_argument(
        "--dtype", choices=DTYPES, default="auto", help="of the weights (default: as the base has them)"
    )
    dataset = _kind(kinds, "dataset", "what was trained on and played, for datasets.load_dataset, with its card")
    for shared in (adapters, merged, dataset):
        shared.add_argument("--license", default="", metavar="ID", help="the licence to state, in the hub's short form")
    for model in (adapters, merged):
        model.add_argument("--data", default="", metavar="OWNER/NAME", help="the hub's data set that the card names")
    sft = _kind(
        kinds,
        "sft",
        "what stages 03 and 05 trained on, one JSON Lines file a variant",
        "alpaca and messages come with LLaMA-Factory's dataset_info.json. In alpaca a row is one turn and the side's "
        "earlier turns are its history: train with `mask_history: true`, which puts the loss on the last turn only, "
        "else they are learnt again in every row. In messages, `weight` 0 marks what carried no loss.",
    )
    sft.add_argument("--layout", required=True, choices=LAYOUTS, help="how a row is laid out")


def export_command(arguments: argparse.Namespace) -> int:
    """`export`: write one kind of data, print counts and what was left out and why, as JSON."""
    run = FinishedRun.named(project_root(), arguments.run)
    folder = arguments.out or run.dir.joinpath(PLACE, *_parts(run, arguments))
    shared = (DATASET_INFO,) if arguments.kind == "sft" else ()
    try:
        report = ExportFolder(folder, arguments.force, shared).fill(_writer(run, arguments))
    except Unreadable as error:
        raise ParameterError(f"{folder}: {error}") from error
    print(json.dumps(report, ensure_ascii=False, indent=1))
    return 0


def _kind(kinds: argparse._SubParsersAction, name: str, what: str, more: str = "") -> argparse.ArgumentParser:
    parser = kinds.add_parser(name, help=what, description=f"Write {what}. {more}".strip())
    parser.add_argument("run", help="a run's name, for instance laptop")
    place = f"outputs/RUN/{PLACE}/{name}/" + {"sft": "LAYOUT/", "merged": "RUN-VARIANT/"}.get(name, "")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"where to (default {place})")
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace files that this command did not write, and remove those it no longer writes",
    )
    parser.set_defaults(action=export_command)
    return parser


def _parts(run: FinishedRun, arguments: argparse.Namespace) -> tuple[str, ...]:
    """Folders below a run's exports; where several exports of one kind may lie side by side, they have one each."""
    if arguments.kind == "sft":
        return arguments.kind, arguments.layout
    if arguments.kind == "merged":
        return arguments.kind, f"{run.name}-{named_variant(run, arguments.variant).folder}"
    return (arguments.kind,)


def _writer(run: FinishedRun, arguments: argparse.Namespace) -> Callable[[Path], ExportReport]:
    """What writes the asked kind into a folder."""
    if arguments.kind == "sft":
        from sotopia_pi.app.export_sft import write_sft

        return partial(write_sft, run, layout=arguments.layout)
    if arguments.kind == "adapters":
        from sotopia_pi.app.export_adapters import write_adapters

        return partial(write_adapters, run, options=_options(arguments))
    if arguments.kind == "merged":
        from sotopia_pi.app.export_merged import write_merged

        variant = named_variant(run, arguments.variant)
        return partial(write_merged, run, variant=variant, dtype=arguments.dtype, options=_options(arguments))
    if arguments.kind == "dataset":
        from sotopia_pi.app.export_dataset import write_dataset

        return partial(write_dataset, run, options=_options(arguments))
    from sotopia_pi.app.export_episodes import write_episodes, write_profiles

    if arguments.kind == "profiles":
        return partial(write_profiles, run)
    return partial(write_episodes, run)


def _options(arguments: argparse.Namespace) -> CardOptions:
    """What whoever exports adds to the cards. Raises ParameterError for a data set that the hub could not have."""
    data = getattr(arguments, "data", "")
    try:
        return CardOptions(arguments.license, checked_repository(data) if data else "")
    except ValueError as error:
        raise ParameterError(str(error)) from error
