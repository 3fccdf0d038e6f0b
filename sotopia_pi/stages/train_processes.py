"""Training on a processor by one process a core, each with its part of every step's examples.

A process that computes on one core never waits for another core within an operation: two of them trained 1,230 tokens
a second where one on two cores trained 955 (SmolLM2-135M, bfloat16). The result differs by rounding alone.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sotopia_pi.models.precision import own_cores, own_device
from sotopia_pi.stages.examples import SFTExample
from sotopia_pi.stages.finetune import Advances
from sotopia_pi.stages.lora import LoraSettings
from sotopia_pi.stages.ranks import launched
from sotopia_pi.store.items import ItemFile

WORTHWHILE_TOKENS = 40_000
"""Fewer tokens than this are trained on sooner than further processes have started (seconds each)."""

LARGEST_BASE = 2 * 1024**3
"""Bytes of base weights above which they are not held once a process."""

LOOK_EVERY_S = 0.5


class TrainingStopped(RuntimeError):
    """One of the processes ended before the training did; the message is what it said last."""


def n_processes(folder: Path, examples: Sequence[SFTExample], settings: LoraSettings) -> int:
    """How many processes train fastest here: on a processor one a core, at most one an example of a step; 1 on a
    graphics card, for short trainings, for large bases, and where OMP_NUM_THREADS was set by hand."""
    tokens = settings.epochs * sum(len(example.ids) for example in examples)
    base = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if own_device() != "cpu" or "OMP_NUM_THREADS" in os.environ or tokens < WORTHWHILE_TOKENS or base > LARGEST_BASE:
        return 1
    return min(own_cores(), settings.batch_size)


def train_in_processes(out_dir: Path, n: int, progress: Advances | None = None) -> None:
    """Carry out the plan in `out_dir` by n processes that share the cores, and wait for them.

    They end with this process, however it ends; what they did until then is kept by their checkpoint. Raises
    TrainingStopped.
    """
    with tempfile.TemporaryDirectory(prefix="training-") as scratch:
        said = [Path(scratch) / f"{rank}.txt" for rank in range(n)]
        port = _free_port()
        processes = [_start(out_dir, rank, n, port, said[rank]) for rank in range(n)]
        try:
            _watch(processes, said, ItemFile(out_dir / "metrics.jsonl"), progress)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _watch(
    processes: Sequence[subprocess.Popen], said: Sequence[Path], metrics: ItemFile, progress: Advances | None
) -> None:
    """Report steps until all processes have ended; raise TrainingStopped when one of them ended badly.

    The metrics count from when the first process has written them anew, with the steps that its checkpoint holds.
    """
    reported, running, old = 0, True, _inode(metrics.path)
    while running:
        with suppress(subprocess.TimeoutExpired):
            processes[0].wait(LOOK_EVERY_S)
        codes = [process.poll() for process in processes]
        running = None in codes
        for code, path in zip(codes, said, strict=True):
            if code:
                lines = path.read_text(errors="replace").strip().splitlines() or [f"it ended with status {code}"]
                raise TrainingStopped(f"{metrics.path.parent}: training stopped: {lines[-1]}")
        rows = metrics.read() if progress is not None and _inode(metrics.path) not in (0, old) else []
        for row in rows[reported:]:
            progress.advance(loss=f"{row['loss']:.3f}")
        reported = max(reported, len(rows))


def _start(out_dir: Path, rank: int, n: int, port: int, said: Path) -> subprocess.Popen:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    place |= {"OMP_NUM_THREADS": max(1, own_cores() // n)}
    if sys.platform == "linux":
        place |= {"GLOO_SOCKET_IFNAME": "lo"}  # else it looks the machine's own name up, which need not be known
    return subprocess.Popen(
        [sys.executable, "-m", "sotopia_pi.stages.train_processes", str(out_dir)],
        env=os.environ | {name: str(value) for name, value in place.items()},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=said.open("wb"),
    )


def _inode(path: Path) -> int:
    """Which file lies there, 0 for none."""
    return path.stat().st_ino if path.exists() else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _end_with_parent() -> None:
    """End this process when the pipe from the one that started it closes, which a kill does, too."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """One of the processes: `python -m sotopia_pi.stages.train_processes FOLDER`, started by the function above."""
    from sotopia_pi.stages.training_plan import TrainingPlan

    _end_with_parent()
    folder, ranks = Path(sys.argv[1]), launched()
    TrainingPlan.read(folder).carry_out(folder, ranks=ranks)
    ranks.leave()


if __name__ == "__main__":
    main()
