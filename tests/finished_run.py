"""A finished run by hand: real stages, manifests and rendered examples, with adapters that hold no weights."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from toy_talks import Lines, price_task, talk
from transformers import AutoTokenizer

from sotopia_pi.models.adapters import adapter_digest
from sotopia_pi.models.render import Renderer
from sotopia_pi.models.weights import prepare, weights_digest
from sotopia_pi.stages.examples import build_examples
from sotopia_pi.stages.lora import LoraSettings
from sotopia_pi.stages.selection import KeptSide
from sotopia_pi.stages.training_plan import TrainingPlan
from sotopia_pi.store.items import content_id
from sotopia_pi.store.notebook import read_notebook
from sotopia_pi.store.stage import Stage
from sotopia_pi.world.actions import Action
from sotopia_pi.world.ratings import DIMENSIONS, Rating

REPOSITORY = Path(__file__).parents[1]
RUN = "toy"
ODD = ("Would $120 do, perhaps?", "[Action]counts coins", "Deal, $150.")
"""What a model said, the second with a tag that is read but not written so."""

ROLES = {"expert": "scripted:expert", "partner": "scripted:training-partner", "judge": "payoff"}
BASE_DIGEST = "0123456789abcdef"
"""Of a base that is not here."""


class FinishedToy:
    """The run `toy` under a project folder. prompt_format: of training. model: named by the plans. max_tokens: longer
    examples are not trained on. spoil: changes examples before they are written, as other code would have. roles: who
    played and rated, as the stages note it."""

    def __init__(
        self,
        root: Path,
        prompt_format: str = "chat",
        model: str = "tiny-random",
        max_tokens: int = 4096,
        spoil=None,
        roles=ROLES,
    ):
        self.roles, self.last_adapter = dict(roles), None
        self.root, self.dir, self.model = root, root / "outputs" / RUN, model
        self.prompt_format, self.max_tokens, self.spoil = prompt_format, max_tokens, spoil or (lambda example: example)
        self.renderer = Renderer(AutoTokenizer.from_pretrained(prepare("tiny-random")))
        shutil.copytree(REPOSITORY / "notebooks", root / "notebooks")
        (root / "params").mkdir()
        (root / "params" / f"{RUN}.yaml").write_text("model: tiny-random\n")
        self.tasks = [made_task(number, split) for number, split in enumerate(("bc", "sr", "eval"))]
        self.expert = [
            self._talk(0, "expert"),
            replace(self._talk(0, "expert"), id="episode-f", outcome="policy_failed", ending="failed"),
        ]
        self.own = [self._sampled(self._talk(1, "BC"))]
        self.judged = [self._talk(2, "BC")]
        self._tasks()
        self._played(
            "02_expert_episodes",
            self.expert,
            [rating(self.expert[0], 0, goal=8.0), rating(self.expert[0], 1, goal=3.0)],
        )
        self.examples = self._trained("03_behavior_cloning", "02_expert_episodes", self.expert, 0, [("BC", "bc")])
        self._played("04_agent_episodes", self.own, [rating(self.own[0], 0, goal=6.0), unrated(self.own[0], 1)])
        self.again = self._trained(
            "05_self_reinforcement", "04_agent_episodes", self.own, 1, [("SR", ""), ("BC+SR", "bc_sr")]
        )
        whole = [
            Rating(**vars(rating(self.judged[0], side, goal=5.0)) | {"scores": ALL, "reasons": {"goal": "Fine."}})
            for side in (0, 1)
        ]
        self._played("06_social_evaluation", self.judged, whole, [rating(self.judged[0], 0, goal=9.0, judge="other")])

    def stage(self, name: str) -> Stage:
        params = {"run": RUN, "prompt_format": self.prompt_format}
        return Stage(self.root, read_notebook(self.root / "notebooks" / f"{name}.ipynb"), params)

    def replay(self) -> None:
        """Play stage 04 once more, with another outcome."""
        self._played("04_agent_episodes", [replace(self.own[0], repeat=1)], [])

    def draw_again(self) -> None:
        """Draw other tasks in stage 01."""
        self.tasks = [replace(task, background="They share a fence.") for task in self.tasks]
        self._tasks()

    def meet_namesakes(self) -> str:
        """Play stage 06 once more, with two people of one name in a further episode; returns its id."""
        first, second = self.tasks[2].characters
        alike = replace(second, first_name=first.first_name, last_name=first.last_name)
        self.tasks.append(replace(self.tasks[2], characters=(first, alike)))
        self._tasks()
        self._played("06_social_evaluation", [*self.judged, self._talk(3, "BC")], [])
        return self._talk(3, "BC").id

    def _talk(self, task: int, tag: str):
        first = Lines("Would $120 do?", Action("none"), "Then $150.", Action("leave", "off to work"))
        second = Lines("No, $180.", Action("action", "shows the label"), "Deal, $150.")
        return replace(talk(self.tasks[task], first, second), id=content_id("episode", [task, tag]), tag=tag)

    def _sampled(self, episode):
        """The same episode, its side 0 spoken by a model that samples letter by letter; one turn could not be read."""
        said = dict(zip((0, 2, 4), ODD, strict=True))
        turns = list(episode.turns)
        for index, text in said.items():
            action = Action("action", "counts coins") if index == 2 else Action("speak", text)
            turns[index] = replace(turns[index], action=action, calls=(self._call(text),))
        turns[6] = replace(turns[6], action=Action("none"), failed=True, calls=(self._call("[dance]"),))
        return replace(episode, turns=tuple(turns))

    def _call(self, text: str) -> dict:
        ids = [one for letter in text for one in self.renderer.content_ids(letter)]
        return {"text": text, "token_ids": [*ids, min(self.renderer.end_ids)]}

    def _tasks(self):
        stage = self.stage("01_social_tasks")
        stage.write("tasks.jsonl", [task.to_dict() for task in self.tasks])
        stage.finish({"tasks.jsonl": [task.id for task in self.tasks]})

    def _played(self, name, episodes, ratings, further=()):
        stage = self.stage(name)
        stage.input("01_social_tasks", "tasks.jsonl")
        files = {"episodes.jsonl": episodes, "ratings.jsonl": ratings, "judge_ratings.jsonl": further}
        for file, items in files.items():
            stage.write(file, [item.to_dict() for item in items])
        ids = {file: [item.id for item in items] for file, items in files.items()}
        stage.finish(ids, notes={"roles": self.roles})

    def _trained(self, name, source, episodes, task, variants):
        stage = self.stage(name)
        stage.input("01_social_tasks", "tasks.jsonl")
        stage.input(source, "episodes.jsonl")
        kept = [KeptSide(episodes[0].id, side, 1, 8.0, "best", tag=episodes[0].tag) for side in (0, 1)]
        told = episodes, kept, [self.tasks[task]], self.renderer, self.prompt_format
        examples = [self.spoil(one) for one in build_examples(*told, self.max_tokens, 1.0).examples]
        stage.write("selection.jsonl", [one.to_dict() for one in kept])
        stage.write("examples.jsonl", [one.to_dict() for one in examples])
        for _, folder in variants:
            if folder:
                self._adapter(stage, folder, examples)
        named = {
            "selection.jsonl": [one.to_dict()["id"] for one in kept],
            "examples.jsonl": [one.id for one in examples],
        }
        if len(variants) > 1:
            told = [
                {"id": v, "trained": bool(f), "folder": f, "reason": "" if f else "nothing reached goal 1"}
                for v, f in variants
            ]
            stage.write("variants.jsonl", told)
            named["variants.jsonl"] = [v for v, _ in variants]
        counts = {"in": 4, "rated": 3, "kept by the recipe": len(kept), "own turns": 6, "examples": len(examples)}
        if len(variants) > 1:
            counts = {f"BC+SR: {step}": n for step, n in counts.items()}
        stage.finish(named, artefacts=[folder for _, folder in variants if folder], counts=counts)
        return examples

    def _adapter(self, stage: Stage, folder: str, examples):
        place = stage.path(folder)
        settings = self.lora_settings()
        TrainingPlan.of(place, self.model, settings, stage.path("examples.jsonl"), examples).write(place)
        self.write_adapter(place / "adapter")
        digest = adapter_digest(place / "adapter")
        here = self.model == "tiny-random"
        record = {
            "settings": settings.to_dict(),
            "base_digest": weights_digest(prepare("tiny-random")) if here else BASE_DIGEST,
            "start_from_digest": self.last_adapter,
            "base": "tiny-random-1" if here else "f" * 40,
            "result": {"steps": 2, "tokens": 500, "supervised_tokens": 90, "loss_first": 3.25, "loss_last": None}
            | {"adapter_digest": digest},
        }
        (place / "settings.json").write_text(json.dumps(record))
        self.last_adapter = digest

    def lora_settings(self) -> LoraSettings:
        return LoraSettings()

    def write_adapter(self, folder: Path) -> None:
        """Something that looks like an adapter and holds no weights."""
        folder.mkdir()
        config = {
            "peft_type": "LORA",
            "r": 16,
            "target_modules": ["q_proj"],
            "base_model_name_or_path": "tiny-random-1",
        }
        (folder / "adapter_config.json").write_text(json.dumps(config))
        (folder / "adapter_model.safetensors").write_bytes(folder.parent.name.encode())


ALL = dict(zip(DIMENSIONS, (8, 2, 3, -1, 0, 1, 5), strict=True))
"""Their mean is 18/7."""


def made_task(number: int, split: str):
    """Three scenarios with the same two people, who have a story."""
    task = price_task(high=200 + 100 * number)
    scenario = replace(task.scenario, template=f"toy-{number}", text=f"Two people meet at stall {number}.")
    return replace(task, scenario=scenario, split=split, background="They share a wall.")


def rating(episode, side, goal, judge="payoff") -> Rating:
    scores = {"goal": goal, "financial_and_material_benefits": goal - 5, "secret": 0.0}
    return Rating(
        content_id("rating", [episode.id, side, judge]), episode.id, side, judge, "ok", scores, parts={"deal": True}
    )


def unrated(episode, side) -> Rating:
    return Rating(content_id("rating", [episode.id, side, "failed"]), episode.id, side, "payoff", "refused", {})
