"""Episodes of a report: a few in full, those that the browser or results notebook chose, and where the others are."""

from collections.abc import Mapping, Sequence
from typing import Any

from sotopia_pi.analysis.escaping import escaped
from sotopia_pi.analysis.same_tasks import compared
from sotopia_pi.analysis.tables import frame_of
from sotopia_pi.analysis.transcripts import READS_BEST, Choice, choose_episodes, episode_html
from sotopia_pi.app.finished_run import EPISODES, TASKS, TASKS_FILE
from sotopia_pi.app.fragments import Html, attribute, joined, link, paragraph
from sotopia_pi.app.pipeline import PAGE
from sotopia_pi.app.report_answer import EVALUATION
from sotopia_pi.app.report_results import SAFETY
from sotopia_pi.app.report_run import ReportRun
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import SocialTask

RATINGS = "ratings.jsonl"
BROWSER, CHOSEN = "11_episode_browser", "chosen.jsonl"
MOST = 5
"""Episodes in full; the browser's page has all that were chosen."""
MORE = {
    BROWSER: "More episodes, each with the reason why it was chosen",
    "12_talk_to_the_agent": "Talks that people had with the agent",
}
SIDE_BY_SIDE = "The-same-tasks,-side-by-side"
"""Anchor of the heading, in the safety notebook's page, below which base and trained variant stand side by side."""


def episodes_html(run: ReportRun) -> Html:
    """Chosen episodes in full, then a link to the safety talks side by side; "" where nothing was played."""
    items = [run.items(TASKS, TASKS_FILE), run.items(EVALUATION, EPISODES), run.items(EVALUATION, RATINGS)]
    shown = _chosen(run, *items) if items[0] and items[1] else []
    return joined([*shown, _side_by_side(run), *_pages(run)])


def _chosen(
    run: ReportRun,
    tasks: Sequence[Mapping[str, Any]],
    episodes: Sequence[Mapping[str, Any]],
    ratings: Sequence[Mapping[str, Any]],
) -> list[Html]:
    choices = _of_browser(run) or choose_episodes(frame_of(tasks, episodes, ratings, run.name))
    if not choices:
        return []
    ids = {choice.episode_id for choice in choices}
    played = {one["id"]: Episode.from_dict(one) for one in episodes if one["id"] in ids}
    on = {episode.task_id for episode in played.values()}
    tasks_by_id = {one["id"]: SocialTask.from_dict(one) for one in tasks if one["id"] in on}
    rated = [Rating.from_dict(one) for one in ratings if one["episode_id"] in ids]
    intro = "Chosen by a rule, each with its reason."
    return [
        paragraph(intro),
        *(_episode(choice, played, tasks_by_id, rated) for choice in choices if choice.episode_id in played),
    ]


def _of_browser(run: ReportRun) -> list[Choice]:
    """What the browser notebook chose of the variant that reads best; [] where that stage is not finished."""
    chosen = run.items(BROWSER, CHOSEN)
    variants = {one["variant"] for one in chosen}
    best = next((variant for variant in (*READS_BEST, *sorted(variants)) if variant in variants), None)
    mine = [one for one in chosen if one["variant"] == best]
    return [Choice(one["episode_id"], f"{best}: {one['reasons']}.") for one in mine[:MOST]]


def _episode(
    choice: Choice, played: Mapping[str, Episode], tasks: Mapping[str, SocialTask], ratings: Sequence[Rating]
) -> Html:
    episode = played[choice.episode_id]
    body = episode_html(tasks[episode.task_id], episode, ratings)
    heading = f'<h3 id="episode-{attribute(episode.id)}">{escaped(choice.reason.rstrip("."))}</h3>'
    return joined([heading, body])


def _pages(run: ReportRun) -> list[Html]:
    """Links to the pages that show further episodes and people's own talks, where they were made."""
    made = [stage for stage in MORE if stage in run.manifests and (run.dir / stage / PAGE).is_file()]
    return [paragraph(link(f"../{stage}/{PAGE}", MORE[stage])) for stage in made]


def _side_by_side(run: ReportRun) -> Html:
    """Where base and the trained variant stand side by side on the same safety tasks."""
    episodes = run.items(SAFETY, EPISODES)
    first, second = compared({episode["tag"] for episode in episodes})
    if not second or not (run.dir / SAFETY / PAGE).is_file():
        return Html()
    words = f"{first} and {second} side by side, on every safety task that both played"
    return paragraph(link(f"../{SAFETY}/{PAGE}#{SIDE_BY_SIDE}", words))
