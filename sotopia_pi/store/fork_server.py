"""Programs that start at once: forked from a process that has imported already what they would import.

A kernel spends seconds on imports, and so does every process of a local model. Under a server they are paid once a run.
`python -m sotopia_pi.store.fork_server MODULE ARGUMENTS` does what `python -m MODULE ARGUMENTS` does: in a process that
the server forks, whose place it takes for signals and exit status, or by itself where no server answers.
"""

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

SERVER_VARIABLE = "SOTOPIA_PI_FORK_SERVER"
PACKAGE = Path(__file__).parents[1]
STREAMS = (0, 1, 2)
PASSED_ON = (signal.SIGINT, signal.SIGTERM)
LENGTH = 8


class ForkServer:
    """Starts and ends the server, and with it all that it has forked. It also ends when this process does.

    address: what SERVER_VARIABLE is to name. Nobody answers there before `provide`, nor until the imports are done, nor
    on a machine with a graphics card, which a forked process could not use.
    """

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="sotopia-pi-")
        self.address = str(Path(self._folder.name) / "socket")
        self._process: subprocess.Popen | None = None
        self._sources: frozenset = frozenset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._end()
        self._folder.cleanup()

    def provide(self, modules: Iterable[str]) -> None:
        """Import these in the background, unless that is done; again where sources of ours have changed since.

        What cannot be imported is left to those who need it.
        """
        sources = _sources()
        if sources == self._sources or not hasattr(os, "pidfd_open"):
            return
        self._end()
        self._sources = sources
        serving = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()", self.address]
        self._process = subprocess.Popen(
            [*serving, *sorted(modules)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt at the terminal is not for it
        )

    def _end(self) -> None:
        if self._process is not None:
            self._process.stdin.close()
            self._process.terminate()  # while it imports; later it is deaf to this, and ends what it has forked
            self._process.wait()
            Path(self.address).unlink(missing_ok=True)


def forked(command: Sequence[str]) -> list[str]:
    """A command `python -m MODULE ARGUMENTS` such that it is forked where there is a server."""
    at = command.index("-m") + 1
    return [*command[:at], __spec__.name, *command[at:]]


@dataclass(frozen=True)
class _Program:
    """What a process is to become. arguments: the module's name and what follows it."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str

    def run(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.folder)
        sys.argv = list(self.arguments)
        sys.modules.pop(self.arguments[0], None)  # it was imported under its name, and now runs as the main one
        runpy.run_module(self.arguments[0], run_name="__main__", alter_sys=True)


def serve() -> None:
    """The server: sys.argv names its address and what to import. It ends when its standard input does."""
    address, *modules = sys.argv[1:]
    for module in modules:
        with suppress(Exception):
            importlib.import_module(module)
    torch = sys.modules.get("torch")
    if torch and torch.accelerator.is_available():
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # what is here is never looked at again, so that its pages stay shared
    if program := _Server(address).next_program():
        program.run()


class _Server:
    """Forks a process for whoever asks, tells the asker how it ends, and ends it where the asker is gone."""

    def __init__(self, address: str):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen()
        self._events = selectors.DefaultSelector()
        self._events.register(sys.stdin, selectors.EVENT_READ)
        self._events.register(self._listener, selectors.EVENT_READ)
        self._askers: dict[socket.socket, int] = {}
        self._running: dict[int, tuple[int, socket.socket]] = {}

    def next_program(self) -> _Program | None:
        """Returns in each forked process what it is to become, and None in the server when it is time to end."""
        while True:
            event = self._events.select()[0][0].fileobj
            if event is self._listener:
                if program := self._fork():
                    return program
            elif event in self._askers:
                self._events.unregister(event)
                os.kill(self._askers.pop(event), signal.SIGKILL)
            elif event in self._running:
                self._tell(event)
            else:
                for pid, _ in self._running.values():
                    os.kill(pid, signal.SIGKILL)
                return None

    def _fork(self) -> _Program | None:
        asker, _ = self._listener.accept()
        streams: list[int] = []
        try:
            length, streams, *_ = socket.recv_fds(asker, LENGTH, len(STREAMS))
            with asker.makefile("rb") as words:
                program = _Program(**json.loads(words.read(int.from_bytes(length))))
            pid = os.fork()
            for stream, descriptor in zip(STREAMS, streams, strict=True) if pid == 0 else ():
                os.dup2(descriptor, stream)
        except (OSError, ValueError):  # it is gone already, or memory is short: it sees that nothing was started
            asker.close()
            return None
        finally:
            for descriptor in streams:
                os.close(descriptor)
        if pid == 0:
            for held in (self._events, self._listener, asker, *self._askers):
                held.close()
            for other in self._running:
                os.close(other)
            return program
        ending = os.pidfd_open(pid)
        self._askers[asker], self._running[ending] = pid, (pid, asker)
        for source in (asker, ending):
            self._events.register(source, selectors.EVENT_READ)
        with suppress(OSError):
            asker.sendall(f"{pid}\n".encode())
        return None

    def _tell(self, ending: int) -> None:
        self._events.unregister(ending)
        os.close(ending)
        pid, asker = self._running.pop(ending)
        _, status = os.waitpid(pid, 0)
        if self._askers.pop(asker, None):
            self._events.unregister(asker)
        with suppress(OSError):
            asker.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        asker.close()


def main() -> None:
    """Have a program forked and stand in for it, or become it."""
    arguments = sys.argv[1:]
    program = json.dumps(asdict(_Program(arguments, dict(os.environ), str(Path.cwd())))).encode()
    try:
        server = socket.socket(socket.AF_UNIX)
        server.connect(os.environ[SERVER_VARIABLE])
        socket.send_fds(server, [len(program).to_bytes(LENGTH)], STREAMS)
        server.sendall(program)
        words = server.makefile()
        pid = int(words.readline())
    except (KeyError, OSError, ValueError):
        at = sys.orig_argv.index("-m") + 1
        os.execv(sys.executable, [*sys.orig_argv[:at], *arguments])
    for number in PASSED_ON:
        signal.signal(number, lambda number, _: os.kill(pid, number))
    status = int(words.readline() or 1)
    if status < 0:
        with suppress(OSError):  # SIGKILL has no other way to be answered
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def _sources() -> frozenset:
    """What our sources are known by: paths, sizes and times."""
    return frozenset((path, path.stat().st_size, path.stat().st_mtime_ns) for path in PACKAGE.rglob("*.py"))


if __name__ == "__main__":
    main()
