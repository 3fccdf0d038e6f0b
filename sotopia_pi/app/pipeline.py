"""The pipeline: run a preset's notebooks in order, each in a kernel of its own, and skip what has not changed."""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from sotopia_pi.app.console import Lines
from sotopia_pi.store.digest import imported_modules, imports_in
from sotopia_pi.store.fork_server import SERVER_VARIABLE, ForkServer, forked
from sotopia_pi.store.items import write_atomically
from sotopia_pi.store.lock import OWNER_VARIABLE, RunLock
from sotopia_pi.store.manifest import (
    MANIFEST,
    PART,
    changed_file,
    code_digest,
    current_inputs,
    describe_files,
    n_unanswered,
    read_manifest,
    stage_key,
    write_manifest,
)
from sotopia_pi.store.notebook import HOME_VARIABLE, Notebook, imports_text, read_notebook
from sotopia_pi.store.params import Plan, find_stage
from sotopia_pi.store.progress import PROGRESS, read_progress
from sotopia_pi.store.stage import COMMAND_VARIABLE

NOTEBOOK = "notebook.ipynb"
PAGE = "report.html"
SAMPLE_EVERY_S = 0.4
SHOWN_WIDTH = 60


class StageFailed(RuntimeError):
    """A notebook stopped. stage: its name; where: the cell; error: name and message; page: the rendered notebook."""

    def __init__(self, stage: str, where: str, error: str, page: Path | None):
        self.stage, self.where, self.error, self.page = stage, where, error, page
        super().__init__(f"{stage} failed {where}: {error}")


@dataclass(frozen=True)
class Settings:
    """What a command line asked for. first: stage to begin with; only: stages to look at; force: run even if unchanged.

    command: the command that repeats this run, told to the reader when something has to be continued or made first.
    """

    first: str | None = None
    only: tuple[str, ...] = ()
    force: bool = False
    command: str = "sotopia-pi run params/laptop.yaml"


def run_pipeline(root: Path, plan: Plan, settings: Settings, lines: Lines) -> list[str]:
    """Run the stages of a plan that need it; returns the names of those that ran.

    Holds the run's lock throughout. Raises RunLocked, ParameterError for an unknown stage name, StageFailed for a
    notebook that stopped; OSError when something cannot be written.
    """
    run_dir = (root / "outputs" / plan.run).resolve()
    names = chosen_stages(plan, settings)
    ran = []
    with RunLock(run_dir), ForkServer() as server, _environment(root, run_dir, settings.command, server):
        for k, name in enumerate(names):
            notebook = read_notebook(root / "notebooks" / f"{name}.ipynb")
            reason = "forced" if settings.force else reason_to_run(run_dir, notebook, plan.params[name])
            if reason is None:
                _render_if_missing(run_dir / name, notebook)
                lines.ended(name, "unchanged")
                continue
            if later := names[k + 1 :]:
                server.provide(_imports(root, later))
            run_stage(root, run_dir, notebook, plan.params[name], reason, lines)
            ran.append(name)
    return ran


def _imports(root: Path, names: Iterable[str]) -> set[str]:
    """Modules of ours that the kernels of these stages will import."""
    notebooks = (read_notebook(root / "notebooks" / f"{name}.ipynb") for name in names)
    return imported_modules(*(module for nb in notebooks for module in imports_in(imports_text(nb.code))))


def chosen_stages(plan: Plan, settings: Settings) -> list[str]:
    """The plan's stages from `first` on, or those of `only`, in order."""
    only = {find_stage(name, plan.params) for name in settings.only}
    first = find_stage(settings.first, plan.stages) if settings.first else ""
    return [name for name in sorted(only or plan.stages) if name >= first]


def reason_to_run(run_dir: Path, notebook: Notebook, params: dict) -> str | None:
    """Why a stage has to run, or None when its key is equal and its files are as its manifest says."""
    stage_dir = run_dir / notebook.name
    manifest = read_manifest(stage_dir)
    if manifest is None:
        return "to be continued" if stage_dir.is_dir() and any(stage_dir.glob("*.jsonl")) else "not made yet"
    if manifest["key"] is None:
        return "was run by hand"
    inputs = current_inputs(run_dir, manifest["inputs"])
    if manifest["key"] != stage_key(code_digest(notebook), params, inputs):
        changed = "parameters" if manifest["params"] != params else "inputs" if manifest["inputs"] != inputs else "code"
        return f"{changed} changed"
    if left := n_unanswered(manifest):
        return f"{left} without an answer"
    file = changed_file(stage_dir, manifest)
    return f"{file} is gone or changed" if file else None


def run_stage(root: Path, run_dir: Path, notebook: Notebook, params: dict, reason: str, lines: Lines) -> None:
    """Execute one notebook, render it and complete its manifest. Raises StageFailed, OSError."""
    stage_dir = run_dir / notebook.name
    stage_dir.mkdir(parents=True, exist_ok=True)
    for left_over in (MANIFEST, PART, PROGRESS, NOTEBOOK, PAGE):
        (stage_dir / left_over).unlink(missing_ok=True)
    write_atomically(stage_dir / "params.yaml", yaml.safe_dump(params, sort_keys=False, allow_unicode=True).encode())
    code = code_digest(notebook)
    with lines.running(notebook.name, reason), _watched(stage_dir, lines) as watch:
        try:
            _execute(root, notebook, stage_dir, params)
            manifest = read_manifest(stage_dir, PART)
            if manifest is None:
                raise StageFailed(notebook.name, "at its end", "the notebook never called stage.finish(...)", None)
        except StageFailed as failure:
            failure.page = _rendered(stage_dir, notebook)
            watch.stop()
            lines.ended(notebook.name, "failed", watch.seconds, watch.peak_mib)
            raise
        _rendered(stage_dir, notebook)
    manifest["files"] |= describe_files(stage_dir, [NOTEBOOK])
    manifest["key"] = stage_key(code, params, manifest["inputs"])
    manifest |= {"wall_s": round(watch.seconds, 1), "peak_rss_mib": round(watch.peak_mib)}
    write_manifest(stage_dir, manifest)
    (stage_dir / PART).unlink(missing_ok=True)
    lines.ended(notebook.name, "done", watch.seconds, watch.peak_mib)
    if left := n_unanswered(manifest):
        lines.say(f"{notebook.name}: {left} without an answer from a server; the same command asks for them again")


def _execute(root: Path, notebook: Notebook, stage_dir: Path, params: dict) -> None:
    """Run the notebook by papermill from inside this process, in a kernel that ends with it."""
    import papermill
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    class Kernel(AsyncKernelManager):
        def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
            return forked(super().format_kernel_cmd(extra_arguments))

    before = set(psutil.Process().children(recursive=True))
    try:
        papermill.execute_notebook(
            notebook.path,
            stage_dir / NOTEBOOK,
            parameters=params,
            kernel_name="python3",
            cwd=root,
            progress_bar=False,
            kernel_manager_class=Kernel,
            extra_arguments=["--log-level=CRITICAL"],
        )
    except PapermillExecutionError as error:
        number = error.exec_count - 1  # papermill's own cell with the parameters is not in the notebook people edit
        where = f"in code cell {number} (`{_first_line(error.source)}`)"
        raise StageFailed(notebook.name, where, f"{error.ename}: {error.evalue}", None) from error
    except (DeadKernelError, CellTimeoutError) as error:
        words = f"{type(error).__name__}: the kernel ended by itself; most often the machine ran out of memory"
        raise StageFailed(notebook.name, "while running", words, None) from error
    finally:
        _end(set(psutil.Process().children(recursive=True)) - before)


def _first_line(source: str) -> str:
    """First line of a cell, shortened, for messages."""
    line = source.strip().partition("\n")[0]
    return line if len(line) <= SHOWN_WIDTH else line[: SHOWN_WIDTH - 1] + "…"


def _end(processes: Iterable[psutil.Process]) -> None:
    """End kernels that papermill left behind when it was interrupted."""
    processes = list(processes)
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=5)


def _rendered(stage_dir: Path, notebook: Notebook) -> Path | None:
    """Render the executed notebook beside itself; None when there is none (it stopped before its first cell)."""
    from sotopia_pi.app.render import render_notebook

    source = stage_dir / NOTEBOOK
    return render_notebook(source, stage_dir / PAGE, notebook.title) if source.is_file() else None


def _render_if_missing(stage_dir: Path, notebook: Notebook) -> None:
    if not (stage_dir / PAGE).is_file():
        _rendered(stage_dir, notebook)


class _Watch(threading.Thread):
    """Samples the memory of the kernel's processes and redraws the stage's line until it is stopped."""

    def __init__(self, stage_dir: Path, lines: Lines):
        super().__init__(daemon=True)
        self.seconds, self.peak_mib = 0.0, 0.0
        self._stage_dir, self._lines = stage_dir, lines
        self._done = threading.Event()
        self._began = time.monotonic()

    def run(self) -> None:
        while not self._done.wait(SAMPLE_EVERY_S):
            self.peak_mib = max(self.peak_mib, _kernel_memory_mib())
            self.seconds = time.monotonic() - self._began
            self._lines.update(self._stage_dir.name, self.seconds, read_progress(self._stage_dir))

    def stop(self) -> None:
        self._done.set()
        self.join()
        self.seconds = time.monotonic() - self._began


@contextmanager
def _watched(stage_dir: Path, lines: Lines) -> Iterator[_Watch]:
    watch = _Watch(stage_dir, lines)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


def _kernel_memory_mib() -> float:
    """Resident memory of all processes below this one, in MiB; what forked processes share counts for each of them."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1024**2


@contextmanager
def _environment(root: Path, run_dir: Path, command: str, server: ForkServer) -> Iterator[None]:
    """What the kernels learn about the run they belong to."""
    ours = {HOME_VARIABLE: str(root), OWNER_VARIABLE: str(run_dir), COMMAND_VARIABLE: command}
    ours |= {SERVER_VARIABLE: server.address}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
