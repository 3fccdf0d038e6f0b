"""Reads a run with pandas and makes a table of its scores; run by the peers' environment.

Reads JSON on stdin: `{"tasks", "episodes", "ratings"}`, three JSON Lines files. Answers with a last line of JSON:
seconds, peak memory of this process in GiB, and by variant and side [sides, turns, sum of goals].
"""

import json
import re
import resource
import sys
import time
from pathlib import Path

import pandas as pd

STATUS = Path("/proc/self/status")
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
if STATUS.is_file():  # a peak of this process; `ru_maxrss` begins with that of the one that started it
    gib = int(re.search(r"VmHWM:\s+(\d+)", STATUS.read_text())[1]) / 2**20
else:
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (30 if sys.platform == "darwin" else 20)
print(json.dumps({"seconds": seconds, "gib": gib, "table": found}), flush=True)
