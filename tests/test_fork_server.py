"""The fork server: what is forked runs as it would by itself, and ends with the one that asked for it."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import talkative
from talkative import TEXTS, ask
from toy_project import ToyProject, wait_until

from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.store import fork_server
from sotopia_pi.store.fork_server import SERVER_VARIABLE, ForkServer, forked

folder = talkative.folder
TELLING = """
import json, os, sys
import told_library
if __name__ == "__main__":
    print(json.dumps({
        "arguments": sys.argv[1:], "folder": os.getcwd(), "word": os.environ.get("WORD"), "heard": sys.stdin.read(),
        "pid": os.getpid(), "library": told_library.loaded_in, "twice": "told" in sys.modules,
    }), flush=True)
    sys.exit(3)
"""
SLEEPING = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"


@pytest.fixture
def modules(tmp_path, monkeypatch) -> Path:
    """A folder of modules that both the server and what it forks can import."""
    (tmp_path / "told.py").write_text(TELLING)
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    (tmp_path / "told_library.py").write_text("import os\nloaded_in = os.getpid()\n")
    (tmp_path / "broken.py").write_text("raise RuntimeError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def answers(address: str) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(address)
    except OSError:
        return False
    return True


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@contextmanager
def serving(*imported: str):
    with ForkServer() as server:
        server.provide(imported)
        wait_until(lambda: answers(server.address), "the server")
        yield server


def start(module: str, *arguments: str, server: ForkServer | None, **settings) -> subprocess.Popen:
    environment = os.environ | ({SERVER_VARIABLE: server.address} if server else {})
    return subprocess.Popen(
        [*forked([sys.executable, "-m", module]), *arguments],
        env=environment | settings.pop("env", {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **settings,
    )


def told(module: str, *arguments: str, server: ForkServer | None, **settings) -> tuple[dict, subprocess.Popen]:
    process = start(module, *arguments, server=server, **settings)
    said, _ = process.communicate("a word in the ear", timeout=60)
    return json.loads(said), process


@pytest.mark.parametrize("alone", [True, False])
def test_a_program_has_its_arguments_environment_folder_streams_and_status_with_and_without_a_server(modules, alone):
    with serving("told_library") as server:
        program = told("told", "-x", "1", server=None if alone else server, cwd=modules, env={"WORD": "other"})
    found, process = program
    assert found["arguments"] == ["-x", "1"] and found["folder"] == str(modules) and found["word"] == "other"
    assert found["heard"] == "a word in the ear" and process.returncode == 3
    assert (found["library"] == found["pid"]) == alone == (process.pid == found["pid"])


def test_what_the_server_imported_is_shared_by_all_and_what_it_could_not_is_no_matter(modules):
    with serving("broken", "told", "told_library") as server:
        found = [told("told", server=server)[0] for _ in range(2)]
    assert len({one["library"] for one in found}) == 1 and len({one["pid"] for one in found}) == 2
    assert not any(one["twice"] for one in found), "the program runs as the main module, not beside itself"


def test_a_server_that_is_gone_or_not_yet_there_is_done_without(modules):
    with ForkServer() as server:
        assert told("told", server=server)[1].returncode == 3
    assert told("told", server=server)[1].returncode == 3


def test_with_a_graphics_card_everything_starts_by_itself(modules):
    (modules / "torch.py").write_text("class accelerator:\n    is_available = staticmethod(lambda: True)\n")
    with ForkServer() as server:
        server.provide(["torch"])
        wait_until(lambda: server._process.poll() is not None, "the server's end")
        found, process = told("told", server=server)
    assert found["library"] == found["pid"] == process.pid


def test_a_models_processes_are_forked_and_say_what_others_say(folder, monkeypatch):
    with LocalModel(folder, dtype="float32", processes=2) as plain:
        expected = [reply.text for reply in ask(plain, *TEXTS)]
    with serving("sotopia_pi.models.local_model", "sotopia_pi.models.fused") as server:
        monkeypatch.setenv(SERVER_VARIABLE, server.address)
        with LocalModel(folder, dtype="float32", processes=2) as model:
            assert len(psutil.Process(server._process.pid).children()) == 2
            assert [reply.text for reply in ask(model, *TEXTS)] == expected


def test_signals_reach_the_program_and_its_stand_in_ends_as_it_ends(modules):
    with serving() as server:
        process = start("sleeping", server=server)
        pid = int(process.stdout.readline())
        assert pid != process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
        wait_until(lambda: not is_running(pid), "the program's end")


def test_a_program_ends_with_its_stand_in(modules):
    with serving() as server:
        process = start("sleeping", server=server)
        pid = int(process.stdout.readline())
        process.kill()
        wait_until(lambda: not is_running(pid), "the program's end")
        assert told("told", server=server)[1].returncode == 3


def test_all_end_with_the_server(modules):
    with serving() as server:
        process = start("sleeping", server=server)
        pid = int(process.stdout.readline())
    assert process.wait(60) != 0
    wait_until(lambda: not is_running(pid), "the program's end")


def test_the_server_ends_with_the_process_that_started_it(modules):
    script = (
        "import sys, time; from sotopia_pi.store.fork_server import ForkServer\n"
        "server = ForkServer(); server.provide([]); print(server._process.pid, server.address, flush=True)\n"
        "time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pid, address = owner.stdout.readline().split()
    wait_until(lambda: answers(address), "the server")
    owner.kill()
    owner.wait()
    wait_until(lambda: not is_running(int(pid)), "the server's end")


def test_changed_sources_are_imported_anew(modules, monkeypatch):
    with serving("told_library") as server:
        first = told("told", server=server)[0]["library"]
        server.provide(["told_library"])
        assert told("told", server=server)[0]["library"] == first
        monkeypatch.setattr(fork_server, "_sources", lambda: frozenset({"another"}))
        server.provide(["told_library"])
        wait_until(lambda: answers(server.address), "the server")
        assert told("told", server=server)[0]["library"] not in (first, os.getpid())


WAIT_FOR_IT = """
import os, socket, time
while True:
    try:
        socket.socket(socket.AF_UNIX).connect(os.environ["SOTOPIA_PI_FORK_SERVER"])
        break
    except OSError:
        time.sleep(0.05)
"""


def test_a_run_forks_the_kernels_of_later_stages(tmp_path):
    project = ToyProject(tmp_path, "01_items", "02_depends", "03_alone")
    project.change_cell("02_depends", "code", "stage.finish(", f"{WAIT_FOR_IT}stage.finish(")
    tell = "import os, pathlib\npathlib.Path('parent').write_text(str(os.getppid()))\n"
    project.change_cell("03_alone", "code", "stage.finish(", f"{tell}stage.finish(")
    assert project.run() == ["01_items", "02_depends", "03_alone"]
    assert int((tmp_path / "parent").read_text()) != os.getpid()
    assert SERVER_VARIABLE not in os.environ
