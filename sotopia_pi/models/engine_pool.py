"""Engines in processes of their own, one a core: what computes on one core never waits for another in mid-operation."""

import os
import pickle
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import torch

from sotopia_pi.models.engine import Job
from sotopia_pi.models.precision import own_cores
from sotopia_pi.models.render import Renderer
from sotopia_pi.store.fork_server import forked

BLOCK = 64
"""Characters of a conversation that are recognised together."""

WAIT_BLOCKS = 0.5
"""What a reply under way in a process counts against it, in blocks of a prompt to be read anew. Replies under way go on
together, so that one more takes little; at 8, a process often read examples that the other had read."""

BLOCKS_A_ROW = 32
"""Blocks remembered for each conversation that a process has room for."""

LOOK_EVERY_S = 0.2
"""How soon a process is told that nobody waits for a reply any more."""


@dataclass(frozen=True)
class _Call:
    """What waits for a process's answer, as in a `Job`."""

    settle: Callable[[Any, BaseException | None], None]
    cancelled: Callable[[], bool] = lambda: False
    said: Callable[[list[int]], None] | None = None


@dataclass
class _Worker:
    """One process. said: what it wrote. calls: what it is at, by number. known: blocks it has read, the latest last."""

    process: subprocess.Popen
    connection: Connection
    said: IO[bytes]
    calls: dict[int, _Call] = field(default_factory=dict)
    known: dict[int, None] = field(default_factory=dict)
    sending: threading.Lock = field(default_factory=threading.Lock)

    def send(self, message: tuple) -> None:
        with self.sending:
            self.connection.send(message)


class EnginePool:
    """Hands each job to the process that is done with it soonest: one that knows how the conversation began, or one
    with less to do.

    It takes the place of an `Engine`: `put`, `add_adapter`, `close`, `digests` and `renderer` are the same.
    settings: arguments of `LocalModel`, which each process opens for itself; what that raises, the constructor raises.
    """

    def __init__(self, n: int, settings: Mapping[str, Any], renderer: Renderer):
        self.renderer, self.name = renderer, Path(settings["folder"]).name
        self.digests: dict[str | None, str] = {}
        self._most_known = BLOCKS_A_ROW * settings["slots"]
        self._count = 0
        self._closed = False
        self._gate = threading.Lock()
        self._workers: list[_Worker] = []
        try:
            for _ in range(n):
                self._workers.append(_start(settings, max(1, own_cores() // n)))
            for worker in self._workers:
                self._opened(worker)
        except BaseException:
            self._end()
            raise
        self._listeners = [
            threading.Thread(target=self._listen, args=(worker,), name="local-model", daemon=True)
            for worker in self._workers
        ]
        for listener in self._listeners:
            listener.start()

    def put(self, job: Job) -> None:
        """Hand in a job. Raises RuntimeError when the pool is closed."""
        blocks = _blocks(job)
        with self._gate:
            if self._closed:
                raise RuntimeError(f"the local model {self.name} is closed; open it again to ask it")
            worker = min(self._workers, key=lambda w: len(blocks) - _n_known(w, blocks) + WAIT_BLOCKS * len(w.calls))
            for block in blocks:
                worker.known.pop(block, None)
                worker.known[block] = None
            while len(worker.known) > self._most_known:
                del worker.known[next(iter(worker.known))]
            number = self._expect(worker, _Call(job.settle, job.cancelled, job.said))
        self._send(worker, "job", number, job.request, job.adapter, job.choices, job.bare, job.said is not None)

    def add_adapter(self, name: str, folder: Path, digest: str) -> None:
        """Let every process load an adapter, and wait for them. Raises what one of them raised."""
        outcomes: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        for worker in self._workers:
            with self._gate:
                number = self._expect(worker, _Call(lambda _, error: outcomes.put(error)))
            self._send(worker, "adapter", number, name, folder)
        errors = [outcomes.get() for _ in self._workers]
        for error in filter(None, errors):
            raise error
        self.digests[name] = digest

    def close(self) -> None:
        """End the processes; jobs still in flight get a RuntimeError."""
        with self._gate:
            self._closed = True
        self._end()
        for listener in self._listeners:
            listener.join()

    def _end(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()

    def _opened(self, worker: _Worker) -> None:
        """Wait until a process has its model. Raises what stopped it."""
        try:
            error = worker.connection.recv()
        except EOFError:
            error = RuntimeError(self._ending(worker))
        if error is not None:
            raise error

    def _expect(self, worker: _Worker, call: _Call) -> int:
        """The number under which a process will answer; called with the gate held."""
        self._count += 1
        worker.calls[self._count] = call
        return self._count

    def _send(self, worker: _Worker, *message: Any) -> None:
        try:
            worker.send(message)
        except OSError:
            self._give_up(worker)

    def _listen(self, worker: _Worker) -> None:
        """Pass on what a process answers until it ends; tell it of what nobody waits for any more."""
        looked, told = time.monotonic(), set()
        while True:
            try:
                if worker.connection.poll(LOOK_EVERY_S):
                    self._take(worker, *worker.connection.recv())
                if time.monotonic() - looked >= LOOK_EVERY_S:
                    looked = time.monotonic()
                    forgotten = {number for number, call in tuple(worker.calls.items()) if call.cancelled()}
                    for number in forgotten - told:
                        worker.send(("cancel", number))
                    told = forgotten
            except (EOFError, OSError):
                return self._give_up(worker)

    def _take(self, worker: _Worker, number: int, said: list[int] | None, result: Any, error: Any) -> None:
        with self._gate:
            call = worker.calls.get(number) if said is not None else worker.calls.pop(number, None)
        if call and said is not None:
            call.said(said)
        elif call:
            call.settle(result, error)

    def _give_up(self, worker: _Worker) -> None:
        """Tell everybody who waits for a process that it has ended; the pool takes no more."""
        with self._gate:
            calls, worker.calls = list(worker.calls.values()), {}
            closed, self._closed = self._closed, True
        words = f"the local model {self.name} was closed before it answered" if closed else self._ending(worker)
        for call in calls:
            call.settle(None, RuntimeError(words))

    def _ending(self, worker: _Worker) -> str:
        status = worker.process.wait()
        worker.said.seek(0)
        lines = worker.said.read().decode(errors="replace").strip().splitlines()
        why = lines[-1] if lines else "most often the machine ran out of memory"
        return f"a process of the local model {self.name} ended by itself with status {status}: {why}"


def _start(settings: Mapping[str, Any], threads: int) -> _Worker:
    ours, theirs = socket.socketpair()
    said = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
    process = subprocess.Popen(
        forked([sys.executable, "-m", "sotopia_pi.models.engine_pool"]),
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdin=theirs,
        stdout=said,
        stderr=said,
        start_new_session=True,  # Jupyter interrupts a kernel's whole group, and the model outlives the cell
    )
    theirs.close()
    connection = Connection(ours.detach())
    connection.send(dict(settings))
    return _Worker(process, connection, said)


def _blocks(job: Job) -> list[int]:
    """A number for each block of a conversation that depends on all before it, and on the adapter."""
    text = "\n".join(f"{message.role}: {message.content}" for message in job.request.messages)
    number, blocks = hash(job.adapter), []
    for start in range(0, len(text) - BLOCK + 1, BLOCK):
        number = hash((number, text[start : start + BLOCK]))
        blocks.append(number)
    return blocks


def _n_known(worker: _Worker, blocks: list[int]) -> int:
    return next((n for n, block in enumerate(blocks) if block not in worker.known), len(blocks))


def _sendable(error: BaseException | None) -> BaseException | None:
    """The error itself, or its words where it would not arrive as it was."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 (whatever its class does when it is taken apart and put together)
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def main() -> None:
    """One of the processes; it answers until the other end of its standard input, a socket, closes."""
    from sotopia_pi.models.local_model import LocalModel

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # a forked process has not read it
    connection, sending = Connection(sys.stdin.fileno()), threading.Lock()
    cancelled: set[int] = set()

    def answer(number: int, said: list[int] | None, result: Any, error: BaseException | None) -> None:
        with sending:
            connection.send((number, said, result, _sendable(error)))

    try:
        model = LocalModel(**connection.recv(), processes=1)
    except Exception as error:  # noqa: BLE001 (raised again in the constructor of the pool)
        connection.send(_sendable(error))
        return
    connection.send(None)
    while True:
        try:
            kind, number, *what = connection.recv()
        except (EOFError, OSError):
            os._exit(0)  # a step under way need not end
        if kind == "cancel":
            cancelled.add(number)
        elif kind == "adapter":
            try:
                model.add_adapter(*what)
            except Exception as error:  # noqa: BLE001 (raised again in the caller)
                answer(number, None, None, error)
            else:
                answer(number, None, None, None)
        else:
            request, adapter, choices, bare, streams = what
            model.put(
                Job(
                    request,
                    adapter,
                    lambda result, error, number=number: answer(number, None, result, error),
                    lambda number=number: number in cancelled,
                    (lambda drawn, number=number: answer(number, drawn, None, None)) if streams else None,
                    choices,
                    bare,
                )
            )


if __name__ == "__main__":
    main()
