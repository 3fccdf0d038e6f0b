"""A run of any size made from a finished one: its evaluation episodes and ratings again as further repeats.

Measures how long pages take over many episodes: `python tests/large_run.py outputs/laptop outputs/large 20000`; a
further number says how many turns each episode is to have, its own said again in their order.
"""

import shutil
import sys
from dataclasses import replace
from itertools import count, cycle, islice
from pathlib import Path

from sotopia_pi.store.items import ItemFile, content_id, write_items
from sotopia_pi.store.manifest import describe_files, read_manifest, result_digests, write_manifest
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating

STAGE = "06_social_evaluation"


def enlarge(source: Path, target: Path, n_episodes: int, n_turns: int | None = None) -> Path:
    """Copy a run, with n_episodes episodes in its social evaluation (at least as many as the source has).

    n_turns: turns of each of them; None leaves them as long as they are.
    """
    shutil.copytree(source, target)
    folder = target / STAGE
    episodes = [Episode.from_dict(item) for item in ItemFile(folder / "episodes.jsonl").read()]
    ratings = [Rating.from_dict(item) for item in ItemFile(folder / "ratings.jsonl").read()]
    by_episode = {episode.id: [r for r in ratings if r.episode_id == episode.id] for episode in episodes}
    rounds = (repeat for repeat in count() for _ in episodes)
    copies = islice(zip(cycle(episodes), rounds), n_episodes)
    played, rated = [], []
    for episode, repeat in copies:
        one = replace(episode, id=content_id("episode", [episode.id, repeat]), repeat=repeat)
        if n_turns:
            one = replace(
                one, turns=tuple(replace(t, index=i) for i, t in enumerate(islice(cycle(one.turns), n_turns)))
            )
        played.append(one)
        rated += [
            replace(r, id=content_id("rating", [r.id, repeat]), episode_id=one.id) for r in by_episode[episode.id]
        ]
    write_items(folder / "episodes.jsonl", [one.to_dict() for one in played])
    write_items(folder / "ratings.jsonl", [one.to_dict() for one in rated])
    _complete(folder, {"episodes.jsonl": [e.id for e in played], "ratings.jsonl": [r.id for r in rated]})
    return target


def _complete(folder: Path, items: dict[str, list[str]]) -> None:
    manifest = read_manifest(folder)
    files = describe_files(folder, manifest["files"])
    changed = {"items": manifest["items"] | items, "files": files, "digests": result_digests(folder, files)}
    write_manifest(folder, manifest | changed)


if __name__ == "__main__":
    enlarge(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
