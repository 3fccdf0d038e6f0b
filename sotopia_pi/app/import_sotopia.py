"""Import: a folder of Sotopia's files as items of a run, with a report of what was taken over and what was not."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sotopia_pi.formats.record_lines import Refusal, Unreadable
from sotopia_pi.formats.sotopia_episodes import PlayedBefore, read_episode, read_logs
from sotopia_pi.formats.sotopia_hub import profiles_folder
from sotopia_pi.formats.sotopia_profiles import CHARACTERS, COMBINATIONS, HARD, RELATIONSHIPS, SCENARIOS, read_profiles
from sotopia_pi.formats.sotopia_tasks import PublishedWorld, published_tasks, stakes_table
from sotopia_pi.store.items import content_id, write_atomically, write_items
from sotopia_pi.store.lock import RunLock
from sotopia_pi.world.characters import RelatedPair
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import SocialTask

FOLDER = "sotopia"
"""Where the items lie, inside the run's folder."""
REPORT = "import_report.json"
EPISODES = "*episodes*.json*"
"""Files of this name beside the profiles are read as episode logs."""


@dataclass(frozen=True)
class ImportReport:
    """What came of an import. counts: kind -> {"read", "refused"}; refused and remarks: by file, line, id and reason;
    payoffs: goals that a rule could check; ratings: by outcome; files: what was written, with the number of items."""

    source: str
    counts: dict[str, dict[str, int]]
    refused: tuple[Refusal, ...]
    remarks: tuple[Refusal, ...]
    payoffs: dict[str, Any]
    ratings: dict[str, int]
    files: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "import/1",
            "source": self.source,
            "counts": self.counts,
            "payoffs": self.payoffs,
            "ratings_by_outcome": self.ratings,
            "files": self.files,
            "refused": [refusal.to_dict() for refusal in self.refused],
            "remarks": [remark.to_dict() for remark in self.remarks],
        }


def import_sotopia(folder: str | Path, run_dir: Path) -> ImportReport:
    """Read Sotopia's profiles, and the episode logs beside them, into <run_dir>/sotopia/ as items of ours.

    folder: a local folder, or `hub:cmu-lti/sotopia-space`. An import again replaces the one before. Raises
    FileNotFoundError, HubUnreachable, RunLocked.
    """
    place = profiles_folder(folder)
    with RunLock(run_dir):
        world = PublishedWorld(read_profiles(place))
        combined = published_tasks(world)
        refused = [*world.profiles.refused, *combined.refused]
        played = _episodes(sorted(place.glob(EPISODES)), world, refused)
        tasks = {task.id: task for task in (*combined.tasks, *(one.task for one in played))}
        ratings = [rating for one in played for rating in one.ratings]
        items = {
            "characters.jsonl": [
                {"schema": "character/1", **profile.value.to_dict()} for profile in world.profiles.characters
            ],
            "relationships.jsonl": [_pair_item(profile.value) for profile in world.profiles.relationships],
            "tasks.jsonl": [task.to_dict() for task in tasks.values()],
            "episodes.jsonl": [one.episode.to_dict() for one in played],
            "ratings.jsonl": [rating.to_dict() for rating in ratings],
        }
        for name, its in items.items():
            write_items(run_dir / FOLDER / name, its)
        report = ImportReport(
            source=str(folder),
            counts=_counts(world, len(combined.tasks), len(played), refused),
            refused=tuple(refused),
            remarks=combined.remarks,
            payoffs=_payoffs(world, tasks.values()),
            ratings=_outcomes(ratings),
            files={name: len(its) for name, its in items.items()},
        )
        text = json.dumps(report.to_dict(), ensure_ascii=False, indent=1)
        write_atomically(run_dir / FOLDER / REPORT, f"{text}\n".encode())
    return report


def _episodes(paths: Sequence[Path], world: PublishedWorld, refused: list[Refusal]) -> list[PlayedBefore]:
    """The episodes of these files that can be read; the others are added to `refused`."""
    found: dict[str, PlayedBefore] = {}
    for path in paths:
        for record, log in read_logs(path, refused):
            try:
                played = read_episode(log, world)
                if played.episode.id in found:
                    raise Unreadable("an earlier line has an episode with this id; ids are unique, rename or drop one")
                found[played.episode.id] = played
            except Unreadable as problem:
                refused.append(Refusal(record.file, record.line, log.pk, str(problem)))
    return list(found.values())


def _pair_item(pair: RelatedPair) -> dict[str, Any]:
    body = pair.to_dict()
    return {"schema": "relationship/1", "id": content_id("relationship", body), **body}


def _counts(
    world: PublishedWorld, n_tasks: int, n_episodes: int, refused: Sequence[Refusal]
) -> dict[str, dict[str, int]]:
    """By kind. A record is read or refused, never both and never neither."""
    profiles = world.profiles
    read = {
        CHARACTERS: ("characters", len(profiles.characters)),
        RELATIONSHIPS: ("relationships", len(profiles.relationships)),
        SCENARIOS: ("scenarios", len(profiles.scenarios)),
        COMBINATIONS: ("pairs", n_tasks),
        HARD: ("hard scenarios", len(profiles.hard)),
    }
    counts = {kind: {"read": n, "refused": 0} for kind, n in read.values()} | {
        "episodes": {"read": n_episodes, "refused": 0}
    }
    for refusal in refused:
        counts[read[refusal.file][0] if refusal.file in read else "episodes"]["refused"] += 1
    return counts


def _payoffs(world: PublishedWorld, tasks: Iterable[SocialTask]) -> dict[str, Any]:
    """By source, how many scenarios' goals became payoffs; those that did not, each with its reason."""
    stakes = list(world.stakes.values())
    return {
        "by_source": stakes_table(stakes),
        "tasks_with_payoff": sum(task.payoff is not None for task in tasks),
        "not_read": [one.to_dict() for one in stakes if one.payoff is None],
    }


def _outcomes(ratings: Iterable[Rating]) -> dict[str, int]:
    return dict(sorted(Counter(rating.outcome for rating in ratings).items()))
