"""All episodes of a run as one frame to filter, with each one's transcript a single read away.

Only columns are held in memory. Tasks, turns and ratings stay in their JSON Lines files and are read where an episode
is shown; the words to search in are read in blocks.
"""

import bisect
import json
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sotopia_pi.analysis.episode_index_files import (
    HEADER,
    NAMED,
    SCORE_COLUMNS,
    TASK_NAMED,
    is_current,
    make_index,
    plain,
)
from sotopia_pi.analysis.episode_sources import Source, Sources
from sotopia_pi.analysis.transcripts import Transcript
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.scoring import JUDGE as RULE
from sotopia_pi.world.tasks import SocialTask

COLUMNS = ("stage", "id", *TASK_NAMED, "hard", "has_zone", "variant", "side", "repeat", "ending", "outcome", "missing")
COUNTS = ("n_turns", "n_failed", "deal")
BLOCK = 8 * 1024**2
"""Bytes of text searched at a time."""
GAPS = ("row", "judge", "judge_goal", "rule_goal", "gap")


def address(run: str, episode_id: str) -> str:
    """What names an episode among all runs: `run/id`."""
    return f"{run}/{episode_id}"


def parse_address(text: str) -> tuple[str, str]:
    """Run and id of an address. Raises ValueError for a text that is none."""
    run, slash, episode_id = text.strip().partition("/")
    if not (run and slash and episode_id):
        raise ValueError(f"{text!r} is no address of an episode; write run/id, for example {address('laptop', 'ep_1')}")
    return run, episode_id


def anchor(episode_id: str) -> str:
    """The anchor of an episode on a page: `episode-<id>`, with nothing in it that could end an attribute."""
    return f"episode-{re.sub(r'[^A-Za-z0-9_.:-]', '-', episode_id)}"


class StageIndex:
    """The index of one stage, made anew where its files are not those it was made from."""

    def __init__(self, source: Source, folder: Path):
        if not is_current(folder, source):
            make_index(source, folder)
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        self.source = source
        self.ids: list[str] = header["ids"]
        self.names: dict[str, list[str]] = header["names"]
        self.without_task: int = header["without_task"]
        self.rows, self.rated, self.tasks = (np.load(folder / f"{name}.npy") for name in ("rows", "ratings", "tasks"))
        self._folder = folder

    def holds(self, words: str) -> np.ndarray:
        """Which episodes have these words in what was said or in their task: bool, one an episode."""
        wanted = plain(words).encode("utf-8", "replace")
        if not wanted:
            return np.ones(len(self.rows), bool)
        said = _found(self._folder / "text.bin", self._ends, wanted)
        told = _found(self._folder / "task_text.bin", self.tasks["text_end"].tolist(), wanted)
        return said | told[self.rows["task_row"]] if len(told) else said

    def line(self, row: int) -> bytes:
        """The episode's line in its file."""
        return _line(self.source.episodes, self.rows[row])

    def task_line(self, row: int) -> bytes:
        return _line(self.source.tasks, self.tasks[self.rows["task_row"][row]])

    def rating_lines(self, row: int) -> Iterator[bytes]:
        first, last = np.searchsorted(self.rated["row"], [row, row + 1])
        for place in self.rated[first:last]:
            yield _line(self.source.ratings[place["file"]], place)

    @cached_property
    def _ends(self) -> list[int]:
        return self.rows["text_end"].tolist()


class EpisodeIndex:
    """Episodes of several stages of a run. frame: one row an episode, in file order, stages one after the other.

    Columns of the frame: COLUMNS, COUNTS and SCORE_COLUMNS (`agent_goal` …: scores by the first judge, NaN where
    missing; where both sides are under study, `agent` is their mean). side: 0 or 1 as the agent speaks first or second,
    -1 where both are under study; deal: 1, 0, or -1 where nobody read the terms.
    """

    def __init__(self, run: str, sources: Sources, folder: Path):
        self.run, self.sources = run, sources
        self.parts = [StageIndex(source, folder / source.stage) for source in sources.found]
        self._first = np.cumsum([0, *(len(part.rows) for part in self.parts)])
        self.frame = self._frame()
        self.without_task = sum(part.without_task for part in self.parts)

    def __len__(self) -> int:
        return len(self.frame)

    def words(self) -> str:
        """What is shown, in a line or two for a page."""
        lost = f" {self.without_task} left out: their task is not there." if self.without_task else ""
        hint = "" if len(self) else f" How far the run is: sotopia-pi status {self.run}"
        return f"{len(self):,} episodes. {self.sources.words()}{lost}{hint}"

    def counts(self) -> dict[str, int]:
        """Episodes by stage, those left out, and stages without any, for the table of counts."""
        found = {f"episodes of {part.source.stage}": len(part.rows) for part in self.parts}
        lost = {"left out, their task is not there": self.without_task} if self.without_task else {}
        return found | lost | {f"not there: {stage}": 1 for stage in self.sources.missing}

    def row_of(self, episode_id: str) -> int:
        """Row of an episode. Raises ValueError where it is not among those shown."""
        found = np.flatnonzero(self.frame["id"].to_numpy() == episode_id)
        if not len(found):
            raise ValueError(f"{episode_id} is not among the {len(self):,} episodes shown. {self.sources.words()}")
        return int(found[0])

    def address(self, row: int) -> str:
        return address(self.run, self.frame["id"].iat[row])

    def transcript(self, row: int, reason: str = "") -> Transcript:
        """The whole episode, read from its files now. Raises ValueError where they have changed since."""
        part, own = self._part(row)
        episode_id, task_id = self.frame["id"].iat[row], self.frame["task"].iat[row]
        episode = Episode.from_dict(self._item(part.line(own), row, "id", episode_id))
        task = SocialTask.from_dict(self._item(part.task_line(own), row, "id", task_id))
        given = (self._item(line, row, "episode_id", episode_id) for line in part.rating_lines(own))
        return Transcript(task, episode, tuple(map(Rating.from_dict, given)), reason)

    def lines(self, row: int) -> tuple[bytes, list[bytes]]:
        """The episode's line and those of its ratings, as they lie in their files."""
        part, own = self._part(row)
        return part.line(own), list(part.rating_lines(own))

    def holds(self, words: str) -> np.ndarray:
        """Which rows have a piece of text in what was said, in the judge's reasons or in the task; case is ignored."""
        return np.concatenate([part.holds(words) for part in self.parts] or [np.zeros(0, bool)])

    def same_play(self, row: int, variant: str) -> int | None:
        """The episode of another variant on the same task, from the same side: the same repeat where there is one."""
        frame, one = self.frame, self.frame.iloc[row]
        same = (frame["stage"] == one["stage"]) & (frame["task"] == one["task"]) & (frame["side"] == one["side"])
        found = np.flatnonzero(same & (frame["variant"] == variant))
        again = [at for at in found if frame["repeat"].iat[at] == one["repeat"]]
        return int((again or list(found))[0]) if len(found) else None

    def gaps(self) -> pd.DataFrame:
        """Judge's goal minus the rule's on the agent's side, where both rated it: columns GAPS, a row a judge."""
        tables = [_gaps(part, int(first)) for part, first in zip(self.parts, self._first[:-1], strict=True)]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(GAPS))

    def _part(self, row: int) -> tuple[StageIndex, int]:
        number = int(np.searchsorted(self._first, row, side="right")) - 1
        return self.parts[number], row - int(self._first[number])

    def _item(self, line: bytes, row: int, key: str, wanted: str) -> dict[str, Any]:
        """What a line holds, where that is the item that was indexed."""
        try:
            item = json.loads(line)
            if item[key] == wanted:
                return item
        except (ValueError, KeyError, TypeError):
            pass  # not the item that lay here
        stage = self.frame["stage"].iat[row]
        raise ValueError(f"{stage}: {wanted} is no longer where it lay; its files have changed. Run all cells again.")

    def _frame(self) -> pd.DataFrame:
        parts = self.parts
        stages = pd.Categorical.from_codes(
            np.repeat(np.arange(len(parts)), np.diff(self._first)), [part.source.stage for part in parts]
        )
        columns: dict[str, Any] = {"stage": stages, "id": [one for part in parts for one in part.ids]}
        for name in TASK_NAMED:
            columns[name] = _category(parts, name, [part.tasks[name][part.rows["task_row"]] for part in parts])
        for name in ("hard", "has_zone"):
            columns[name] = _joined(part.tasks[name][part.rows["task_row"]] for part in parts).astype(bool)
        for name in NAMED:
            columns[name] = _category(parts, name, [part.rows[name] for part in parts])
        for name in ("side", "repeat", *COUNTS, *SCORE_COLUMNS):
            columns[name] = _joined(part.rows[name] for part in parts)
        return pd.DataFrame({name: columns[name] for name in (*COLUMNS, *COUNTS, *SCORE_COLUMNS)})


def _joined(arrays: Iterable[np.ndarray]) -> np.ndarray:
    found = [np.ascontiguousarray(array) for array in arrays]
    return np.concatenate(found) if found else np.zeros(0)


def _category(parts: Iterable[StageIndex], column: str, codes: list[np.ndarray]) -> pd.Categorical:
    """One column of names over several stages, each of which numbered them by itself."""
    own = [part.names[column] for part in parts]
    places = {name: number for number, name in enumerate(dict.fromkeys(name for names in own for name in names))}
    shared = [np.array([places[n] for n in names], int)[code] for names, code in zip(own, codes, strict=True)]
    return pd.Categorical.from_codes(_joined(shared).astype(int), list(places))


def _line(path: Path, place: np.void) -> bytes:
    with path.open("rb") as file:
        file.seek(int(place["start"]))
        return file.read(int(place["length"]))


def _found(path: Path, ends: list[int], wanted: bytes) -> np.ndarray:
    """In which texts of a file something occurs. ends: where each text ends, in bytes; each ends with a line break."""
    hits = np.zeros(len(ends), bool)
    begin = 0
    with path.open("rb") as file:
        while begin < len(ends):
            offset = ends[begin - 1] if begin else 0
            stop = max(begin + 1, bisect.bisect_right(ends, offset + BLOCK))
            block = file.read(ends[stop - 1] - offset)
            at = block.find(wanted)
            while at >= 0:
                row = bisect.bisect_right(ends, offset + at)
                hits[row] = True
                at = block.find(wanted, ends[row] - offset)
            begin = stop
    return hits


def _gaps(part: StageIndex, first: int) -> pd.DataFrame:
    """GAPS of one stage. first: the number of its first row in the frame."""
    judge = np.array(part.names["judge"], dtype=object)[part.rated["judge"]]
    table = pd.DataFrame({name: part.rated[name] for name in ("row", "side", "goal")} | {"judge": judge})
    agents = part.rows["side"][part.rated["row"]]
    table = table[(table["side"] == agents) | (agents == -1)].dropna(subset=["goal"])
    rule = table[table["judge"] == RULE][["row", "side", "goal"]].rename(columns={"goal": "rule_goal"})
    both = table[table["judge"] != RULE].rename(columns={"goal": "judge_goal"}).merge(rule, on=["row", "side"])
    return both.assign(gap=both["judge_goal"] - both["rule_goal"], row=both["row"] + first)[list(GAPS)]
