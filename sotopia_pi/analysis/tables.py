"""Results of social evaluation as data frames: one row per episode and side, and the tables that show them.

The tables of goals and of comparisons live in `goal_tables` and `comparisons`; notebooks may take all from here.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sotopia_pi.analysis.colours import in_order
from sotopia_pi.analysis.comparisons import comparisons_table, paired_table, ratio_table, trivial_check
from sotopia_pi.analysis.goal_tables import (
    both_sides_table,
    by_variant,
    estimate_row,
    family_table,
    goal_table,
    no_zone_table,
    parts_table,
    select_side,
    ungated_table,
)
from sotopia_pi.analysis.shown_items import Shown, ShownEpisode, ShownRating, shown_items
from sotopia_pi.store.items import ItemFile
from sotopia_pi.world.families import HELD_OUT
from sotopia_pi.world.ratings import DIMENSIONS, Rating
from sotopia_pi.world.scoring import JUDGE as RULE

__all__ = [
    "both_sides_table",
    "comparisons_table",
    "failure_table",
    "family_table",
    "frame_of",
    "goal_table",
    "interval_text",
    "length_table",
    "no_zone_table",
    "paired_table",
    "parts_table",
    "pooled",
    "ratio_table",
    "results_frame",
    "results_json",
    "run_label",
    "shown",
    "trivial_check",
    "ungated_table",
]

TASKS_STAGE = "01_social_tasks"
EVALUATION_STAGE = "06_social_evaluation"
UNGATED_FAMILIES = (HELD_OUT,)
"""Families seen in evaluation only: no gate is computed over them."""

DIMENSIONS_SHOWN = ("goal", "financial_and_material_benefits", "secret")
"""What a rule can check: the dimensions of `results_json`."""
SCORES = (*DIMENSIONS, "overall")
COLUMNS: dict[str, str] = {
    "run": "str",
    "seed": "int64",
    "episode_id": "str",
    "task_id": "str",
    "template": "str",
    "family": "str",
    "gated": "bool",
    "hard": "bool",
    "has_zone": "bool",
    "variant": "str",
    "agent_side": "int64",
    "repeat": "int64",
    "side": "int64",
    "role": "str",
    "outcome": "str",
    "ending": "str",
    "failure": "str",
    "missing": "str",
    "n_turns": "int64",
    "n_failed_turns": "int64",
    **dict.fromkeys(SCORES, "float64"),
    "deal": "float64",
    "bad_deal": "float64",
    "joint_surplus": "float64",
}
"""Columns of a results frame. Scores and parts are NaN where missing; deal and bad_deal are 0 or 1; `missing` says why
goal is NaN; n_turns counts both sides' turns, n_failed_turns this side's marked `none`."""


def results_frame(run_dir: Path | str) -> pd.DataFrame:
    """One row per episode and side of a run's social evaluation.

    run_dir: `outputs/<run>`. Where a stage has a manifest, only the ids it names are read. Raises FileNotFoundError
    that names the command when the tasks or the evaluation are not there.
    """
    run_dir = Path(run_dir)
    tasks = ItemFile(_file(run_dir, TASKS_STAGE, "tasks.jsonl")).read()
    episodes = _shown(run_dir, "episodes.jsonl", ShownEpisode)
    ratings = _shown(run_dir, "ratings.jsonl", ShownRating)
    return _frame(tasks, episodes, ratings, run_dir.name)


def frame_of(
    tasks: Iterable[Mapping[str, Any]],
    episodes: Iterable[Mapping[str, Any]],
    ratings: Iterable[Mapping[str, Any]],
    run: str = "",
) -> pd.DataFrame:
    """The same frame from items in hand (dicts as they lie in the files)."""
    played, rated = map(ShownEpisode.model_validate, episodes), map(ShownRating.model_validate, ratings)
    return _frame(tasks, played, rated, run)


def _frame(
    tasks: Iterable[Mapping[str, Any]], episodes: Iterable[ShownEpisode], ratings: Iterable[ShownRating], run: str
) -> pd.DataFrame:
    tasks_by_id = {task["id"]: task for task in tasks}
    scores_by_side = _scores_by_side(ratings)
    rows = [
        _row(run, _task_of(episode, tasks_by_id), episode, side, scores_by_side.get((episode.id, side)))
        for episode in episodes
        for side in (0, 1)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def run_label(ratings: Iterable[Rating], model: str) -> str:
    """What every figure's title says: who scored, and whom ("rule-scored negotiation, smollm2-135m-instruct")."""
    judges = sorted({rating.judge for rating in ratings})
    others = ", ".join(judge for judge in judges if judge != RULE)
    scored = f"judged by {others}" if others else "rule-scored negotiation" if judges else "nothing rated"
    return f"{scored}, {model}"


def pooled(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Several runs' frames (seeds) as one; every table takes it. Pairs stay within a run, the unit is the template."""
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)
    return pd.concat(frames, ignore_index=True)


def results_json(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Estimates for scripts: one object per tasks, variant, side and dimension; a mean without scores is null."""
    lines = []
    for tasks in ("all", "hard"):
        for dimension in DIMENSIONS_SHOWN:
            for side in ("agent", "partner"):
                table = goal_table(frame, tasks, side, dimension)
                lines += [_json_line(row) for row in table.to_dict("records")]
    order = {variant: i for i, variant in enumerate(in_order(frame["variant"]))}
    return sorted(lines, key=lambda line: (line["tasks"], order[line["variant"]]))


def length_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Turns of an episode per variant (both sides together, failed episodes too), and how many ended in which way."""
    rows = select_side(frame, "agent")

    def lines(group: pd.DataFrame) -> Iterable[dict[str, Any]]:
        endings = group["ending"].value_counts()
        columns = {f"ended: {e}": int(endings.get(e, 0)) for e in ("left", "silence", "turn_limit", "failed")}
        estimate = {k: v for k, v in estimate_row(group, "n_turns").items() if k not in ("attempted", "missing")}
        yield {"measure": "turns", **estimate, "median": group["n_turns"].median(), **columns}

    return by_variant(rows, lines)


def failure_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Per variant: episodes attempted and rated, and why the others have no score; all families, no-zone tasks too."""
    rows = select_side(frame, "agent")
    counts = [
        {
            "variant": variant,
            "attempted": len(group),
            "rated": int(group["goal"].notna().sum()),
            **group.loc[group["missing"] != "", "missing"].value_counts().to_dict(),
            "failed turns": int(group["n_failed_turns"].sum()),
        }
        for variant, group in ((v, rows[rows["variant"] == v]) for v in in_order(rows["variant"]))
    ]
    reasons = sorted(set(rows["missing"]) - {""})
    columns = ["variant", "attempted", "rated", *reasons, "failed turns"]
    return pd.DataFrame(counts, columns=columns).fillna(0).astype(dict.fromkeys(columns[1:], "int64"))


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """A table for reading: value and interval in one column, reasons as words, the method left to the caption.

    `dimension` is left out where all rows have the same.
    """
    out = table.copy()
    value = next((name for name in ("mean", "difference", "ratio", "pearson") if name in out), None)
    if value is not None and "low" in out:
        cells = [interval_text(*bounds) for bounds in zip(out[value], out["low"], out["high"], strict=True)]
        cells = [cell.replace("no scores", "–") for cell in cells] if value == "pearson" else cells
        out.insert(list(out.columns).index(value), f"{value} [95 % interval]", cells)
        out = out.drop(columns=[value, "low", "high"])
    if "missing" in out:
        out["missing"] = [", ".join(f"{n} {reason}" for reason, n in m.items()) or "none" for m in out["missing"]]
    for column in [name for name in ("p", "p_flip", "p_holm") if name in out]:
        out[column] = ["–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" for p in out[column]]
    for column in [name for name in ("detectable", "effect_gz") if name in out]:
        out[column] = ["–" if math.isnan(d) else f"{d:.2f}" for d in out[column]]
    told = [c for c in ("method", "dimension") if c in out and (c == "method" or out[c].nunique() <= 1)]
    return out.drop(columns=told)


def _file(run_dir: Path, stage: str, file: str) -> Path:
    path = run_dir / stage / file
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there; make it with: sotopia-pi run params/{run_dir.name}.yaml --only {stage}"
        )
    return path


def _shown(run_dir: Path, file: str, kind: type[Shown]) -> Iterable[Shown]:
    """Items of the evaluation, read where they are used; where it has a manifest, those that it names."""
    path = _file(run_dir, EVALUATION_STAGE, file)
    items, manifest = shown_items(path, kind), path.with_name("manifest.json")
    if not manifest.exists():
        return items
    named = set(json.loads(manifest.read_text())["items"].get(file, ()))
    return (item for item in items if item.id in named)


def _scores_by_side(ratings: Iterable[ShownRating]) -> dict[tuple[str, int], dict[str, Any]]:
    """What a row shows of each rating."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    given: dict[tuple[str, int], str] = {}
    for rating in ratings:
        key, name = (rating.episode_id, rating.side), f"{rating.id} by {rating.judge}"
        if key in found:
            raise ValueError(
                f"episode {key[0]}, side {key[1]} has two ratings ({given[key]}, {name}); one judge a table: finish "
                f"stage {EVALUATION_STAGE}, whose manifest names the ratings that count"
            )
        found[key], given[key] = _scores(rating), name
    return found


def _task_of(episode: ShownEpisode, tasks: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        return tasks[episode.task_id]
    except KeyError:
        raise ValueError(
            f"episode {episode.id} plays task {episode.task_id}, which is not among the {len(tasks)} tasks of "
            f"stage {TASKS_STAGE}; run stage {EVALUATION_STAGE} again, so that episodes and tasks agree"
        ) from None


def _row(
    run: str, task: Mapping[str, Any], episode: ShownEpisode, side: int, scores: Mapping[str, Any] | None
) -> dict[str, Any]:
    """One row of the frame. scores: of a rating, None where there is none. A failed policy has none in any case."""
    if episode.agent_side not in (0, 1):
        raise ValueError(f"episode {episode.id} has agent_side {episode.agent_side!r}; social evaluation needs 0 or 1")
    if episode.outcome != "completed":
        scores = {"missing": episode.outcome}
    return {
        "run": run,
        "seed": episode.seed,
        "episode_id": episode.id,
        "task_id": task["id"],
        "template": episode.template,
        "family": episode.family,
        "gated": episode.family not in UNGATED_FAMILIES,
        "hard": task["hard"],
        "has_zone": task["has_zone"],
        "variant": episode.tag,
        "agent_side": episode.agent_side,
        "repeat": episode.repeat,
        "side": side,
        "role": "agent" if side == episode.agent_side else "partner",
        "outcome": episode.outcome,
        "ending": episode.ending,
        "failure": episode.failure,
        "n_turns": len(episode.turns),
        "n_failed_turns": sum(turn.failed for turn in episode.turns if turn.side == side),
        **(scores or {"missing": "not_rated"}),
    }


def _scores(rating: ShownRating) -> dict[str, Any]:
    """Scores, parts and the reason of a missing goal."""
    if rating.outcome != "ok":
        return {"missing": rating.outcome}
    scores = {dimension: rating.scores.get(dimension) for dimension in DIMENSIONS}
    parts = {part: rating.parts.get(part) for part in ("deal", "bad_deal", "joint_surplus")}
    missing = "" if scores["goal"] is not None else "left out by the judge"
    return {**scores, "overall": rating.overall, **parts, "missing": missing}


def _json_line(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("tasks", "variant", "side", "dimension", "mean", "low", "high", "n_tasks", "n_episodes", "missing")
    return {name: _json_value(row[name]) for name in names}


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    return value


def interval_text(mean: float, low: float, high: float) -> str:
    """`4.90 [4.20, 5.60]`, `4.90` where no interval could be made, or "no scores"."""
    if math.isnan(mean):
        return "no scores"
    return f"{mean:.2f}" if math.isnan(low) else f"{mean:.2f} [{low:.2f}, {high:.2f}]"
