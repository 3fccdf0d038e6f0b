"""A stage as its notebook sees it: checked parameters, inputs by manifest, items to append, a manifest at the end."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sotopia_pi.store.items import ItemFile, items_digest, write_items
from sotopia_pi.store.lock import lock_for_notebook, owned_by_pipeline
from sotopia_pi.store.manifest import (
    MANIFEST,
    PART,
    SCHEMA,
    Manifest,
    current_inputs,
    describe_files,
    locate_input,
    read_manifest,
    result_digests,
    write_manifest,
)
from sotopia_pi.store.notebook import Notebook, assigned_names, project_root, read_notebook
from sotopia_pi.store.params import ParameterError, check_run_name, check_values
from sotopia_pi.store.peak_memory import peak_rss_mib
from sotopia_pi.store.progress import PROGRESS, Progress
from sotopia_pi.store.unanswered import earlier_attempts, is_unanswered, set_aside

PLAIN = (str, int, float, bool, list, dict, type(None))
IPYTHON_NAMES = {"In", "Out", "exit", "quit", "get_ipython", "open"}
COMMAND_VARIABLE = "SOTOPIA_PI_COMMAND"


class MissingInput(FileNotFoundError):
    """A stage needs a result that no earlier stage has made yet; the message names the command that makes it."""


def open_stage(name: str, namespace: Mapping[str, Any]) -> "Stage":
    """Open the stage of a notebook, right after its parameters cell: `stage = open_stage("02_...", globals())`.

    Takes the values of the declared parameters from the namespace, checks their types, refuses names that were set
    but are not declared, and takes the run's lock. Raises ParameterError, RunLocked, FileNotFoundError.
    """
    root = project_root()
    notebook = read_notebook(root / "notebooks" / f"{name}.ipynb")
    declared = notebook.parameters
    missing = sorted(set(declared) - set(namespace))
    if missing:
        raise ParameterError(f"{notebook.path.name}: {', '.join(missing)} not set; run the parameters cell first.")
    values = {key: namespace[key] for key in (*declared, *_unknown_names(namespace, declared))}
    check_values(name, declared, values)
    if "run" not in values:
        raise ParameterError(f"{notebook.path.name}: the parameters cell must declare `run: str`.")
    run_dir = root / "outputs" / check_run_name(values["run"])
    lock_for_notebook(run_dir)
    return Stage(root, notebook, values)


class Stage:
    """One stage of one run.

    name: the notebook's name. run: the run's name. params: resolved parameters. dir: outputs/<run>/<name>/.
    """

    def __init__(self, root: Path, notebook: Notebook, params: dict[str, Any]):
        self.name = notebook.name
        self.run: str = params["run"]
        self.params = params
        self.run_dir = root / "outputs" / self.run
        self.dir = self.run_dir / self.name
        self._root = root
        self._in_pipeline = owned_by_pipeline(self.run_dir)
        self._inputs: dict[str, str | None] = {}
        self._begun: set[str] = set()
        self._started = time.monotonic()
        self.dir.mkdir(parents=True, exist_ok=True)
        for left_over in (MANIFEST, PART, PROGRESS):
            (self.dir / left_over).unlink(missing_ok=True)

    def path(self, file: str) -> Path:
        """Where a result of this stage lies; its folder exists."""
        path = self.dir / file
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def items(self, file: str, wanted: Iterable[str] = ()) -> ItemFile:
        """An items file of this stage, to read what is there and append what is missing.

        Missing is also what a server's fault ended in an earlier start: it is set aside when this stage first opens
        the file. wanted: ids that this stage is going to name; those set aside as stale by other settings are taken
        back.
        """
        items = ItemFile(self.path(file))
        if file not in self._begun:
            self._begun.add(file)
            set_aside(items)
        stale = ItemFile(items.path.with_suffix(".stale.jsonl"))
        absent = set(wanted) - items.ids()
        for item in stale.read() if absent else ():
            if item["id"] in absent:
                items.append(item)
        return items

    def write(self, file: str, items: Iterable[Mapping[str, Any]]) -> None:
        """Replace an items file that is derived as a whole (a selection, a verdict), atomically."""
        write_items(self.path(file), [dict(item) for item in items])

    def input(self, stage: str, file: str) -> list[dict[str, Any]]:
        """The items an earlier stage's manifest names for a file, in the order in which it names them.

        Raises MissingInput when that stage is not complete, ValueError when the file is not what it wrote.
        """
        manifest = read_manifest(self.run_dir / stage)
        if manifest is None:
            what = f"{self.run}/{stage}/{file}"
            raise MissingInput(f"{self.name} needs {what}, which is not made yet. Make it: {self._command(stage)}")
        if file not in manifest["items"]:
            raise MissingInput(
                f"{self.run}/{stage} has no items file {file!r}; it has: {', '.join(manifest['items'])}."
            )
        found = {item["id"]: item for item in ItemFile(self.run_dir / stage / file).read()}
        items = [found[item_id] for item_id in manifest["items"][file] if item_id in found]
        digest = manifest["digests"][file]
        if len(items) != len(manifest["items"][file]) or items_digest(items) != digest:
            raise ValueError(
                f"{self.run_dir / stage / file} is not what its stage wrote ({len(items)} of "
                f"{len(manifest['items'][file])} items found). Make it again: {self._command(stage)}"
            )
        self._inputs[f"{stage}/{file}"] = digest
        return items

    def input_path(self, stage: str, file: str, run: str | None = None) -> Path:
        """Path of an earlier stage's result, a file or a folder such as an adapter. Raises MissingInput.

        run: another run's name, for notebooks that pool several runs.
        """
        name = f"{run}:{stage}/{file.rstrip('/')}" if run else f"{stage}/{file.rstrip('/')}"
        folder, file = locate_input(self.run_dir, name)
        manifest = read_manifest(folder)
        if manifest is None or file not in manifest["digests"] or not (folder / file).exists():
            raise MissingInput(
                f"{self.name} needs {folder / file}, which is not there. Make it: {self._command(stage, run)}"
            )
        self._inputs[name] = manifest["digests"][file]
        return folder / file

    def has_input(self, stage: str, file: str, run: str | None = None) -> bool:
        """Whether a complete earlier stage has this result; its absence is part of this stage's key, too.

        run: another run's name, for notebooks that look at several runs.
        """
        name = f"{run}:{stage}/{file.rstrip('/')}" if run else f"{stage}/{file.rstrip('/')}"
        self._inputs[name] = current_inputs(self.run_dir, [name])[name]
        return self._inputs[name] is not None

    def manifest_of(self, stage: str, files: Iterable[str]) -> Manifest | None:
        """An earlier stage's manifest, or None where it is not complete.

        files: those of its results that this stage is going to look at, there or not; they become part of its key.
        """
        manifest = read_manifest(self.run_dir / stage)
        for file in files:
            self._inputs[f"{stage}/{file}"] = manifest["digests"].get(file) if manifest else None
        return manifest

    def progress(self, total: int, label: str, done: int = 0) -> Progress:
        """Count a long loop: `with stage.progress(len(todo), "episodes") as bar: ... bar.advance()`."""
        return Progress(total, label, self.dir / PROGRESS if self._in_pipeline else None, done)

    def finish(
        self,
        items: Mapping[str, Sequence[str]] | None = None,
        artefacts: Sequence[str] = (),
        counts: Mapping[str, Any] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """Close the stage: set stale items aside, write the manifest, print the table of counts.

        Items to which no server gave an answer are counted, and the stage runs again at the next start.

        items: ids that belong to this result, by file. artefacts: other files and folders. counts: what went in, was
        kept, dropped, failed, by label. notes: what the run card should know (models, prompts, temperatures, seeds).
        """
        items = {file: list(ids) for file, ids in (items or {}).items()}
        counts = dict(counts or {})
        for file, ids in items.items():
            moved = self._keep(file, ids)
            if moved:
                counts[f"set aside as stale from {file}"] = moved
        unanswered, told = self._unanswered(items)
        names = [*items, *(name.rstrip("/") for name in artefacts)]
        files = describe_files(self.dir, names)
        manifest: Manifest = {
            "schema": SCHEMA,
            "stage": self.name,
            "params": self.params,
            "inputs": dict(sorted(self._inputs.items())),
            "files": files,
            "items": items,
            "unanswered": unanswered,
            "digests": result_digests(self.dir, files),
            "counts": counts | told,
            "notes": dict(notes or {}),
            "key": None,
            "wall_s": round(time.monotonic() - self._started, 1),
            "peak_rss_mib": round(peak_rss_mib()),
        }
        write_manifest(self.dir, manifest, PART if self._in_pipeline else MANIFEST)
        (self.dir / PROGRESS).unlink(missing_ok=True)
        print(count_table(manifest["counts"]))

    def _keep(self, file: str, ids: Sequence[str]) -> int:
        """Set aside what is not named and cut off a torn line; an items file with no items exists too."""
        items = ItemFile(self.path(file))
        write_items(items.path, items.read())
        moved = items.keep_only(ids)
        absent = set(ids) - items.ids()
        if absent:
            raise ValueError(
                f"{items.path}: {len(absent)} of {len(ids)} named items are not there, first {min(absent)}."
            )
        return moved

    def _unanswered(self, items: Mapping[str, Sequence[str]]) -> tuple[dict[str, int], dict[str, int]]:
        """File -> named items without an answer, and lines for the table of counts: these, and earlier attempts."""
        left: dict[str, int] = {}
        counts: dict[str, int] = {}
        for file, ids in items.items():
            if n := sum(map(is_unanswered, ItemFile(self.path(file)).read())):
                left[file] = counts[f"without an answer in {file}"] = n
            attempts = earlier_attempts(self.path(file))
            if n := sum(len(attempts.get(item_id, ())) for item_id in ids):
                counts[f"earlier attempts without an answer in {file}"] = n
        return left, counts

    def _command(self, stage: str, run: str | None = None) -> str:
        base = None if run else os.environ.get(COMMAND_VARIABLE)
        return f"{base or f'sotopia-pi run params/{run or self.run}.yaml'} --only {stage}"


def count_table(counts: Mapping[str, Any]) -> str:
    """Counts as aligned plain text, one label a line; it survives headless runs and offline HTML."""
    width = max((len(label) for label in counts), default=0)
    return "\n".join(f"{label:<{width}}  {value:>8}" for label, value in counts.items())


def _unknown_names(namespace: Mapping[str, Any], declared: Mapping[str, Any]) -> list[str]:
    """Plain values that were set beside the declared parameters, by papermill or by a slip of the pen.

    In a kernel only the cells from the last one that sets `run` count, the parameters cell or papermill's: what later
    cells leave behind is none of it, so that Run All works twice in one kernel.
    """
    history = namespace.get("In")
    names = {key for key, value in namespace.items() if type(value) in PLAIN}
    if isinstance(history, list):
        assigned = [assigned_names(cell) for cell in history[:-1]]  # the last is the one that opens the stage
        begin = max((i for i, found in enumerate(assigned) if "run" in found), default=0)
        names &= set().union(*assigned[begin:])
    return sorted(n for n in names if not n.startswith("_") and n not in declared and n not in IPYTHON_NAMES)
