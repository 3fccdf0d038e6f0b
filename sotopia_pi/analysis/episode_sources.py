"""Which files of a run hold episodes to browse, and whether they are still as their stage wrote them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sotopia_pi.analysis.tables import TASKS_STAGE
from sotopia_pi.store.manifest import Manifest, file_sha256
from sotopia_pi.store.params import find_stage
from sotopia_pi.store.stage import Stage

PLAYING = ("02_expert_episodes", "04_agent_episodes", "06_social_evaluation", "07_safety", "12_talk_to_the_agent")
"""Stages in which episodes are played."""
EPISODES, TASKS = "episodes.jsonl", "tasks.jsonl"
RATINGS = ("ratings.jsonl", "judge_ratings.jsonl")
"""Files of ratings beside the episodes; the judge of the first that is there gives the scores to filter by."""


@dataclass(frozen=True)
class Source:
    """The files of one stage. tasks: its own, else those of stage 01. digests: sha256 of every file, by path."""

    stage: str
    episodes: Path
    ratings: tuple[Path, ...]
    tasks: Path
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Sources:
    """What is there of the stages that were asked for. missing: stages without episodes, each with the reason."""

    found: tuple[Source, ...]
    missing: Mapping[str, str]

    def words(self) -> str:
        """One line: which stages are shown, and why others are not."""
        shown = ", ".join(source.stage for source in self.found) or "no stage"
        return "; ".join([f"Episodes of {shown}", *(f"{stage}: {why}" for stage, why in self.missing.items())]) + "."


def find_sources(stage: Stage, names: Iterable[str]) -> Sources:
    """Episodes files of these stages of PLAYING, by name or number, read through a stage so that its key knows them.

    A stage that runs later than this one (people's talks) is looked at as it lies there and is no part of the key.
    Raises ParameterError for a name that is no such stage, ValueError where a file is not what its stage wrote.
    """
    found, missing = [], {}
    drawn = stage.manifest_of(TASKS_STAGE, [TASKS])
    for name in dict.fromkeys(find_stage(name, PLAYING) for name in names):
        earlier = name < stage.name
        manifest = stage.manifest_of(name, [EPISODES, *RATINGS, TASKS]) if earlier else None
        folder = stage.run_dir / name
        if earlier and (manifest is None or EPISODES not in manifest["files"]):
            missing[name] = "not complete yet"
        elif not (folder / EPISODES).is_file():
            missing[name] = "no episodes there"
        elif drawn is None and not (folder / TASKS).is_file():
            missing[name] = f"its tasks are not there (stage {TASKS_STAGE} is not complete)"
        else:
            found.append(_source(stage.run_dir, name, {name: manifest, TASKS_STAGE: drawn}))
    return Sources(tuple(found), missing)


def _source(run_dir: Path, name: str, manifests: Mapping[str, Manifest | None]) -> Source:
    folder = run_dir / name
    own = folder / TASKS
    tasks = own if own.is_file() else run_dir / TASKS_STAGE / TASKS
    ratings = tuple(folder / file for file in RATINGS if (folder / file).is_file())
    paths = (folder / EPISODES, *ratings, tasks)
    digests = {str(path.relative_to(run_dir)): _sha256(path, manifests[path.parent.name]) for path in paths}
    return Source(name, paths[0], ratings, tasks, digests)


def _sha256(path: Path, manifest: Manifest | None) -> str:
    """Digest of a file's bytes; one with the size and modification time on record is not read for it."""
    known = (manifest or {}).get("files", {}).get(path.name)
    stat = path.stat()
    if known and (stat.st_size, stat.st_mtime_ns) == (known["bytes"], known["mtime_ns"]):
        return known["sha256"]
    digest = file_sha256(path)
    if known and digest != known["sha256"]:
        raise ValueError(
            f"{path} is not what its stage wrote (by the manifest beside it). Run that stage again, then this page."
        )
    return digest
