"""Rows of the episode index to be read: as lines of a list, as a static table, and as files to take away."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sotopia_pi.analysis.episode_filter import Filter, Order, score_column
from sotopia_pi.analysis.episode_index import EpisodeIndex
from sotopia_pi.analysis.escaping import escaped, visible
from sotopia_pi.store.items import write_atomically

SPACE = "\N{NO-BREAK SPACE}"
"""What keeps columns apart in a list's options, where plain spaces would run together."""
SIDES = {0: "first", 1: "second", -1: "both"}
DEALS = {1: "deal", 0: "no deal", -1: ""}
WIDTHS = {
    "stage": 5,
    "variant": 18,
    "task": 30,
    "speaks": 6,
    "score": 7,
    "other": 7,
    "deal": 7,
    "turns": 5,
    "ending": 24,
}
"""Columns of a line and how many characters each has; `score` is the one asked for, `other` the other side's."""


def table_rows(index: EpisodeIndex, rows: Sequence[int], chosen: Filter) -> list[dict[str, str]]:
    """The columns of WIDTHS for some rows, as text. ending: with what failed."""
    own = score_column(chosen)
    other = score_column(Filter(score=chosen.score, role="partner" if chosen.role == "agent" else "agent"))
    found = []
    for one in index.frame.iloc[list(rows)].to_dict("records"):
        ending = one["ending"] if one["outcome"] == "completed" else one["outcome"]
        ending += f", {one['n_failed']} unreadable" if one["n_failed"] else ""
        found.append(
            {
                "stage": one["stage"].partition("_")[0],
                "variant": one["variant"],
                "task": one["codename"] + (" (hard)" if one["hard"] else ""),
                "speaks": SIDES[one["side"]],
                "score": _number(one[own]),
                "other": _number(one[other]),
                "deal": DEALS[one["deal"]],
                "turns": str(one["n_turns"]),
                "ending": ending.replace("_", " "),
            }
        )
    return found


def line(cells: dict[str, str]) -> str:
    """One row as text of fixed width, for a list in a monospaced face."""
    return SPACE.join(_fitted(visible(cells[name]), width) for name, width in WIDTHS.items())


def heading(chosen: Filter) -> str:
    """The line above the list."""
    names = _headings(chosen)
    return line(names | {"score": names["score"][: WIDTHS["score"]]})


def table_html(index: EpisodeIndex, rows: Sequence[int], chosen: Filter) -> str:
    """The same as a static table."""
    head = "".join(f"<th>{escaped(name)}</th>" for name in _headings(chosen).values())
    body = "".join(
        f"<tr>{''.join(f'<td>{escaped(cells[name])}</td>' for name in WIDTHS)}</tr>"
        for cells in table_rows(index, rows, chosen)
    )
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


@dataclass(frozen=True)
class Exported:
    """Where a selection was written, and how much of it there is."""

    folder: Path
    episodes: int
    ratings: int


def export_selection(index: EpisodeIndex, rows: np.ndarray, chosen: Filter, order: Order, folder: Path) -> Exported:
    """Write a selection into the next free `folder/<number>/`: nothing exported before is touched.

    episodes.jsonl, ratings.jsonl: the items as they lie in the run, in the selection's order. episodes.csv: a row an
    episode with its address and all columns. selection.json: what was asked for.
    """
    number = max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=0) + 1
    target = folder / str(number)
    target.mkdir(parents=True)
    n_ratings = 0
    with (target / "episodes.jsonl").open("wb") as episodes, (target / "ratings.jsonl").open("wb") as ratings:
        for row in rows:
            played, rated = index.lines(int(row))
            episodes.write(played)
            ratings.writelines(rated)
            n_ratings += len(rated)
    table = index.frame.iloc[rows]
    table.insert(0, "address", [index.address(int(row)) for row in rows])
    _write_csv(target / "episodes.csv", table)
    asked = {"run": index.run, "filter": asdict(chosen), "order": asdict(order), "episodes": len(rows)}
    write_atomically(target / "selection.json", (json.dumps(asked, indent=1, ensure_ascii=False) + "\n").encode())
    return Exported(target, len(rows), n_ratings)


def _headings(chosen: Filter) -> dict[str, str]:
    """Column of WIDTHS -> its name for a reader: the score asked for, and whose is the one beside it."""
    whose = "partner" if chosen.role == "agent" else "agent"
    return {name: name for name in WIDTHS} | {"score": chosen.score, "other": whose}


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    write_atomically(path, table.to_csv(index=False).encode("utf-8", "replace"))


def _number(score: float) -> str:
    return "–" if np.isnan(score) else f"{score:.1f}"


def _fitted(text: str, width: int) -> str:
    text = text.replace(" ", SPACE)
    return text[: width - 1] + "…" if len(text) > width else text.ljust(width, SPACE)
