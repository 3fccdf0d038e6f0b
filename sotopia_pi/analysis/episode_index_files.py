"""The files of an episode index: columns to filter by, places of whole items, and the words to search in.

Made once from a stage's JSON Lines and used as long as these are the same bytes. It is a cache and no result: whoever
deletes it loses the seconds it takes to make it.

header.json  what it was made from, the episodes' ids, and the names behind the numbers in the columns
rows.npy     one row an episode (ROW), in file order
ratings.npy  one row a rating (RATING), by episode
tasks.npy    one row a task that was played (TASK)
text.bin     per episode what was said, in UTF-8 and in lower case, up to its `text_end`; task_text.bin alike
"""

import json
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sotopia_pi.analysis.episode_sources import Source
from sotopia_pi.store.items import CorruptLine
from sotopia_pi.store.manifest import file_sha256
from sotopia_pi.world.ratings import DIMENSIONS

SCHEMA = "episode_index/1"
MADE_BY = file_sha256(Path(__file__))
"""An index made by another state of this module is made anew, whatever that changed."""
HEADER = "header.json"
SCORES = (*DIMENSIONS, "overall")
ROLES = ("agent", "partner")
SCORE_COLUMNS = tuple(f"{role}_{score}" for role in ROLES for score in SCORES)
NAMED = ("variant", "ending", "outcome", "missing")
"""Columns of an episode that hold numbers of names."""
TASK_NAMED = ("task", "codename", "template", "family")
PLACE = [("start", "i8"), ("length", "i8")]
RATING = np.dtype([("row", "i4"), ("side", "i1"), ("judge", "i4"), ("goal", "f4"), ("file", "i1"), *PLACE])
TASK = np.dtype([*((name, "i4") for name in TASK_NAMED), ("hard", "?"), ("has_zone", "?"), ("text_end", "i8"), *PLACE])
BOTH = -1
"""Side under study where both are."""


_NUMBERS = [(name, "i4") for name in (*NAMED, "repeat", "n_turns", "n_failed", "task_row")]
_SMALL = [("side", "i1"), ("deal", "i1")]
ROW = np.dtype([*_NUMBERS, *_SMALL, *((name, "f4") for name in SCORE_COLUMNS), ("text_end", "i8"), *PLACE])
"""Columns of an episode. side: 0, 1 or BOTH; deal: 1, 0 or -1 where unknown; scores: NaN where missing."""


def plain(text: str) -> str:
    """A text as it is searched: compatible characters made one, lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def is_current(folder: Path, source: Source) -> bool:
    """Whether an index was made from these very files, by this very code."""
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return header.get("made_by") == MADE_BY and header.get("made_from") == dict(source.digests)


def make_index(source: Source, folder: Path) -> None:
    """Read a stage's files once and put their index into a folder, in place of what is there.

    Episodes whose task is not among the tasks are left out and counted (`without_task` in the header).
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    _Maker(source).write(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


class _Names(dict[str, int]):
    """Name -> its number, the next free one for a name not met before."""

    def __missing__(self, name: str) -> int:
        self[name] = len(self)
        return self[name]


class _Maker:
    """Reads ratings, tasks and episodes of one stage, in this order, and writes their index."""

    def __init__(self, source: Source):
        self.source = source
        self.names = {name: _Names() for name in (*NAMED, *TASK_NAMED, "judge")}
        self.ids: list[str] = []
        self.without_task = 0

    def write(self, folder: Path) -> None:
        ratings = self._ratings()
        tasks = {record["id"]: (place, record) for *place, record in _items(self.source.tasks)}
        played = _Names()
        with (folder / "text.bin").open("wb") as text:
            rows, rated = self._rows(ratings, tasks, played, text)
        with (folder / "task_text.bin").open("wb") as text:
            task_rows = [self._task(*tasks[task_id], text) for task_id in played]
        np.save(folder / "rows.npy", np.array(rows, ROW))
        np.save(folder / "ratings.npy", np.array(rated, RATING))
        np.save(folder / "tasks.npy", np.array(task_rows, TASK))
        names = {column: list(names) for column, names in self.names.items()}
        header = {
            "schema": SCHEMA,
            "made_by": MADE_BY,
            "made_from": dict(self.source.digests),
            "without_task": self.without_task,
            "ids": self.ids,
            "names": names,
        }
        (folder / HEADER).write_text(json.dumps(header), encoding="utf-8")

    def _ratings(self) -> dict[str, list[tuple[int, int, int, dict[str, Any]]]]:
        """Episode id -> (file number, start, length, rating without what the judge wrote) in file order."""
        found: dict[str, list[tuple[int, int, int, dict[str, Any]]]] = {}
        for number, path in enumerate(self.source.ratings):
            for start, length, record in _items(path):
                kept = {key: record[key] for key in ("side", "judge", "outcome", "scores", "reasons", "parts")}
                kept["overall"] = record.get("overall")
                found.setdefault(record["episode_id"], []).append((number, start, length, kept))
        return found

    def _rows(
        self, ratings: Mapping[str, list], tasks: Mapping[str, Any], played: _Names, text: BinaryIO
    ) -> tuple[list[tuple], list[tuple]]:
        rows, rated = [], []
        for start, length, episode in _items(self.source.episodes):
            if episode["task_id"] not in tasks:
                self.without_task += 1
                continue
            given = ratings.get(episode["id"], [])
            text.write(_text(_said(episode, [record for *_, record in given])))
            place = (played[episode["task_id"]], text.tell(), start, length)
            self.ids.append(episode["id"])
            for number, at, size, record in given:
                goal = _score(record, "goal")
                rated.append((len(rows), record["side"], self.names["judge"][record["judge"]], goal, number, at, size))
            rows.append(self._row(episode, [record for number, *_, record in given if number == 0], *place))
        return rows, rated

    def _row(
        self, episode: Mapping[str, Any], given: list[Mapping[str, Any]], task_row: int, text_end: int, *place: int
    ) -> tuple:
        side = BOTH if episode["agent_side"] is None else episode["agent_side"]
        by_side = {record["side"]: record for record in given} if episode["outcome"] == "completed" else {}
        deals = [record["parts"]["deal"] for record in by_side.values() if record["parts"].get("deal") is not None]
        named = (episode["tag"], episode["ending"], episode["outcome"], _missing(episode, by_side, side))
        return (
            *(self.names[column][name] for column, name in zip(NAMED, named, strict=True)),
            episode["repeat"],
            len(episode["turns"]),
            sum(turn.get("failed", False) for turn in episode["turns"]),
            task_row,
            side,
            int(deals[0]) if deals else -1,
            *_scores(by_side, side),
            text_end,
            *place,
        )

    def _task(self, place: Iterable[int], task: Mapping[str, Any], text: BinaryIO) -> tuple:
        scenario = task["scenario"]
        family = task["payoff"]["family"] if task.get("payoff") else "judged"
        text.write(_text(_told(task)))
        named = (task["id"], scenario["codename"], scenario["template"], family)
        codes = (self.names[column][name] for column, name in zip(TASK_NAMED, named, strict=True))
        return (*codes, task["hard"], task["has_zone"], text.tell(), *place)


def _items(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(first byte, length, item) of every whole line; the first one wins where an id occurs twice."""
    seen: set[str] = set()
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # torn: the process died while writing it
            try:
                item = json.loads(line)
                item_id = item["id"]
            except (ValueError, KeyError, TypeError) as error:
                raise CorruptLine(f"{path}, line {number}: not a JSON object with an id ({error}).") from error
            if item_id not in seen:
                seen.add(item_id)
                yield start, len(line), item
            start += len(line)


def _said(episode: Mapping[str, Any], ratings: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """All that a reader of the episode can see beside its task."""
    yield from (episode["id"], episode["tag"], episode["failure"])
    yield from (policy["name"] for policy in episode["policies"])
    for turn in episode["turns"]:
        yield turn["argument"]
        if turn.get("failed") and turn.get("calls"):
            yield str(turn["calls"][-1].get("text", ""))
    for rating in ratings:
        yield from map(str, rating["reasons"].values())


def _told(task: Mapping[str, Any]) -> Iterator[str]:
    """The task's texts: situation, goals, story, and who the two are."""
    scenario = task["scenario"]
    yield from (scenario["codename"], scenario["template"], scenario["text"], *scenario["goals"])
    yield task.get("background", "")
    for person in task["characters"]:
        yield f"{person['first_name']} {person['last_name']}"
        yield from (person[key] for key in ("occupation", "public_info", "personality_and_values", "secret"))


def _text(parts: Iterable[str]) -> bytes:
    """The parts, a line each, as bytes that end with a line break; what UTF-8 cannot hold is replaced."""
    return ("\n".join(plain(part) for part in parts if part) + "\n").encode("utf-8", "replace")


def _score(record: Mapping[str, Any] | None, name: str) -> float:
    if record is None or record["outcome"] != "ok":
        return float("nan")
    value = record["overall"] if name == "overall" else record["scores"].get(name)
    return float("nan") if value is None else value


def _scores(by_side: Mapping[int, Mapping[str, Any]], side: int) -> Iterator[float]:
    """SCORE_COLUMNS of an episode. Where both sides are under study, "agent" is their mean and there is no partner."""
    if side == BOTH:
        yield from ((_score(by_side.get(0), name) + _score(by_side.get(1), name)) / 2 for name in SCORES)
        yield from (float("nan") for _ in SCORES)
        return
    for one in (side, 1 - side):
        yield from (_score(by_side.get(one), name) for name in SCORES)


def _missing(episode: Mapping[str, Any], by_side: Mapping[int, Mapping[str, Any]], side: int) -> str:
    """Why the agent has no goal: the failed episode's outcome, "not_rated", the judge's outcome; "" where it has."""
    if episode["outcome"] != "completed":
        return episode["outcome"]
    for one in (0, 1) if side == BOTH else (side,):
        record = by_side.get(one)
        if record is None:
            return "not_rated"
        if record["outcome"] != "ok":
            return record["outcome"]
        if record["scores"].get("goal") is None:
            return "left out by the judge"
    return ""
