"""Reads a run with pandas and makes a table of its scores; run by the peers' environment.

Reads JSON on stdin: `{"tasks", "episodes", "ratings"}`, three JSON Lines files. Answers with a last line of JSON:
seconds, peak memory of this process in GiB, and by variant and side [sides, turns, sum of goals].
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd

paths = json.load(sys.stdin)
started = time.perf_counter()
tasks, episodes, ratings = (pd.read_json(paths[name], lines=True) for name in ("tasks", "episodes", "ratings"))
episodes["n_turns"] = episodes["turns"].map(len)
episodes["hard"] = episodes["task_id"].map(tasks.set_index("id")["hard"])
ratings["goal"] = ratings["scores"].map(lambda scores: scores["goal"])
sides = pd.concat([episodes.assign(side=side) for side in (0, 1)])
table = sides.merge(
    ratings[["episode_id", "side", "goal"]], "left", left_on=["id", "side"], right_on=["episode_id", "side"]
)
seconds = time.perf_counter() - started
found = {
    f"{variant}, side {side}": [len(rows), int(rows["n_turns"].sum()), round(float(rows["goal"].sum()), 3)]
    for (variant, side), rows in table.groupby(["tag", "side"])
}
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
gib = int(status["VmHWM"].split()[0]) / 2**20
print(json.dumps({"seconds": seconds, "gib": gib, "table": found}), flush=True)
