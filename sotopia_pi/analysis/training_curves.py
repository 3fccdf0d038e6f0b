"""Training logs (`metrics.jsonl`) as one tidy frame."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

COLUMNS = ("variant", "step", "loss")


def training_frame(logs: Mapping[str, Path | str]) -> pd.DataFrame:
    """One row per logged optimiser step of each variant, sorted by step: variant, step, loss and what the log holds.

    logs: variant -> path of its metrics.jsonl; a path that is not there (a variant that was not trained) adds no rows.
    loss: mean cross-entropy per supervised token, nats. A torn last line is ignored; where a resumed training logged
    a step again, the later line counts.
    """
    frames = []
    for variant, path in logs.items():
        rows = _complete_lines(Path(path))
        if rows:
            frame = pd.DataFrame(rows).drop_duplicates("step", keep="last").sort_values("step")
            frames.append(frame.assign(variant=variant))
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS))
    frame = pd.concat(frames, ignore_index=True)
    return frame[[*COLUMNS, *(c for c in frame.columns if c not in COLUMNS)]]


def _complete_lines(path: Path) -> list[dict]:
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [row for row in map(json.loads, lines) if "step" in row and "loss" in row]
