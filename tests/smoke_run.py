"""The smoke preset run once for a whole session of tests, whichever worker asks first."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

REPOSITORY = Path(__file__).parents[1]


def project(folder: Path) -> Path:
    """A project of its own: the notebooks and presets of the repository, outputs elsewhere."""
    for name in ("notebooks", "params"):
        shutil.copytree(REPOSITORY / name, folder / name)
    return folder


def start(root: Path, preset: str = "smoke") -> subprocess.Popen:
    command = [sys.executable, "-m", "sotopia_pi.app.cli", "run", f"params/{preset}.yaml"]
    environment = {**os.environ, "SOTOPIA_PI_HOME": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(root: Path, preset: str = "smoke") -> str:
    """Run a preset to its end; returns what it printed."""
    process = start(root, preset)
    out, _ = process.communicate()
    assert process.returncode == 0, out
    return out


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` fills once a session; other workers wait for it. Nobody may change what is in it."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / name, base / f"{name}.made"
    with FileLock(base / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def finished_smoke(tmp_path_factory) -> Path:
    """A project with a finished run `smoke`."""
    return made_once(tmp_path_factory, "smoke", lambda folder: finish(project(folder)))
