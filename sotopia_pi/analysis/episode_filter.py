"""What to show of many episodes, and in which order. Everything works on columns, so that it answers at once."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sotopia_pi.analysis.episode_index import EpisodeIndex
from sotopia_pi.analysis.episode_index_files import BOTH, ROLES, SCORES

HARD = {"hard": True, "not hard": False}
SIDES = {"speaks first": 0, "speaks second": 1, "both sides": BOTH}
"""Which side is under study."""
FAILURES = ("nothing failed", "a turn was unreadable", "the episode failed", "not rated")
SORTS = ("as played", "score", "turns", "unreadable turns", "task", "variant")


@dataclass(frozen=True)
class Filter:
    """What an episode must be; "" and None ask for nothing.

    task: its id, or a part of its codename or template. failure: one of FAILURES. score, role: which score of whom lies
    in [low, high] (an unrated episode never does). words: all of them occur in the talk, the judge's reasons or the
    task, case ignored; what stands in quotation marks occurs as it is. Raises ValueError for an unknown choice.
    """

    stage: str = ""
    variant: str = ""
    task: str = ""
    family: str = ""
    hard: str = ""
    side: str = ""
    ending: str = ""
    failure: str = ""
    score: str = "goal"
    role: str = "agent"
    low: float | None = None
    high: float | None = None
    words: str = ""

    def __post_init__(self):
        allowed = {"hard": HARD, "side": SIDES, "failure": FAILURES, "score": SCORES, "role": ROLES}
        for name, choices in allowed.items():
            value = getattr(self, name)
            if value and value not in choices:
                raise ValueError(f"filter by {name} = {value!r}; allowed: {', '.join(choices)}, or nothing")


@dataclass(frozen=True)
class Order:
    """by: one of SORTS ("score": the one the filter names); missing scores come last. Raises ValueError for others."""

    by: str = "as played"
    descending: bool = False

    def __post_init__(self):
        if self.by not in SORTS:
            raise ValueError(f"sort by {self.by!r}; allowed: {', '.join(SORTS)}")


def select(index: EpisodeIndex, chosen: Filter, order: Order = Order()) -> np.ndarray:
    """Rows of the index that a filter lets through, in order; ties stay as they were played."""
    frame = index.frame
    keep = np.ones(len(frame), bool)
    for name in ("stage", "variant", "family", "ending"):
        if getattr(chosen, name):
            keep &= (frame[name] == getattr(chosen, name)).to_numpy()
    if chosen.hard:
        keep &= frame["hard"].to_numpy() == HARD[chosen.hard]
    if chosen.side:
        keep &= frame["side"].to_numpy() == SIDES[chosen.side]
    if chosen.task:
        keep &= _task_is(frame, chosen.task)
    if chosen.failure:
        keep &= _failed(frame, chosen.failure)
    keep &= _scored(frame, chosen)
    for piece in pieces(chosen.words):
        keep &= index.holds(piece)
    return _ordered(frame, np.flatnonzero(keep), chosen, order)


def pieces(words: str) -> list[str]:
    """What has to occur: single words, and whole what stands in quotation marks."""
    found = (quoted or word for quoted, word in re.findall(r'"([^"]+)"|([^\s"]+)', words))
    return [piece for piece in found if piece.strip()]


def _task_is(frame: pd.DataFrame, text: str) -> np.ndarray:
    """By the names of the column alone: there are far fewer tasks than episodes."""
    wanted = text.strip().casefold()
    keep = (frame["task"] == text.strip()).to_numpy()
    for name in ("codename", "template"):
        names = frame[name].cat.categories
        hits = np.fromiter((wanted in one.casefold() for one in names), bool, len(names))
        keep = keep | hits[frame[name].cat.codes.to_numpy()]
    return keep


def _failed(frame: pd.DataFrame, failure: str) -> np.ndarray:
    unreadable = frame["n_failed"].to_numpy() > 0
    ended = (frame["outcome"] != "completed").to_numpy()
    if failure == "not rated":
        return (frame["missing"] != "").to_numpy()
    return {"nothing failed": ~unreadable & ~ended, "a turn was unreadable": unreadable}.get(failure, ended)


def _scored(frame: pd.DataFrame, chosen: Filter) -> np.ndarray | bool:
    if chosen.low is None and chosen.high is None:
        return True
    low = -np.inf if chosen.low is None else chosen.low
    high = np.inf if chosen.high is None else chosen.high
    return frame[score_column(chosen)].between(low, high).to_numpy()


def score_column(chosen: Filter) -> str:
    """Column of the score that a filter is about."""
    return f"{chosen.role}_{chosen.score}"


def _ordered(frame: pd.DataFrame, rows: np.ndarray, chosen: Filter, order: Order) -> np.ndarray:
    if order.by == "as played":
        return rows[::-1] if order.descending else rows
    columns = {"score": score_column(chosen), "turns": "n_turns", "unreadable turns": "n_failed", "task": "codename"}
    column = frame[columns.get(order.by, order.by)].iloc[rows]
    keys = _ranks(column) if isinstance(column.dtype, pd.CategoricalDtype) else column.to_numpy(float)
    return rows[np.argsort(-keys if order.descending else keys, kind="stable")]


def _ranks(column: pd.Series) -> np.ndarray:
    """Numbers that sort a column of names by name."""
    ranks = np.argsort(np.argsort(column.cat.categories.to_numpy(dtype=object)))
    return ranks[column.cat.codes.to_numpy()].astype(float)
