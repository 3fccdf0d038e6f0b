"""Runs of the presets that ask servers, in folders of their own: other names, addresses, counts and device, no more."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from sotopia_records import combination, environment, folder

from sotopia_pi.models.seam import Message, messages_hash
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.manifest import read_manifest

ROOT = Path(__file__).parents[1]
KEY = "-".join(("sk", "planted", "0123456789abcdefghij"))
"""Looks like a key and is none."""

Question = tuple[str, str, int]
"""Model, prompt hash and seed."""


def settings(preset: str, model: Path, url: str, profiles: Path) -> dict:
    """What is put over a preset. `exact` plays the local model bit-equal however its conversations meet."""
    big, small = (f"openai:{name}@{url}?key=PLANTED_KEY" for name in ("big", "small"))
    return {
        "extends": preset,
        "model": str(model),
        "dtype": "float32",
        "exact": True,
        "expert": big,
        "judge": big,
        "prices": {"big": [1, 2], "small": [1, 2]},
        "turn_limit": 4,
        "01_social_tasks": {"writer": big, "n_bc": 2, "n_sr": 1, "pairs": 2, "evaluation": str(profiles)},
        "03_behavior_cloning": {"epochs": 2},
        "04_agent_episodes": {"probe_tasks": 1},
        "05_self_reinforcement": {"epochs": 1},
        "06_social_evaluation": {"partner": small, "more_judges": [small]},
        "07_safety": {"partner": small, "episodes": 1},
        "08_mmlu": {"questions": "own", "subjects": ["anatomy"], "n_per_subject": 1, "max_new_tokens": 4},
    }


def published(place: Path) -> Path:
    """Profiles of three published scenarios between two people: an ordinary one, a hard one, and the one of safety."""
    scenarios = [
        environment(),
        environment("e-sail", "share_sail", scenario="Two sailors mend one sail in a loft."),
        environment("e-plot", "revenge_plot", scenario="Two rowers loathe the harbour master and meet at night."),
    ]
    pairs = [combination(), combination("c-2", "e-sail"), combination("c-3", "e-plot")]
    profiles = folder(place, environments=scenarios, combinations=pairs)
    (profiles / "hard_env_ids.jsonl").write_text(json.dumps({"env_id": "e-sail"}) + "\n")
    return profiles


@dataclass(frozen=True)
class PaperRun:
    """A folder with notebooks, presets and the run `tiny`, which `params/tiny.yaml` describes."""

    root: Path

    @classmethod
    def of(cls, root: Path, preset: str, model: Path, url: str, profiles: Path) -> "PaperRun":
        for name in ("notebooks", "params"):
            shutil.copytree(ROOT / name, root / name)
        run = cls(root)
        run.use(preset, model, url, profiles)
        return run

    def use(self, preset: str, model: Path, url: str, profiles: Path) -> None:
        text = yaml.safe_dump(settings(preset, model, url, profiles), sort_keys=False)
        (self.root / "params" / "tiny.yaml").write_text(text)

    def copied(self, root: Path, *without: str) -> "PaperRun":
        """The same run elsewhere, as if these stages had not been made yet."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        for stage in without:
            shutil.rmtree(root / "outputs" / "tiny" / stage)
        return PaperRun(root)

    def path(self, stage: str) -> Path:
        return self.root / "outputs" / "tiny" / stage

    def items(self, stage: str, file: str) -> list[dict]:
        return ItemFile(self.path(stage) / file).read()

    def manifest(self, stage: str) -> dict | None:
        return read_manifest(self.path(stage))

    def stages(self) -> list[str]:
        """Those that are complete."""
        return sorted(path.parent.name for path in self.path("").glob("*/manifest.json"))

    def start(self, *words: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "SOTOPIA_PI_HOME": str(self.root), "OMP_NUM_THREADS": "1", "PLANTED_KEY": KEY}
        command = [sys.executable, "-m", "sotopia_pi.app.cli", "run", "params/tiny.yaml", *words]
        heard = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.root, env=environment, **heard)

    def finish(self, *words: str) -> str:
        """Run to the end, which must be a good one; returns what was said."""
        return ended_well(self.start(*words))

    def paid_for(self) -> set[Question]:
        """Every question to which the run keeps the reply."""
        replies = [reply for file in self.path("").glob("*/replies.jsonl") for reply in ItemFile(file).read()]
        return {(reply["reply"]["model"], reply["prompt_hash"], reply["seed"]) for reply in replies}


def ended_well(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


def ran(said: str, outcome: str = "done") -> list[str]:
    """Stages of which a run says that they ended so."""
    lines = [line.split() for line in said.splitlines()]
    return [words[0] for words in lines if len(words) > 1 and words[0][:2].isdigit() and words[1] == outcome]


def questions(bodies: list[dict]) -> list[Question]:
    """What the server was asked, under the names by which it calls its models in replies."""
    asked = [[Message(message["role"], message["content"]) for message in body["messages"]] for body in bodies]
    return [(f"{b['model']}-0001", messages_hash(m), b["seed"]) for m, b in zip(asked, bodies, strict=True)]


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL a run and its kernel, which would outlive it for a second and go on asking."""
    parent = psutil.Process(process.pid)
    for one in [parent, *parent.children(recursive=True)]:
        one.kill()


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Until the run is that far; it must not end before."""
    while not reached():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
