"""What a results page finds of a run, and what is missing: whatever is there is shown, the rest is named."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from sotopia_pi.analysis.averaged import averaged
from sotopia_pi.analysis.tables import EVALUATION_STAGE, TASKS_STAGE, results_frame, run_label
from sotopia_pi.stages.played import Played
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.manifest import read_manifest
from sotopia_pi.store.stage import Stage
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import SocialTask

HUMAN_STAGE, HUMAN_FILE = "09_human_evaluation", "ratings.jsonl"
NEEDED = (
    (TASKS_STAGE, "tasks.jsonl"),
    (EVALUATION_STAGE, "episodes.jsonl"),
    (EVALUATION_STAGE, "ratings.jsonl"),
)
TRAINING_LOGS = {
    "BC": ("03_behavior_cloning", "bc/metrics.jsonl"),
    "SR": ("05_self_reinforcement", "sr/metrics.jsonl"),
    "BC+SR": ("05_self_reinforcement", "bc_sr/metrics.jsonl"),
}
COLUMNS = ("stage", "file", "items", "what it gives")


@dataclass
class RunFiles:
    """Results of a run's stages, read through one stage so that its key knows them; an absent one is no error.

    A stage counts once it is complete: what lies in the folder of an unfinished one is not shown as a result.
    """

    stage: Stage
    found: list[dict[str, Any]] = field(default_factory=list)
    read: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)

    def items(self, stage: str, file: str, gives: str) -> list[dict[str, Any]]:
        """Items of a stage, none where it is not complete. gives: what a reader of the page loses without them."""
        if (stage, file) not in self.read:
            items = self.stage.input(stage, file) if self.stage.has_input(stage, file) else None
            self._note(stage, file, gives, None if items is None else len(items))
            self.read[stage, file] = items or []
        return self.read[stage, file]

    def path(self, stage: str, file: str, gives: str) -> Path | None:
        """Path of another result of a stage, or None where there is none."""
        path = self.stage.input_path(stage, file) if self.stage.has_input(stage, file) else None
        self._note(stage, file, gives, None if path is None else 1)
        return path

    def table_of(self, stage: str, name: str, gives: str) -> pd.DataFrame | None:
        """A table that another page published, as it stands in its `tables/<name>.csv`; None where there is none."""
        path = self.path(stage, f"tables/{name}.csv", gives)
        how = {"converters": {"missing": ast.literal_eval}, "dtype": {"k": "Int64"}}
        return None if path is None else pd.read_csv(path, **how)

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks, of training and evaluation."""
        return self.items(TASKS_STAGE, "tasks.jsonl", "everything: what was played")

    def evaluation(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
        """Episodes of the social evaluation, the first judge's ratings, and those of further judges."""
        episodes = self.items(EVALUATION_STAGE, "episodes.jsonl", "scores, comparisons, lengths, failures")
        ratings = self.items(EVALUATION_STAGE, "ratings.jsonl", "scores and comparisons")
        return episodes, ratings, self.items(EVALUATION_STAGE, "judge_ratings.jsonl", "further judges")

    def played(self) -> Played:
        """The social evaluation as objects, by the first judge."""
        tasks = {task["id"]: SocialTask.from_dict(task) for task in self.tasks() if task["split"] == "eval"}
        episodes, ratings, _ = self.evaluation()
        return Played(tasks, tuple(map(Episode.from_dict, episodes)), tuple(map(Rating.from_dict, ratings)))

    def human_ratings(self) -> list[dict[str, Any]]:
        """What people gave, one rating a side: the mean of its annotators."""
        given = self.items(HUMAN_STAGE, HUMAN_FILE, "people's scores, judge minus people")
        return [mean.to_dict() for mean in averaged(map(Rating.from_dict, given))]

    def training(self, stage: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Episodes and ratings of a stage that plays for training (02 or 04)."""
        episodes = self.items(stage, "episodes.jsonl", "selection before and after")
        return episodes, self.items(stage, "ratings.jsonl", "selection before and after")

    def selection(self, stage: str) -> list[dict[str, Any]]:
        """The sides that a training stage (03 or 05) kept."""
        return self.items(stage, "selection.jsonl", "selection before and after")

    def training_logs(self) -> dict[str, Path]:
        """Variant -> log of its training, of those that were trained."""
        paths = {variant: self.path(*place, "training curves") for variant, place in TRAINING_LOGS.items()}
        return {variant: path for variant, path in paths.items() if path}

    def reasons_not_trained(self) -> dict[str, str]:
        """Variant -> why it was not trained, as the evaluation was told."""
        variants = self.items(EVALUATION_STAGE, "variants.jsonl", "why a variant is not there")
        return {v["id"]: f"not trained: {v['reason']}" for v in variants if not v["trained"]}

    def words(self) -> str:
        """One line on what is missing and what a reader loses by it, or that all is there."""
        lost = {row["stage"]: row["what it gives"] for row in reversed(self.found)}
        missing = [f"{stage} ({lost[stage]})" for stage in self.missing()]
        if not missing:
            return "Every stage that this page has read so far is complete."
        return f"Not there, so left out: {'; '.join(missing)}. How far the run is: sotopia-pi status {self.stage.run}"

    def table(self) -> pd.DataFrame:
        """What was asked for so far: stage, file, how many items it holds ("missing" where there is no such result)."""
        return pd.DataFrame(self.found, columns=list(COLUMNS))

    def missing(self) -> Iterable[str]:
        """Stages that have none of what was asked of them, each once."""
        there = {row["stage"] for row in self.found if row["items"] != "missing"}
        return dict.fromkeys(row["stage"] for row in self.found if row["stage"] not in there)

    def _note(self, stage: str, file: str, gives: str, n: int | None) -> None:
        items = "missing" if n is None else str(n)
        self.found.append({"stage": stage, "file": file, "items": items, "what it gives": gives})


@dataclass(frozen=True)
class SeveralRuns:
    """Runs to compare.

    frames: run -> its results frame; labels: run -> who scored and whom; table: a row a run asked for, with why it is
    left out where it is.
    """

    frames: dict[str, pd.DataFrame]
    labels: dict[str, str]
    table: pd.DataFrame


def read_runs(stage: Stage, runs: Iterable[str]) -> SeveralRuns:
    """Results frames of several runs, read through a stage so that its key knows them; incomplete ones are named."""
    frames, labels, rows = {}, {}, []
    for run in dict.fromkeys(runs):
        absent = [name for name, file in NEEDED if not stage.has_input(name, file, run)]
        if absent:
            rows.append({"run": run, "episodes": 0, "state": f"left out: {', '.join(absent)} not complete"})
            continue
        paths = [stage.input_path(name, file, run) for name, file in NEEDED]
        frames[run] = results_frame(paths[0].parents[1])
        model = read_manifest(paths[1].parent)["params"]["model"]
        labels[run] = run_label((Rating.from_dict(item) for item in ItemFile(paths[2]).read()), model)
        rows.append({"run": run, "episodes": frames[run]["episode_id"].nunique(), "state": labels[run]})
    return SeveralRuns(frames, labels, pd.DataFrame(rows, columns=["run", "episodes", "state"]))
