"""What people rated: `human_ratings.jsonl`, which is only ever added to.

No stage moves, sorts out or rewrites this file: it is no result that could be made again. A person who rates an episode
once more adds a revision; the last one of each side counts and all are kept. Several people may write at a time.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from sotopia_pi.store.items import NOT_COMPARED, ItemFile, content_id, write_items
from sotopia_pi.world.ratings import DIMENSIONS, Rating

FILE = "human_ratings.jsonl"
HUMAN = "human:"
"""What a person's name as a judge begins with, so that nobody is taken for a model."""
REASON = "all"
"""Key of the one sentence of reason that a person writes for a side, about all its dimensions."""
FEWEST_WORDS = 3
"""A reason of fewer words is no sentence."""


@dataclass(frozen=True)
class Judgement:
    """What a person says about one side: seven whole numbers and one sentence of reason.

    Raises ValueError that names every dimension without a score, with one outside its range, and a missing reason.
    """

    scores: Mapping[str, int]
    reason: str

    def __post_init__(self):
        wrong = [complaint for d in DIMENSIONS if (complaint := _complaint(d, self.scores.get(d)))]
        wrong += [f"{d!r} is no dimension (known: {', '.join(DIMENSIONS)})" for d in self.scores if d not in DIMENSIONS]
        if len(self.reason.split()) < FEWEST_WORDS:
            came = repr(self.reason.strip()) if self.reason.strip() else "missing"
            wrong.append(f"the reason is {came}; write a sentence of at least {FEWEST_WORDS} words")
        if wrong:
            raise ValueError("; ".join(wrong))


@dataclass(frozen=True)
class Entry:
    """A person's judgement of one side of one episode.

    revision: from 1; None where the next free one is meant. times: `seconds` it took, `saved_at`; may be empty.
    """

    annotator: str
    episode_id: str
    side: int
    judgement: Judgement
    revision: int | None = None
    times: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        return self.annotator, self.episode_id, self.side

    def to_rating(self, revision: int) -> Rating:
        """The same as a rating like a judge's: whole scores, the person as judge, the sentence among the reasons."""
        judge = HUMAN + self.annotator
        known = {"episode": self.episode_id, "side": self.side, "judge": judge, "revision": revision}
        about = {"annotator": self.annotator, "revision": revision, NOT_COMPARED: dict(self.times)}
        scores, reasons = {d: self.judgement.scores[d] for d in DIMENSIONS}, {REASON: self.judgement.reason}
        identity = content_id("rating", known), self.episode_id, self.side, judge
        return Rating(*identity, "ok", scores, reasons, raw=(about,))

    @classmethod
    def of(cls, rating: Rating) -> "Entry":
        """The entry behind a person's rating."""
        (about,) = rating.raw
        judgement = Judgement(dict(rating.scores), rating.reasons[REASON])
        place = (about["annotator"], rating.episode_id, rating.side)
        return cls(*place, judgement, about["revision"], about[NOT_COMPARED])


class HumanRatings:
    """The file of all that people rated in a run, and what of it counts. Every look reads the file anew."""

    def __init__(self, path: Path):
        self.path = path

    def begin(self) -> None:
        """Make the file where it is missing, and take away a last line that somebody's killed kernel left torn."""
        with self._writing():
            text = self.path.read_bytes() if self.path.exists() else b"torn"
            if text and not text.endswith(b"\n"):
                write_items(self.path, ItemFile(self.path).read())

    def read(self) -> list[Rating]:
        """Every rating ever saved, all revisions, in the order in which they were saved."""
        return [Rating.from_dict(item) for item in ItemFile(self.path).read()]

    def entries(self) -> list[Entry]:
        return [Entry.of(rating) for rating in self.read()]

    def counting(self) -> dict[tuple[str, str], tuple[Rating, Rating]]:
        """(annotator, episode) -> the last rating of either side, where both sides were rated."""
        last: dict[tuple[str, str], dict[int, Rating]] = defaultdict(dict)
        for rating in sorted(self.read(), key=_revision):
            last[(rating.raw[0]["annotator"], rating.episode_id)][rating.side] = rating
        return {key: (sides[0], sides[1]) for key, sides in last.items() if len(sides) == 2}

    def save(self, first: Entry, second: Entry) -> tuple[Rating, Rating]:
        """Add both sides of an episode under one new revision and flush them to the disk."""
        if (first.annotator, first.episode_id, first.side, second.side) != (*second.key[:2], 0, 1):
            raise ValueError(f"{first.key} and {second.key} are not the two sides of one episode by one annotator")
        with self._writing():
            numbers = _last_revisions(self.read())
            revision = 1 + max(numbers.get(entry.key, 0) for entry in (first, second))
            ratings = first.to_rating(revision), second.to_rating(revision)
            self._append(ratings)
        return ratings

    def add(self, entries: Iterable[Entry]) -> int:
        """Add what is not here yet, as from a file of another place; returns how many were added.

        An entry without a revision that equals the last one here is here already; another one becomes the next
        revision. Raises ValueError where an entry differs from the one that is here under its revision; then nothing
        is added.
        """
        with self._writing():
            here = {(*entry.key, entry.revision): entry.judgement for entry in self.entries()}
            last = _last_revisions(self.read())
            fresh: list[Rating] = []
            for entry in entries:
                latest = last.get(entry.key, 0)
                revision = entry.revision or latest
                known = here.get((*entry.key, revision))
                if known == entry.judgement:
                    continue
                if entry.revision and known:
                    raise ValueError(_conflict(entry))
                revision = entry.revision or latest + 1
                here[(*entry.key, revision)] = entry.judgement
                last[entry.key] = max(latest, revision)
                fresh.append(entry.to_rating(revision))
            self._append(fresh)
        return len(fresh)

    def _append(self, ratings: Iterable[Rating]) -> None:
        file = ItemFile(self.path)
        for rating in ratings:
            file.append(rating.to_dict())

    def _writing(self) -> AbstractContextManager:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path.with_name(f".{self.path.name}.lock"))


def _complaint(dimension: str, score: Any) -> str:
    low, high = DIMENSIONS[dimension]
    if score is None:
        return f"{dimension} has no score (whole numbers from {low} to {high})"
    if isinstance(score, bool) or not isinstance(score, int) or not low <= score <= high:
        return f"{dimension} is {score!r}; allowed are whole numbers from {low} to {high}"
    return ""


def _revision(rating: Rating) -> int:
    return rating.raw[0]["revision"]


def _last_revisions(ratings: Iterable[Rating]) -> dict[tuple[str, str, int], int]:
    found: dict[tuple[str, str, int], int] = {}
    for rating in ratings:
        key = (rating.raw[0]["annotator"], rating.episode_id, rating.side)
        found[key] = max(found.get(key, 0), _revision(rating))
    return found


def _conflict(entry: Entry) -> str:
    return (
        f"annotator {entry.annotator!r}, episode {entry.episode_id}, side {entry.side}: revision {entry.revision} is "
        f"here already and says something else. Leave its revision empty to add it as a correction; nothing was added."
    )
