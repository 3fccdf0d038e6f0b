"""A small evaluated run and people who rate it: three variants on eight tasks in four scenario templates."""

from pathlib import Path

from synthetic_run import episode, rating, task

from sotopia_pi.stages.assignment import Plan, Sample, plan_ratings
from sotopia_pi.stages.human_ratings import Entry, HumanRatings, Judgement
from sotopia_pi.store.notebook import read_notebook
from sotopia_pi.store.stage import Stage
from sotopia_pi.world.ratings import DIMENSIONS

VARIANTS = ("base", "BC", "expert")
TASKS = [task(n, f"lamp-{n // 2}", hard=n % 2 == 1) for n in range(8)]
EPISODES = [episode(one, variant, side) for one in TASKS for variant in VARIANTS for side in (0, 1)]
RULE = [rating(one, side, 4.0) for one in EPISODES for side in (0, 1)]
SENTENCE = "They met at 80 dollars."


def plan(annotators=(), **changed) -> Plan:
    settings = {"variants": VARIANTS, "datapoints": 4, **changed}
    return plan_ratings(EPISODES, TASKS, Sample(**settings), annotators)


def judgement(goal: int = 5, reason: str = SENTENCE, **others: int) -> Judgement:
    return Judgement({**dict.fromkeys(DIMENSIONS, 0), "goal": goal, **others}, reason)


def rate(ratings: HumanRatings, annotator: str, episode_id: str, first: int = 5, second: int = 5) -> None:
    """Save both sides of an episode with these goals."""
    ratings.save(
        Entry(annotator, episode_id, 0, judgement(first), times={"seconds": 30.0}),
        Entry(annotator, episode_id, 1, judgement(second), times={"seconds": 30.0}),
    )


def write_evaluation(root: Path, run: str, episodes=EPISODES) -> None:
    """What stages 01 and 06 of a run leave, with their manifests. root: holds the notebooks."""
    kept = {one.id for one in episodes}
    ratings = [one for one in RULE if one.episode_id in kept]
    files = {"episodes.jsonl": episodes, "ratings.jsonl": ratings, "judge_ratings.jsonl": []}
    for name, results in {"01_social_tasks": {"tasks.jsonl": TASKS}, "06_social_evaluation": files}.items():
        stage = Stage(root, read_notebook(root / "notebooks" / f"{name}.ipynb"), {"run": run})
        for file, items in results.items():
            stage.write(file, [item.to_dict() for item in items])
        stage.finish({file: [item.id for item in items] for file, items in results.items()})
