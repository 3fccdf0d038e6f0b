"""Progress of a long stage: written by its kernel, read by the pipeline, or drawn as a bar when it runs alone."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from sotopia_pi.store.items import write_atomically

PROGRESS = "progress.json"
WRITE_EVERY_S = 0.5


@dataclass(frozen=True)
class ProgressState:
    """How far a stage is: items done of total, failed among the done ones, seconds since it began."""

    label: str
    done: int
    total: int
    failed: int
    elapsed_s: float
    resumed: int = 0
    note: str = ""

    @property
    def left_s(self) -> float | None:
        """Seconds left at the pace so far; None before the first item of this sitting is done."""
        fresh = self.done - self.resumed
        return self.elapsed_s / fresh * (self.total - self.done) if fresh > 0 else None


class Progress:
    """Counts the items of one loop; use as a context, call `advance` after each item.

    total: number of items; done: how many lie there from before and are not played again.
    path: the file to keep up to date inside the pipeline; None draws a bar instead.
    """

    def __init__(self, total: int, label: str, path: Path | None, done: int = 0):
        self.total, self.label, self.done, self.failed = total, label, done, 0
        self._path, self._resumed = path, done
        self._started = time.monotonic()
        self._written, self._note = 0.0, ""
        self._bar = None if path else tqdm(total=total, initial=done, desc=label, leave=False)

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        else:
            self._write()

    def advance(self, failed: bool = False, **info: Any) -> None:
        """One more item is done; info: short words to show beside the bar; `note` of them in the pipeline too."""
        self._note = str(info.get("note", ""))
        self.done += 1
        self.failed += int(failed)
        if self._bar is not None:
            self._bar.set_postfix({"failed": self.failed, **info} if self.failed else info, refresh=False)
            self._bar.update()
        elif time.monotonic() - self._written >= WRITE_EVERY_S:
            self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        state = {
            "label": self.label,
            "done": self.done,
            "total": self.total,
            "failed": self.failed,
            "elapsed_s": time.monotonic() - self._started,
            "resumed": self._resumed,
            "note": self._note,
        }
        write_atomically(self._path, json.dumps(state).encode())
        self._written = time.monotonic()


def read_progress(stage_dir: Path) -> ProgressState | None:
    """The last state a running stage has written, or None."""
    path = stage_dir / PROGRESS
    try:
        return ProgressState(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
