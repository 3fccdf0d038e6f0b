"""The command `sotopia-pi push`: a run's model or data to the Hugging Face hub, only when asked, or as a dry run."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Container, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sotopia_pi.app.export_folder import REPORT, ExportFolder, ExportReport
from sotopia_pi.app.finished_run import FinishedRun
from sotopia_pi.app.share import named_variant
from sotopia_pi.formats.cards import CardOptions
from sotopia_pi.formats.hub_push import ENDPOINT, TOKEN, PushFailed, checked_repository, push_folder
from sotopia_pi.store.items import write_atomically
from sotopia_pi.store.manifest import file_sha256
from sotopia_pi.store.notebook import project_root
from sotopia_pi.store.params import SECRET_VALUE, ParameterError

SCHEMA = "push/1"
PLACE = "export/push"
WHATS = {"model": "model", "merged": "model", "data": "dataset"}
"""What can be sent, and the hub's kind of repository for it."""
TEXT_SUFFIXES = {".md", ".json", ".jsonl", ".jinja", ".txt", ""}
FAILED = 1


def add_push(commands: argparse._SubParsersAction) -> None:
    """Add `push` to the command line."""
    push = commands.add_parser(
        "push",
        help="send a trained variant or the data of a run to the Hugging Face hub",
        description=f"Send a trained variant or the data of a run, with its card, to a repository on the Hugging Face "
        f"hub. The token is read from the environment variable {TOKEN}; {ENDPOINT} may name another server.",
    )
    push.add_argument("run", help="a run's name, for instance laptop")
    push.add_argument("--to", required=True, metavar="OWNER/NAME", help="the repository")
    push.add_argument(
        "--what", choices=WHATS, default="model", help="an adapter (default), a merged model, or the run's data"
    )
    push.add_argument("--variant", metavar="NAME", help="which trained variant, for instance BC+SR")
    push.add_argument("--license", default="", metavar="ID", help="the licence to state, in the hub's short form")
    push.add_argument("--data", default="", metavar="OWNER/NAME", help="the data set that a model's card names")
    push.add_argument("--public", action="store_true", help="a new repository is private without it")
    push.add_argument("--update", action="store_true", help="commit onto a repository that exists")
    push.add_argument("--dry-run", action="store_true", help="write what would be sent and its list; send nothing")
    push.set_defaults(action=push_command)


def push_command(arguments: argparse.Namespace) -> int:
    """`push`: write what is to be sent, look it through for secrets, and send it; prints the list as JSON."""
    try:
        repository = checked_repository(arguments.to)
        options = CardOptions(
            arguments.license, checked_repository(arguments.data) if arguments.data else "", repository
        )
    except ValueError as error:
        raise ParameterError(str(error)) from error
    run = FinishedRun.named(project_root(), arguments.run)
    write, subject = _writer(run, arguments, options)
    folder = run.dir / PLACE / repository.replace("/", "--")
    report = ExportFolder(folder, force=True).fill(write)
    refuse_strangers(folder, [*report["files"], REPORT])
    refuse_private(folder, run.root)
    told = sending_list(folder) | {"to": repository, "kind": WHATS[arguments.what], "public_if_new": arguments.public}
    _note(folder, told)
    if not arguments.dry_run:
        try:
            done = push_folder(folder, repository, told["kind"], subject, arguments.public, arguments.update)
        except PushFailed as error:
            print(error, file=sys.stderr, flush=True)
            return FAILED
        told |= {"commit": done.commit, "address": done.address}
        _note(folder, told)
    print(json.dumps(told, ensure_ascii=False, indent=1))
    return 0


def _note(folder: Path, told: dict[str, Any]) -> None:
    """Write the list of what is sent beside its folder."""
    text = json.dumps(told, ensure_ascii=False, indent=1)
    write_atomically(folder.with_name(f"{folder.name}.json"), f"{text}\n".encode())


def sending_list(folder: Path) -> dict[str, Any]:
    """Every file that would be sent, with its size in bytes and sha256."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [
        {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in paths
    ]
    return {"schema": SCHEMA, "files": files, "bytes": sum(file["bytes"] for file in files), "folder": folder.name}


def refuse_strangers(folder: Path, own: Container[str]) -> None:
    """Raises ParameterError where a folder to be sent holds files that this command did not write."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    strangers = [name for name in found if name not in own]
    if strangers:
        raise ParameterError(
            f"{folder} holds {len(strangers)} files that are not part of what is to be sent, first {strangers[0]}; "
            f"nothing was sent. Move them away."
        )


def refuse_private(folder: Path, root: Path) -> None:
    """Raises ParameterError where a file to be sent holds what looks like a key, or a place of this machine."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in TEXT_SUFFIXES):
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            for kind in _private(line, root):
                raise ParameterError(
                    f"{path.relative_to(folder)}, line {number} holds {kind}; nothing was sent. Take it out of what "
                    f"the run holds, or send the folder {folder} by other means once you have mended it there."
                )


def _private(line: str, root: Path) -> Iterator[str]:
    token = os.environ.get(TOKEN, "").strip()
    if SECRET_VALUE.search(line) or (token and token in line):
        yield "what looks like a key"
    if any(f"{place}/" in line for place in (root, Path.home()) if place != Path("/")):
        yield "a path of this machine"


def _writer(
    run: FinishedRun, arguments: argparse.Namespace, options: CardOptions
) -> tuple[Callable[[Path], ExportReport], str]:
    """What writes the folder, and the words of the commit."""
    if arguments.what == "data":
        from sotopia_pi.app.export_dataset import write_dataset

        if arguments.variant:
            raise ParameterError("--variant goes with a model; the data of a run are sent whole.")
        return partial(write_dataset, run, options=options), f"Data of the run {run.name}"
    variant = named_variant(run, arguments.variant)
    if arguments.what == "merged":
        from sotopia_pi.app.export_merged import write_merged

        write = partial(write_merged, run, variant=variant, dtype="auto", options=options)
        return write, f"{variant.name} of the run {run.name}, merged"
    from sotopia_pi.app.export_adapters import write_one

    return partial(write_one, run, variant=variant, options=options), f"{variant.name} of the run {run.name}"
