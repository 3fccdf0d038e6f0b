"""People's ratings as a CSV sheet: one row a side, written and read back without loss."""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sotopia_pi.stages.assignment import annotator_name
from sotopia_pi.stages.human_ratings import Entry, Judgement
from sotopia_pi.store.items import write_atomically
from sotopia_pi.world.ratings import DIMENSIONS

NEEDED = ("annotator", "episode_id", "side", *DIMENSIONS, "reason")
OPTIONAL = ("revision", "seconds", "saved_at")
SHOWN_PROBLEMS = 20


class SheetError(ValueError):
    """A sheet cannot be read; the message names every bad row by its number, the heading being row 1."""


def write_sheet(path: Path | str, entries: Iterable[Entry]) -> None:
    """Write a sheet, atomically, in the order of the entries."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*NEEDED, *OPTIONAL])
    writer.writeheader()
    writer.writerows(_row(entry) for entry in entries)
    write_atomically(path, text.getvalue().encode())


def read_sheet(path: Path | str) -> list[Entry]:
    """The entries of a sheet, comma- or semicolon-separated, its columns in any order.

    Without a revision a row means the next one of its side. Raises SheetError; a sheet with a bad row gives nothing.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SheetError(f"{path}: not UTF-8 ({error}). Save the sheet as CSV in UTF-8 and read it again.") from error
    heading = text.partition("\n")[0]
    delimiter = ";" if heading.count(";") > heading.count(",") else ","
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    names = rows[0] if rows else []
    _check_heading(path, names)
    entries, problems = [], []
    for number, row in enumerate(rows[1:], 2):
        try:
            entries += [_entry(_named(names, row))] if row else []
        except ValueError as error:
            problems.append(f"row {number}: {error}")
    if problems:
        more = f"\nand {len(problems) - SHOWN_PROBLEMS} rows more" if len(problems) > SHOWN_PROBLEMS else ""
        told = "\n".join(problems[:SHOWN_PROBLEMS]) + more
        raise SheetError(f"{path}: nothing was read from it. Mend these rows and read it again:\n{told}")
    return entries


def _check_heading(path: Path, names: list[str]) -> None:
    missing = [name for name in NEEDED if name not in names]
    unknown = [name for name in names if name not in (*NEEDED, *OPTIONAL)]
    if missing or unknown or len(set(names)) < len(names):
        raise SheetError(
            f"{path}, row 1: the heading has {', '.join(names) or 'no columns'}; missing: "
            f"{', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}. Needed once each: "
            f"{', '.join(NEEDED)}; allowed as well: {', '.join(OPTIONAL)}."
        )


def _row(entry: Entry) -> dict[str, Any]:
    times = {name: entry.times.get(name, "") for name in ("seconds", "saved_at")}
    place = {"annotator": entry.annotator, "episode_id": entry.episode_id, "side": entry.side}
    revision = "" if entry.revision is None else entry.revision
    return {**place, **entry.judgement.scores, "reason": entry.judgement.reason, "revision": revision, **times}


def _named(names: list[str], row: list[str]) -> dict[str, str]:
    if len(row) != len(names):
        raise ValueError(f"{len(row)} fields, the heading has {len(names)}")
    return dict(zip(names, row, strict=True))


def _entry(cells: Mapping[str, str]) -> Entry:
    times: dict[str, Any] = {"saved_at": cells["saved_at"]} if cells.get("saved_at") else {}
    if cells.get("seconds"):
        times = {"seconds": _number("seconds", cells["seconds"], float), **times}
        if not 0 <= times["seconds"] < math.inf:
            raise ValueError(f"seconds is {cells['seconds']!r}; allowed are numbers from 0")
    if not cells["episode_id"].strip():
        raise ValueError("episode_id is empty; it names the episode that was rated")
    side = _number("side", cells["side"], int)
    if side not in (0, 1):
        raise ValueError(f"side is {side}; allowed are 0 (speaks first) and 1")
    revision = _number("revision", cells["revision"], int) if cells.get("revision") else None
    if revision is not None and revision < 1:
        raise ValueError(f"revision is {revision}; revisions count from 1")
    scores = {d: _number(d, cells[d], int) for d in DIMENSIONS if cells[d].strip()}
    judgement = Judgement(scores, cells["reason"])
    return Entry(annotator_name(cells["annotator"]), cells["episode_id"].strip(), side, judgement, revision, times)


def _number(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise ValueError(f"{name} is {text!r}, which is no {what}") from None
