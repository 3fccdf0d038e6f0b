"""What others use now, in an environment of its own: `.bench/`, which the product neither imports nor installs into.

A peer is driven by a script of this folder, `peer_<name>.py`, that imports nothing of ours: JSON in, JSON out.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sotopia_pi.app.bench.work import PeerFailed, Skipped
from sotopia_pi.store.notebook import project_root

PINS = Path(__file__).with_name("peers.txt")
FOLDER, READY = ".bench", "pins.txt"
DATA = "SOTOPIA_PI_DATA"
STARTS_WITHIN_S, ANSWERS_WITHIN_S = 180, 1800


def published_data(name: str) -> Path:
    """A folder of published data, under what the environment variable SOTOPIA_PI_DATA names. Raises Skipped."""
    root = os.environ.get(DATA, "")
    if not root or not (Path(root) / name).is_dir():
        raise Skipped(f"it needs published data: set {DATA} to a folder that holds {name}/")
    return Path(root) / name


def peers_bin() -> Path:
    """The folder of the peers' programs; the first call installs them (minutes). Raises Skipped where that fails."""
    folder = project_root() / FOLDER
    ready, pins = folder / READY, PINS.read_text()
    if not (ready.is_file() and ready.read_text() == pins):
        print(f"Setting up {FOLDER}/ with what we are compared with (once, a few minutes)", flush=True)
        commands = ["-m venv --clear", str(folder)], ["-m pip install -qq -r", str(PINS)]
        for python, (words, path) in zip((sys.executable, folder / "bin" / "python"), commands, strict=True):
            done = subprocess.run([python, *words.split(), path], capture_output=True, text=True, check=False)
            if done.returncode:
                raise Skipped(f"the peers of {PINS.name} could not be installed: {_last(done.stderr)}")
        ready.write_text(pins)
    return folder / "bin"


def run_peer(name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """What `peer_<name>.py` answers to a request: the JSON on its last line. Raises PeerFailed, Skipped."""
    command = [peers_bin() / "python", "-P", PINS.with_name(f"peer_{name}.py")]
    settings = {"capture_output": True, "text": True, "check": False, "timeout": ANSWERS_WITHIN_S}
    try:
        done = subprocess.run(command, input=json.dumps(request), env=_environment(), **settings)
        return json.loads(done.stdout.rstrip().rsplit("\n", 1)[-1])
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"peer_{name}.py gave no answer within {ANSWERS_WITHIN_S} s") from None
    except ValueError:
        raise PeerFailed(f"peer_{name}.py ended with status {done.returncode}: {_last(done.stderr)}") from None


@contextmanager
def transformers_serve(folder: Path, dtype: str, bin_folder: Path | None = None) -> Iterator[str]:
    """Address, up to `/v1`, of `transformers serve` with a model in memory. Raises PeerFailed, Skipped.

    bin_folder: where the program lies; by default among the peers' programs.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    program = (bin_folder or peers_bin()) / "transformers"
    command = [program, "serve", folder, "--dtype", dtype, "--port", str(port)]
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, stdout=said, stderr=said, env=_environment()) as server,
    ):
        try:
            until = time.monotonic() + STARTS_WITHIN_S
            while not _healthy(port):
                if server.poll() is not None or time.monotonic() > until:
                    said.seek(0)
                    raise PeerFailed(f"transformers serve did not come up: {_last(said.read())}")
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _environment() -> dict[str, str]:
    """This process's, without what would lead a peer into our modules; nothing is fetched."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def _last(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-3:]) or "it said nothing"
