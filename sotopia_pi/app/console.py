"""What the pipeline says while it runs: one line a stage, with a moving bar where a person is watching."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sotopia_pi.store.progress import ProgressState

NAME_WIDTH = 26


class Lines:
    """Prints the lines of a run. On a terminal the running stage's line moves; elsewhere it is plain text."""

    def __init__(self, out: TextIO | None = None):
        self._out = out or sys.stdout
        self._console = Console(file=self._out, highlight=False)
        self._live: Live | None = None
        self._state: ProgressState | None = None

    @property
    def is_terminal(self) -> bool:
        return self._console.is_terminal

    def say(self, text: str) -> None:
        """A plain line; on a terminal it appears above the moving one."""
        if self.is_terminal:
            self._console.print(Text(text), soft_wrap=True)
        else:
            print(text, file=self._out, flush=True)

    @contextmanager
    def running(self, name: str, reason: str) -> Iterator[None]:
        """Around the execution of one stage."""
        self._state = None
        if not self.is_terminal:
            self.say(f"{name:<{NAME_WIDTH}}  started ({reason})")
            yield
            return
        with Live(self._line(name, 0.0), console=self._console, transient=True, auto_refresh=False) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def update(self, name: str, seconds: float, state: ProgressState | None) -> None:
        """Redraw the running stage's line; seconds since it began, state of its long loop if it has one."""
        self._state = state or self._state
        if self._live is not None:
            self._live.update(self._line(name, seconds), refresh=True)

    def ended(self, name: str, status: str, wall_s: float | None = None, peak_mib: float | None = None) -> None:
        """The line that stays: status, wall time and peak memory of the kernel's processes."""
        words = f"{name:<{NAME_WIDTH}}  {status:<10}"
        if wall_s is not None:
            words += f"  {duration(wall_s):>9}  {peak_mib or 0:>6.0f} MiB at most"
        self.say(words.rstrip())

    def _line(self, name: str, seconds: float) -> Table:
        state = self._state
        grid = Table.grid(padding=(0, 2))
        cells = [Text(f"{name:<{NAME_WIDTH}}"), Text(duration(seconds))]
        if state is not None:
            cells += [
                ProgressBar(total=max(state.total, 1), completed=state.done, width=24),
                Text(progress_words(state)),
            ]
        grid.add_row(*cells)
        return grid


def progress_words(state: ProgressState) -> str:
    """`12/96 episodes, 1 failed, 3 min 20 s left; 240 calls, 0 failed, 61,200 tokens, $0.31`."""
    words = f"{state.done}/{state.total} {state.label}"
    if state.failed:
        words += f", {state.failed} failed"
    if state.left_s is not None and state.done < state.total:
        words += f", {duration(state.left_s)} left"
    return f"{words}; {state.note}" if state.note else words


def duration(seconds: float) -> str:
    """Seconds in words a person reads: `8 s`, `3 min 20 s`, `1 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
