"""What a results page finds of a run, and what is missing: whatever is there is shown, the rest is named."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from sotopia_pi.analysis.averaged import averaged
from sotopia_pi.analysis.tables import EVALUATION_STAGE, TASKS_STAGE
from sotopia_pi.store.stage import Stage

HUMAN_STAGE, HUMAN_FILE = "09_human_evaluation", "human_ratings.jsonl"
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

    def items(self, stage: str, file: str, gives: str) -> list[dict[str, Any]]:
        """Items of a stage, none where it is not complete. gives: what a reader of the page loses without them."""
        items = self.stage.input(stage, file) if self.stage.has_input(stage, file) else None
        self._note(stage, file, gives, None if items is None else len(items))
        return items or []

    def path(self, stage: str, file: str, gives: str) -> Path | None:
        """Path of another result of a stage, or None where there is none."""
        path = self.stage.input_path(stage, file) if self.stage.has_input(stage, file) else None
        self._note(stage, file, gives, None if path is None else 1)
        return path

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks, of training and evaluation."""
        return self.items(TASKS_STAGE, "tasks.jsonl", "everything: what was played")

    def evaluation(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
        """Episodes of the social evaluation, the first judge's ratings, and those of further judges."""
        episodes = self.items(EVALUATION_STAGE, "episodes.jsonl", "scores, comparisons, lengths, failures")
        ratings = self.items(EVALUATION_STAGE, "ratings.jsonl", "scores and comparisons")
        return episodes, ratings, self.items(EVALUATION_STAGE, "judge_ratings.jsonl", "further judges")

    def human_ratings(self) -> list[dict[str, Any]]:
        """What people gave, one rating a side: the mean of its annotators."""
        return averaged(self.items(HUMAN_STAGE, HUMAN_FILE, "people's scores, judge minus people"))

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
