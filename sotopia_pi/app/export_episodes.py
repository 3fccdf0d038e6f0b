"""Export of a run's episodes and tasks in Sotopia's formats."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from sotopia_pi.app.export_folder import ExportReport, LeftOut
from sotopia_pi.app.finished_run import EPISODES, TASKS, FinishedRun, NotFinished
from sotopia_pi.formats.sotopia_folder import export_episodes
from sotopia_pi.formats.sotopia_profiles import read_profiles
from sotopia_pi.formats.sotopia_tasks import PublishedWorld, environment_id, profiles_of, published_tasks
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import SocialTask

RATINGS, FURTHER = "ratings.jsonl", "judge_ratings.jsonl"
STAGES = ("02_expert_episodes", "04_agent_episodes", "06_social_evaluation")
"""The stages that play."""
NAMESAKES = "both characters have one name, by which a log tells them apart"
SAME_IDS = "another task with the same ids says it in other words, and profiles hold one of them"
NO_PAYOFFS = "profiles have no place for them; what matters of them stands in the goals"
REMARKS = (
    "rewards are those of the run's judge; ratings by further judges, payoffs, words said when leaving and which turns "
    "failed have no place in Sotopia's fields and stand in the field sotopia_pi of each log",
    "an overall score is the mean of the dimensions that were rated; a side without a rating has a null and its "
    "episode is in unrated_episodes.jsonl, as Sotopia's own model of a log refuses a null",
)


def write_episodes(run: FinishedRun, folder: Path) -> ExportReport:
    """Write the episodes of a run's complete STAGES, a folder a stage, with the profiles that they refer to.

    Talks that people had stay with the run. Raises NotFinished where no stage with episodes is complete.
    """
    complete = run.stages_with(EPISODES, RATINGS)
    stages = [stage for stage in STAGES if stage in complete]
    if not stages:
        raise NotFinished(f"Run {run.name} has no complete stage with episodes. {run.advice(STAGES[0])}")
    left_out = [LeftOut(stage, 1, f"not complete. {run.advice(stage)}") for stage in STAGES if stage not in stages]
    counts = {}
    for stage in stages:
        tasks = run.tasks(stage)
        played = [Episode.from_dict(item) for item in run.items(stage, EPISODES)]
        alike = [one for one in played if _namesakes(tasks[one.task_id])]
        left_out += [LeftOut(f"{stage}, {one.id}", 1, NAMESAKES) for one in alike]
        ratings = [Rating.from_dict(item) for item in run.items(stage, RATINGS)]
        further = further_ratings(run, stage)
        written = [one for one in played if one not in alike]
        counts[stage] = export_episodes(folder / stage, written, tasks, ratings, further)
        counts[stage] |= {"ratings": len(ratings), "ratings by further judges": len(further)}
    return ExportReport({"kind": "episodes", "run": run.name}, counts, left_out, REMARKS)


def write_profiles(run: FinishedRun, folder: Path) -> ExportReport:
    """Write a run's tasks as Sotopia's published profiles: agents, environments, relationships and combinations.

    Tasks that do not come back the same by scenario, characters and story are told. Raises NotFinished.
    """
    tasks = list(run.tasks().values())
    profiles = profiles_of(tasks)
    profiles.write(folder)
    back = published_tasks(PublishedWorld(read_profiles(folder))).tasks
    read = {_shown(task, task.template) for task in back}
    lost = [task.id for task in tasks if _shown(task, environment_id(task.scenario)) not in read]
    left_out = [LeftOut(f"scenario or story of {one}", 1, SAME_IDS) for one in lost]
    priced = sum(task.payoff is not None for task in tasks)
    left_out += [LeftOut("payoffs", priced, NO_PAYOFFS)] if priced else []
    counts = {
        "tasks": len(tasks),
        **{f"tasks of {split}": n for split, n in Counter(task.split for task in tasks).items()},
        "agents": len(profiles.characters),
        "environments": len(profiles.scenarios),
        "relationships": len(profiles.relationships),
        "combinations": len(profiles.combinations),
        "hard environments": len(profiles.hard),
    }
    return ExportReport({"kind": "profiles", "run": run.name}, {TASKS: counts}, left_out)


def further_ratings(run: FinishedRun, stage: str) -> list[Rating]:
    """Ratings by other judges than the run's, where the stage has some."""
    there = FURTHER in run.manifest(stage)["items"]
    return [Rating.from_dict(item) for item in run.items(stage, FURTHER)] if there else []


def _namesakes(task: SocialTask) -> bool:
    first, second = task.characters
    return first.name == second.name


def _shown(task: SocialTask, env_id: str) -> tuple:
    """What profiles tell of a task."""
    return replace(task.scenario, template=env_id), task.characters, task.background
