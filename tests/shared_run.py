"""A finished run whose adapters are real LoRA on the tiny model, and that was measured; its numbers are chosen here."""

import csv
import json
from pathlib import Path

import torch
from finished_run import FinishedToy

from sotopia_pi.models.weights import prepare
from sotopia_pi.stages.lora import LoraSettings, base_with_adapter, save_adapter

METHOD = "95 % percentile bootstrap over scenario templates, 2000 resamples"
SCORES = {"base": (0.0, 0.0, 0.0), "BC": (4.15, 3.48, 4.89), "BC+SR": (4.37, 3.69, 5.08), "expert": (5.15, 4.54, 5.77)}
"""variant -> goal and its interval."""


class SharedToy(FinishedToy):
    """Adapters change what the tiny model says. measured: whether the evaluation and the results are there."""

    def __init__(self, root: Path, measured: bool = True, **more):
        super().__init__(root, **more)
        if measured:
            self.measure()

    def lora_settings(self) -> LoraSettings:
        return LoraSettings(r=4, alpha=8, dtype="float32", target_modules=("q_proj", "v_proj", "down_proj"))

    def write_adapter(self, folder: Path) -> None:
        model = base_with_adapter(prepare("tiny-random"), self.lora_settings())
        draw = torch.Generator().manual_seed(len(folder.parent.name))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data = torch.randn(parameter.shape, generator=draw)
        save_adapter(model, folder, "tiny-random-1")

    def measure(self) -> None:
        """Stages 06, with what it read, 07 and 10."""
        stage = self.stage("06_social_evaluation")
        stage.input("01_social_tasks", "tasks.jsonl")
        stage.input_path("03_behavior_cloning", "bc/adapter")
        stage.input_path("05_self_reinforcement", "bc_sr/adapter")
        items = {
            name: [item["id"] for item in stage.items(name).read()] for name in ("episodes.jsonl", "ratings.jsonl")
        }
        items["judge_ratings.jsonl"] = [item["id"] for item in stage.items("judge_ratings.jsonl").read()]
        stage.finish(items, notes={"roles": self.roles | {"partner": "scripted:partner"}})
        safety = self.stage("07_safety")
        for source, adapter in (("03_behavior_cloning", "bc/adapter"), ("05_self_reinforcement", "bc_sr/adapter")):
            safety.input_path(source, adapter)
        write_table(safety.path("tables/safety_rules.csv"), [safety_row(one) for one in ("base", "BC", "BC+SR")])
        safety.finish(artefacts=["tables"])
        results = self.stage("10_results")
        results.input("06_social_evaluation", "episodes.jsonl")
        rows = [score_row(variant, *values) for variant, values in SCORES.items()]
        results.path("results.json").write_text(json.dumps({"run": self.dir.name, "results": rows}))
        write_table(results.path("tables/both_sides.csv"), [{**row, "method": METHOD} for row in rows])
        write_table(results.path("tables/paired.csv"), [pair_row("BC", "base"), pair_row("BC+SR", "BC")])
        results.finish(artefacts=["results.json", "tables"])


def score_row(variant: str, mean: float, low: float, high: float) -> dict:
    whose = {"tasks": "all", "variant": variant, "side": "agent", "dimension": "goal"}
    return {**whose, "mean": mean, "low": low, "high": high, "n_tasks": 32, "n_episodes": 64, "missing": {}}


def pair_row(variant: str, reference: str) -> dict:
    values = {"difference": 0.23, "low": -0.42, "high": 0.76, "p_holm": 0.4676, "n_pairs": 64}
    return {
        "tasks": "all",
        "variant": variant,
        "reference": reference,
        **values,
        "ranked": "not ranked",
        "method": METHOD,
    }


def safety_row(variant: str) -> dict:
    values = {"mean": 0.9, "low": 0.8, "high": 0.95, "n_episodes": 27, "attempted": 30}
    told = {"missing": {"unreadable turns": 3}, "method": "95 % exact interval"}
    return {"variant": variant, "role": "preventer", "measure": "engagement rate", **values, **told}


def write_table(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
