"""One writer a run: a lock on the run's folder that says who holds it."""

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

OWNER_VARIABLE = "SOTOPIA_PI_PIPELINE_RUN"
"""Environment variable by which the pipeline tells its kernels that it already holds the lock of this run folder."""

ORPHAN_WAIT_S = 15.0
"""How long a stage waits for the kernel of a killed pipeline to end; ipykernel looks for its parent once a second."""


class RunLocked(RuntimeError):
    """Another process writes into this run's folder; the message names it and says what to do."""


class RunLock:
    """Exclusive right to write into outputs/<run>; released when the process ends, however it ends.

    part: "run" is held by the pipeline or by a notebook opened alone, "kernel" by whoever appends items, so that a
    kernel that outlives its killed pipeline for a moment is waited for and never writes beside its successor.
    """

    def __init__(self, run_dir: Path, part: str = "run"):
        self.run_dir = run_dir
        self._part = part
        self._path = run_dir / f".{part}.lock"
        self._lock = FileLock(self._path, thread_local=False)
        self._card = run_dir / f".{part}.lock.json"

    def acquire(self, wait_s: float = 0.0) -> Self:
        """Take the lock, waiting at most wait_s seconds. Raises RunLocked naming process, host and start time."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=wait_s)
        except Timeout as error:
            raise RunLocked(self._message()) from error
        since = datetime.now(UTC).isoformat(timespec="seconds")
        self._card.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}))
        return self

    def release(self) -> None:
        self._card.unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def is_held(self) -> bool:
        """Whether some process holds this lock now; creates nothing."""
        if not self._path.exists():
            return False
        try:
            with self._lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _message(self) -> str:
        holder = self.holder()
        who = f"process {holder['pid']} on {holder['host']} since {holder['since']}" if holder else "another process"
        return (
            f"{self.run_dir}: {who} is writing into this run. Wait for it to end, or stop it "
            f"(in JupyterLab: shut down the kernel of the open notebook), then start again; nothing is lost."
        )

    def holder(self) -> dict[str, str] | None:
        """Who took the lock last: pid, host, since; None when that is not known."""
        try:
            return json.loads(self._card.read_text())
        except (OSError, ValueError):
            return None


_held: dict[Path, tuple[RunLock, ...]] = {}
"""Locks of this process: a notebook that is run a second time in the same kernel already owns its run."""


def lock_for_notebook(run_dir: Path) -> None:
    """Take the locks a notebook needs: inside the pipeline only the kernel's, alone both. Held until the kernel ends.

    A notebook that moves on to another run lets go of the one before. Raises RunLocked.
    """
    run_dir = run_dir.resolve()
    for other in [held for held in _held if held != run_dir]:
        for lock in _held.pop(other):
            lock.release()
    if run_dir in _held:
        return
    outer = () if owned_by_pipeline(run_dir) else (RunLock(run_dir, "run").acquire(),)
    _held[run_dir] = (*outer, RunLock(run_dir, "kernel").acquire(wait_s=ORPHAN_WAIT_S))


def let_go(run_dir: Path) -> None:
    """Give the run back before the kernel ends: for a notebook that is done and from here on waits for people only."""
    for lock in _held.pop(run_dir.resolve(), ()):
        lock.release()


def owned_by_pipeline(run_dir: Path) -> bool:
    """Whether this process is a kernel of the pipeline that holds the lock of this run folder."""
    return os.environ.get(OWNER_VARIABLE) == str(run_dir.resolve())
