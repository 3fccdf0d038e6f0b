"""Loading a big run: into the results tables, against pandas, and into the episode browser.

Each go is a process of its own, so that none finds memory that another has left and each tells its own peak.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sotopia_pi.analysis.episode_index import EpisodeIndex
from sotopia_pi.analysis.episode_sources import EPISODES as EPISODES_FILE
from sotopia_pi.analysis.episode_sources import Source, Sources
from sotopia_pi.analysis.tables import EVALUATION_STAGE, TASKS_STAGE, results_frame
from sotopia_pi.app.bench.big_run import write_big_run
from sotopia_pi.app.bench.own_process import PEAK, in_a_process
from sotopia_pi.app.bench.peers import run_peer
from sotopia_pi.app.bench.work import Contest, Unequal
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks

EPISODES, TASKS, MOST_GIB = 50_000, 200, 4.0


@contextmanager
def open_loading(episodes: int = EPISODES) -> Iterator[Contest]:
    """The tables of a run against the same columns by `pandas.read_json(lines=True)`."""
    last: dict[str, dict[str, Any]] = {}
    with big_run(episodes) as run_dir:
        files = run_files(run_dir)

        def ours() -> float:
            last["ours"] = in_a_process(tables_of, run_dir)
            return last["ours"]["seconds"]

        def theirs() -> float:
            last["peer"] = run_peer("loading", {name: str(path) for name, path in files.items()})
            return last["peer"]["seconds"]

        yield Contest(ours, theirs, check=lambda: same_table(last))


@contextmanager
def open_browser(episodes: int = EPISODES) -> Iterator[Contest]:
    """Opening the browser's index, which is made once and kept, and showing an episode."""
    last: dict[str, Any] = {}
    with big_run(episodes) as run_dir:
        made = in_a_process(index_of, run_dir)

        def ours() -> float:
            last.update(in_a_process(index_of, run_dir))
            return last["seconds"]

        def check() -> str:
            if last["episodes"] != episodes:
                raise Unequal(f"{last['episodes']} of {episodes} episodes are in the browser")
            return f"all {episodes:,} episodes, {last[PEAK]:.2f} GiB; made once, in {made['seconds']:.1f} s"

        yield Contest(ours, None, check, why_no_peer="it goes on from an index that nothing else has")


@contextmanager
def big_run(episodes: int) -> Iterator[Path]:
    """A made-up run of that many episodes, in a folder that goes away."""
    with tempfile.TemporaryDirectory() as folder:
        yield write_big_run(Path(folder) / "big", draw_tasks("eval", TaskCounts(TASKS), seed=0), episodes)


def run_files(run_dir: Path) -> dict[str, Path]:
    """The items files of a run that a results table is made of."""
    played = run_dir / EVALUATION_STAGE
    tasks = run_dir / TASKS_STAGE / "tasks.jsonl"
    return {"tasks": tasks, "episodes": played / EPISODES_FILE, "ratings": played / "ratings.jsonl"}


def tables_of(run_dir: Path) -> dict[str, Any]:
    """Seconds until a run's results frame is there, and what it holds: by variant and side, as the peer's script."""
    started = time.perf_counter()
    frame = results_frame(run_dir)
    seconds = time.perf_counter() - started
    table = {
        f"{variant}, side {side}": [len(rows), int(rows["n_turns"].sum()), round(float(rows["goal"].sum()), 3)]
        for (variant, side), rows in frame.groupby(["variant", "side"])
    }
    return {"seconds": seconds, "table": table}


def index_of(run_dir: Path) -> dict[str, Any]:
    """Seconds until the browser's frame is there, its index made where it is not yet."""
    files = run_files(run_dir)
    sizes = {str(path): str(path.stat().st_size) for path in files.values()}
    source = Source(EVALUATION_STAGE, files["episodes"], (files["ratings"],), files["tasks"], sizes)
    started = time.perf_counter()
    index = EpisodeIndex(run_dir.name, Sources((source,), {}), run_dir / "index")
    index.transcript(0)
    return {"seconds": time.perf_counter() - started, "episodes": len(index.frame)}


def same_table(last: dict[str, dict[str, Any]]) -> str:
    """In words that both tables hold the same; raises Unequal, also where ours takes more than MOST_GIB."""
    if last["ours"]["table"] != last["peer"]["table"]:
        raise Unequal(f"ours holds {last['ours']['table']}, the peer's {last['peer']['table']}")
    memory = f"{last['ours'][PEAK]:.2f} GiB at most, the peer {last['peer']['gib']:.2f}"
    if last["ours"][PEAK] > MOST_GIB:
        raise Unequal(f"ours took {memory}; allowed: {MOST_GIB:g}")
    return f"episodes, turns and goals by variant and side are the same; {memory}"
