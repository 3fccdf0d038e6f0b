"""A folder of one's own episodes for Sotopia: the logs, and the profiles that they refer to.

`sotopia-pi import sotopia FOLDER` reads it back without loss.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from sotopia_pi.formats.sotopia_episodes import write_episode
from sotopia_pi.formats.sotopia_rewards import UNRATED
from sotopia_pi.formats.sotopia_tasks import profiles_of
from sotopia_pi.store.items import write_items
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import SocialTask

RATED_FILE, UNRATED_FILE = "episodes.jsonl", "unrated_episodes.jsonl"


def export_episodes(
    folder: Path | str,
    episodes: Iterable[Episode],
    tasks: Mapping[str, SocialTask],
    ratings: Iterable[Rating] = (),
    further: Iterable[Rating] = (),
) -> dict[str, int]:
    """Write episodes as EpisodeLog JSON Lines with the profiles of their agents, environments and relationships.

    tasks: by id, at least those that were played. ratings, further: as `write_episode` takes them. Returns how many
    episodes, and profiles of each kind, were written.

    An episode with an unrated side goes to `unrated_episodes.jsonl`: its rewards hold a null, which Sotopia's own
    model of a log refuses, and 0.0 would be a score. Without such an episode there is no such file. Combinations are
    left out: a log brings its task along. Raises KeyError where an episode's task is not given.
    """
    folder, episodes = Path(folder), list(episodes)
    told = _by_episode(ratings), _by_episode(further)
    logs = [write_episode(one, _task_of(one, tasks), *(its[one.id] for its in told)) for one in episodes]
    unrated = [log.to_dict() for log in logs if UNRATED in log.rewards]
    rated = [log.to_dict() for log in logs if UNRATED not in log.rewards]
    write_items(folder / RATED_FILE, rated)
    if unrated:
        write_items(folder / UNRATED_FILE, unrated)
    profiles = replace(profiles_of([tasks[id_] for id_ in {one.task_id: None for one in episodes}]), combinations=())
    profiles.write(folder)
    return {
        "episodes": len(rated),
        "episodes with an unrated side": len(unrated),
        "agents": len(profiles.characters),
        "environments": len(profiles.scenarios),
        "relationships": len(profiles.relationships),
    }


def _by_episode(ratings: Iterable[Rating]) -> dict[str, list[Rating]]:
    found: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        found[rating.episode_id].append(rating)
    return found


def _task_of(episode: Episode, tasks: Mapping[str, SocialTask]) -> SocialTask:
    if episode.task_id not in tasks:
        raise KeyError(f"episode {episode.id}: task {episode.task_id} is not among the {len(tasks)} given; pass it too")
    return tasks[episode.task_id]
