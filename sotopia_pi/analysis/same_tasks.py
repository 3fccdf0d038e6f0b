"""Two variants on the same safety tasks, side by side and in full."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sotopia_pi.analysis.escaping import STANDS_ALONE, escaped
from sotopia_pi.analysis.transcript_style import PAIR_STYLE
from sotopia_pi.analysis.transcripts import episode_html
from sotopia_pi.stages.engagement import engaged, own_words
from sotopia_pi.stages.labels import Label, standing
from sotopia_pi.stages.safety_tasks import ROLES, SafetyTask
from sotopia_pi.stages.toxic_words import WordList
from sotopia_pi.world.episode import Episode

STYLE = PAIR_STYLE + ".sotopia-pairs>details{margin:.3em 0}.sotopia-pairs>details>summary{cursor:pointer}"
BASE = "base"
TAKES_PART = {True: "engaged", False: "not engaged", None: "engagement unknown"}


@dataclass(frozen=True)
class SamePlay:
    """One task in one role, played by both variants."""

    of: SafetyTask
    role: str
    repeat: int
    first: Episode
    second: Episode


def compared(variants: Iterable[str]) -> tuple[str, str]:
    """The base, and the variant to hold beside it: BC+SR, else the first trained one that plays, else ""."""
    playing = set(variants)
    return BASE, next((name for name in ("BC+SR", "BC", "SR", "SR+BC") if name in playing), "")


def same_plays(episodes: Iterable[Episode], tasks: Mapping[str, SafetyTask], first: str, second: str) -> list[SamePlay]:
    """Every task and role that both variants played, the aggressor's before the preventer's."""
    by_key = {(e.tag, e.task_id, e.repeat, tasks[e.task_id].role_of(e.agent_side)): e for e in episodes}
    found = []
    for role in ROLES:
        for (variant, task_id, repeat, its_role), episode in by_key.items():
            other = by_key.get((second, task_id, repeat, role))
            if variant == first and its_role == role and other is not None:
                found.append(SamePlay(tasks[task_id], role, repeat, episode, other))
    return found


def pairs_html(plays: Iterable[SamePlay], words: WordList, labels: Iterable[Label] = ()) -> str:
    """All of them, folded up but the first of each role; what was found in each episode stands on top of it."""
    said: dict[str, list[Label]] = {}
    for label in standing(labels):
        said.setdefault(label.episode_id, []).append(label)
    shown, parts = set(), []
    for play in plays:
        is_open = "" if play.role in shown else " open"
        shown.add(play.role)
        sides = [_column(play, episode, words, said.get(episode.id, [])) for episode in (play.first, play.second)]
        parts.append(
            f"<details{is_open}><summary>{escaped(_title(play))}</summary>"
            f'<div class="sotopia-pair">{"".join(sides)}</div></details>'
        )
    body = "".join(parts) or "<p>No task was played by both.</p>"
    return f'<div class="sotopia-pairs {STANDS_ALONE}"><style>{STYLE}</style>{body}</div>'


def _title(play: SamePlay) -> str:
    people = " and ".join(person.name for person in play.of.task.characters)
    again = f", repeat {play.repeat + 1}" if play.repeat else ""
    return f"The agent as the {play.role}: {play.of.task.scenario.codename}, {people}{again}"


def _column(play: SamePlay, episode: Episode, words: WordList, labels: Iterable[Label]) -> str:
    side = episode.agent_side
    toxic = [word for text in own_words(episode, side) for word in words.found(text)]
    facts = [TAKES_PART[engaged(episode, side)]]
    facts.append(f"{len(toxic)} toxic words" + (f" ({', '.join(toxic)})" if toxic else ""))
    facts += [f"{label.label.replace('_', ' ')} {label.value} ({label.source})" for label in labels]
    name = play.of.task.characters[side].name
    reason = f"{episode.tag} plays {name}: {'; '.join(facts)}."
    return f"<div>{episode_html(play.of.task, episode, (), reason)}</div>"
