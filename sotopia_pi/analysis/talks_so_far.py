"""The talks that people had in a run, as a static page: a table of all, and the latest as transcripts."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from sotopia_pi.analysis.escaping import escaped
from sotopia_pi.analysis.transcripts import ENDINGS, episode_html
from sotopia_pi.stages.played import Played
from sotopia_pi.stages.talk_files import TalkFiles
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating

SHOWN = 10
"""Most talks that a page shows whole; the table names all."""
NOBODY = (
    "Nobody has talked to an agent of this run yet. Open this notebook in JupyterLab, Run All, and press Start talking."
)
COLUMNS = (
    "talk",
    "began (UTC)",
    "task",
    "the person was",
    "talked to",
    "turns",
    "ended",
    "goal, person",
    "goal, agent",
)


def talks_html(talks: Played) -> str:
    """Every talk as a row, the latest first, and the latest ones whole; or that there are none, and how to have one."""
    latest = sorted(talks.episodes, key=lambda episode: -episode.seed)
    if not latest:
        return f"<p>{NOBODY}</p>"
    head = "".join(f"<th>{escaped(name)}</th>" for name in COLUMNS)
    rows = "".join(f"<tr>{_cells(episode, talks)}</tr>" for episode in latest)
    whole = "".join(
        f'<details id="episode-{escaped(e.id)}"><summary>Talk {e.repeat}, whole</summary>'
        f"{episode_html(talks.tasks[e.task_id], e, talks.ratings)}</details>"
        for e in latest[:SHOWN]
    )
    more = len(latest) - SHOWN
    left_out = (
        f"<p>{more} earlier ones stand in the table alone; their words lie in episodes.jsonl.</p>" if more > 0 else ""
    )
    table = f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    return f"{table}{whole}{left_out}"


def talk_counts(files: TalkFiles) -> dict[str, int]:
    """Count table: talks saved, how they ended, by whom they were with, rated or why not, unfinished, comparisons."""
    talks = files.talks()
    outcomes = Counter(episode.outcome for episode in talks.episodes)
    rated = Counter(_rated(episode, talks.ratings) for episode in talks.episodes)
    agents = Counter(_agent(episode) for episode in talks.episodes)
    return {
        "talks saved": len(talks.episodes),
        **{f"with {agent}": n for agent, n in sorted(agents.items())},
        **{f"ended: {ending}": n for ending, n in sorted(Counter(e.ending for e in talks.episodes).items())},
        "failed: policy_failed": outcomes["policy_failed"],
        **{f"rating: {state}": n for state, n in sorted(rated.items())},
        "unfinished talks": len(files.unfinished()),
        "comparisons saved": len(files.comparisons()),
    }


def _cells(episode: Episode, talks: Played) -> str:
    task, agent = talks.tasks[episode.task_id], episode.agent_side
    began = datetime.fromtimestamp(episode.seed / 1000, UTC)
    cells = [
        episode.repeat,
        f"{began:%Y-%m-%d %H:%M}",
        f"{episode.family}{', hard' if task.hard else ''}",
        task.characters[1 - agent].name,
        _agent(episode),
        len(episode.turns),
        ENDINGS[episode.ending],
        _goal(episode, 1 - agent, talks.ratings),
        _goal(episode, agent, talks.ratings),
    ]
    return "".join(f"<td>{escaped(cell)}</td>" for cell in cells)


def _agent(episode: Episode) -> str:
    return episode.policies[episode.agent_side]["name"]


def _goal(episode: Episode, side: int, ratings: Sequence[Rating]) -> str:
    goals = [r.scores.get("goal") for r in ratings if (r.episode_id, r.side) == (episode.id, side)]
    return "missing" if not goals or goals[-1] is None else f"{goals[-1]:g}"


def _rated(episode: Episode, ratings: Sequence[Rating]) -> str:
    outcomes = {rating.outcome for rating in ratings if rating.episode_id == episode.id}
    return ", ".join(sorted(outcomes)) or "none"
