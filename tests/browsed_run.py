"""A small run to browse: a project of its own, episodes of several stages, by rule and by a judge."""

import shutil
from dataclasses import replace
from pathlib import Path

from synthetic_run import complete, episode, many_tasks, rating, write_run

from sotopia_pi.analysis.episode_index import EpisodeIndex
from sotopia_pi.analysis.episode_sources import PLAYING, find_sources
from sotopia_pi.store.items import ItemFile, write_items
from sotopia_pi.store.notebook import read_notebook
from sotopia_pi.store.stage import Stage
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating

REPOSITORY = Path(__file__).parents[1]
NAME = "11_episode_browser"
GOALS = {"base": 2.0, "BC": 4.0, "BC+SR": 6.0, "expert": 7.0, "always-accept": 1.0}


def goal(variant: str, number: int, side: int) -> float | None:
    """No score where base met a task whose number ends in 3; else a goal that differs by variant, task and side."""
    if variant == "base" and number % 10 == 3:
        return None
    return GOALS[variant] + (number % 5) / 2 + side / 10


def project(folder: Path) -> Path:
    for name in ("notebooks", "params"):
        shutil.copytree(REPOSITORY / name, folder / name)
    return folder


def made_run(root: Path, name: str = "toy") -> Path:
    """Stages 01, 02 (one episode with both sides under study), 06 (a judge beside the rule) and a talk in 12."""
    tasks = many_tasks(4, 3)
    run = write_run(root / "outputs" / name, tasks, tuple(GOALS), goal, manifest=False)
    folder, expert, talks = run / "06_social_evaluation", run / "02_expert_episodes", run / "12_talk_to_the_agent"
    rated = [Rating.from_dict(item) for item in ItemFile(folder / "ratings.jsonl").read()]
    judged = [
        replace(r, id=f"j-{r.id}", judge="judge-x", scores={**r.scores, "goal": round(10 - r.scores["goal"], 1)})
        for r in rated
    ]
    write_items(folder / "judge_ratings.jsonl", [r.to_dict() for r in judged])
    both = replace(episode(tasks[0], "expert", 0, seed=7), agent_side=None)
    write_items(expert / "episodes.jsonl", [both.to_dict()])
    write_items(expert / "ratings.jsonl", [rating(both, 0, 8.0).to_dict(), rating(both, 1, 5.0).to_dict()])
    said = (Turn(0, 0, Action("speak", "Shall we talk about Zoë's ÄPFEL?")), Turn(1, 1, Action("leave")))
    talk = replace(episode(tasks[1], "human", 0, seed=9), turns=said, ending="left")
    write_items(talks / "episodes.jsonl", [talk.to_dict()])
    for stage in (run / "01_social_tasks", folder, expert):
        complete(stage, model="toy")
    return run


def opened(root: Path, name: str = "toy", stages: tuple[str, ...] = PLAYING) -> EpisodeIndex:
    stage = Stage(root, read_notebook(root / "notebooks" / f"{NAME}.ipynb"), {"run": name})
    return EpisodeIndex(name, find_sources(stage, stages), stage.path("index"))


def items(run: Path, stage: str, file: str) -> list[dict]:
    return ItemFile(run / stage / file).read()


def all_episodes(run: Path) -> list[Episode]:
    """Of every stage, in the order in which the index has them."""
    stages = (stage for stage in PLAYING if (run / stage / "episodes.jsonl").is_file())
    return [Episode.from_dict(item) for stage in stages for item in items(run, stage, "episodes.jsonl")]
