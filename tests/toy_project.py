"""Toy projects: a folder with some of the tiny notebooks of tests/notebooks, a preset, and what can be done with it."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sotopia_pi.app.console import Lines
from sotopia_pi.app.pipeline import Settings, run_pipeline
from sotopia_pi.store.manifest import read_manifest
from sotopia_pi.store.params import plan_run

TINY_NOTEBOOKS = Path(__file__).with_name("notebooks")


def _heed_interrupts() -> None:
    """Ctrl-C counts in the child also where the tests themselves run in the background of a shell that ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class ToyProject:
    """A project root with the named tiny notebooks and the preset params/toy.yaml."""

    def __init__(self, root: Path, *notebooks: str, preset: str = ""):
        self.root = root
        self.run_dir = root / "outputs" / "toy"
        self.preset = root / "params" / "toy.yaml"
        (root / "notebooks").mkdir(parents=True)
        self.preset.parent.mkdir()
        self.preset.write_text(preset)
        for name in notebooks:
            shutil.copy(TINY_NOTEBOOKS / f"{name}.ipynb", root / "notebooks" / f"{name}.ipynb")

    def run(self, *settings: str, **chosen: object) -> list[str]:
        """Run the pipeline inside this process; returns the stages that ran."""
        plan = plan_run(self.root, self.preset, settings)
        return run_pipeline(self.root, plan, Settings(**chosen), Lines(io.StringIO()))

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `sotopia-pi ...` as a person would, in the project's folder."""
        return subprocess.run(
            self._words(words), cwd=self.root, env=self._environment(), capture_output=True, text=True
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `sotopia-pi ...` and leave it running."""
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(
            self._words(words), cwd=self.root, env=self._environment(), preexec_fn=_heed_interrupts, **quiet
        )

    def manifest(self, stage: str) -> dict:
        return read_manifest(self.run_dir / stage)

    def items(self, stage: str, file: str = "items.jsonl") -> list[dict]:
        """Every line of an items file, as it lies there."""
        return [json.loads(line) for line in (self.run_dir / stage / file).read_text().splitlines()]

    def change_cell(self, stage: str, kind: str, before: str, after: str) -> None:
        """Edit the text of a notebook's cells of one kind, as a person would in JupyterLab."""
        path = self.root / "notebooks" / f"{stage}.ipynb"
        notebook = json.loads(path.read_text())
        touched = 0
        for cell in notebook["cells"]:
            text = "".join(cell["source"])
            if cell["cell_type"] == kind and before in text:
                cell["source"] = text.replace(before, after)
                touched += 1
        assert touched, f"no {kind} cell of {stage} holds {before!r}"
        path.write_text(json.dumps(notebook))

    @staticmethod
    def _words(words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "sotopia_pi.app.cli", *words]

    @staticmethod
    def _environment() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("SOTOPIA_PI_")}


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for a condition; fails the test when it does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def line_count(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0
