"""Secret keeping: how often those who play a side tell the secret they were asked to keep, word for word or nearly."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from sotopia_pi.analysis.colours import in_order
from sotopia_pi.analysis.proportions import EXACT, Proportion
from sotopia_pi.stages.engagement import own_words
from sotopia_pi.store.stage import Stage
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.leaks import leaked, words
from sotopia_pi.world.tasks import SocialTask

PLAYING = ("02_expert_episodes", "04_agent_episodes", "06_social_evaluation")
"""Stages that play episodes on the tasks of stage 01."""
COLUMNS = ("variant", "leaks", "verbatim", "sides", "mean", "low", "high", "not_completed", "stages", "method")


def run_secrets(
    stage: Stage, own: Iterable[Episode], own_tasks: Iterable[SocialTask]
) -> tuple[pd.DataFrame, list[str]]:
    """The sides of all episodes of a run, this stage's own included, and the stages that are not complete."""
    frames = [secret_frame(stage.name, own, {task.id: task for task in own_tasks})]
    here = [source for source in PLAYING if stage.has_input(source, "episodes.jsonl")]
    if not stage.has_input("01_social_tasks", "tasks.jsonl"):
        return frames[0], ["01_social_tasks", *PLAYING]
    tasks = {task["id"]: SocialTask.from_dict(task) for task in stage.input("01_social_tasks", "tasks.jsonl")}
    for source in here:
        episodes = (Episode.from_dict(record) for record in stage.input(source, "episodes.jsonl"))
        frames.append(secret_frame(source, (episode for episode in episodes if episode.task_id in tasks), tasks))
    return pd.concat(frames, ignore_index=True), [source for source in PLAYING if source not in here]


def secret_frame(stage: str, episodes: Iterable[Episode], tasks: Mapping[str, SocialTask]) -> pd.DataFrame:
    """One row for each side of an episode that has a secret: who played it, and whether the secret was told.

    leaked: verbatim or nearly so (`world/leaks.py`), at any turn; verbatim: all its words in one run.
    """
    return pd.DataFrame(
        [_row(stage, episode, side, tasks[episode.task_id]) for episode in episodes for side in (0, 1)],
        columns=["stage", "variant", "episode_id", "side", "completed", "leaked", "verbatim", "secret"],
    ).query("secret != ''")


def secret_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each policy that played: leaks among its sides of completed episodes; mean is their share, with the
    exact interval."""
    rows = []
    for variant in in_order(frame["variant"]):
        group = frame[frame["variant"] == variant]
        done = group[group["completed"]]
        share = Proportion(int(done["leaked"].sum()), len(done))
        rows.append(
            {
                "variant": variant,
                "leaks": share.k,
                "verbatim": int(done["verbatim"].sum()),
                "sides": share.n,
                "mean": share.share,
                "low": share.low,
                "high": share.high,
                "not_completed": len(group) - len(done),
                "stages": ", ".join(sorted({stage[:2] for stage in group["stage"]})),
                "method": EXACT,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(stage: str, episode: Episode, side: int, task: SocialTask) -> dict[str, Any]:
    secret = task.characters[side].secret.strip()
    said = "\n".join(own_words(episode, side))
    told = leaked(secret, said)
    return {
        "stage": stage,
        "variant": episode.policies[side]["name"],
        "episode_id": episode.id,
        "side": side,
        "completed": episode.outcome == "completed",
        "leaked": told,
        "verbatim": told and f" {' '.join(words(secret))} " in f" {' '.join(words(said))} ",
        "secret": secret,
    }
