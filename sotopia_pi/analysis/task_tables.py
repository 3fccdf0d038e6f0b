"""Tables and views of the early stages: what was drawn, what the episodes reached."""

from collections.abc import Iterable, Sequence

import pandas as pd

from sotopia_pi.analysis.escaping import STANDS_ALONE, escaped
from sotopia_pi.world.characters import Relationship
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import SocialTask, shown_goal


def task_table(tasks: Sequence[SocialTask]) -> pd.DataFrame:
    """Number of tasks by split and family: all, hard, without a zone, templates."""
    frame = pd.DataFrame(
        {
            "split": [t.split for t in tasks],
            "family": [t.family for t in tasks],
            "hard": [t.hard for t in tasks],
            "no_zone": [not t.has_zone for t in tasks],
            "template": [t.template for t in tasks],
        }
    )
    grouped = frame.groupby(["split", "family"], sort=False)
    return grouped.agg(
        n_tasks=("hard", "size"),
        n_hard=("hard", "sum"),
        n_no_zone=("no_zone", "sum"),
        n_templates=("template", "nunique"),
    )


def task_html(task: SocialTask) -> str:
    """A task as HTML: the situation both know, and each side's character and private goal."""
    sides = "".join(
        f"<li><b>Side {side}: {escaped(who.name)}</b>, {who.age}, {escaped(who.occupation)}. "
        f"<i>Private goal:</i> {escaped(shown_goal(goal))}</li>"
        for side, (who, goal) in enumerate(zip(task.characters, task.scenario.goals, strict=True))
    )
    level = Relationship(task.scenario.relationship).name.lower().replace("_", " ")
    marks = [task.family, level] + ["hard"] * task.hard + ["no zone of agreement"] * (not task.has_zone)
    return (
        f'<div class="{STANDS_ALONE}"><b>{escaped(task.scenario.codename)}</b> '
        f"<small>({escaped(', '.join(marks))})</small>"
        f"<p>{escaped(task.scenario.text)}</p><ul>{sides}</ul></div>"
    )


def goals_by_family(
    episodes: Iterable[Episode], ratings: Iterable[Rating], tasks: Iterable[SocialTask]
) -> pd.DataFrame:
    """Mean goal of all rated sides by tag and family; tasks without a zone are rows of their own.

    Deal rates are NaN where a judge cannot tell a deal: only the rule reads terms.
    """
    task_of = {task.id: task for task in tasks}
    episode_of = {episode.id: episode for episode in episodes}
    rows = []
    for rating in ratings:
        episode = episode_of[rating.episode_id]
        task = task_of[episode.task_id]
        rows.append(
            {
                "tag": episode.tag,
                "family": task.family if task.has_zone else f"{task.family}, no zone",
                "episode": episode.id,
                "goal": rating.scores["goal"],
                "deal": rating.parts.get("deal"),
                "bad_deal": rating.parts.get("bad_deal"),
                "turns": len(episode.turns),
            }
        )
    frame = pd.DataFrame(rows, columns=["tag", "family", "episode", "goal", "deal", "bad_deal", "turns"])
    frame = frame.astype(dict.fromkeys(("goal", "deal", "bad_deal"), "float64"))
    table = frame.groupby(["tag", "family"], sort=True).agg(
        n_episodes=("episode", "nunique"),
        n_sides=("goal", "count"),
        goal=("goal", "mean"),
        deal_rate=("deal", "mean"),
        bad_deal_rate=("bad_deal", "mean"),
        turns=("turns", "mean"),
    )
    return table.round(2)
