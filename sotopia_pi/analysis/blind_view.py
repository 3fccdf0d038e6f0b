"""An episode as people rate it: who the two are and what they said, and nothing of who played them.

It is blind by what it reads: scene, characters, goals, deeds and the ending. Policies, the variant's name, the side
under study, raw model output, payoffs and ratings are never looked at.
"""

from sotopia_pi.analysis.escaping import STANDS_ALONE, escaped
from sotopia_pi.analysis.transcript_style import STYLE
from sotopia_pi.analysis.transcripts import ENDINGS, KINDS, PROFILE, RELATIONSHIPS, profile_value
from sotopia_pi.stages.judge_prompt import MEANINGS
from sotopia_pi.world.actions import Turn
from sotopia_pi.world.characters import Character
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import DIMENSIONS
from sotopia_pi.world.tasks import SocialTask, shown_goal

LOST = "(turn lost for technical reasons; it says nothing about this person)"


def blind_html(task: SocialTask, episode: Episode) -> str:
    """The whole episode as one static, escaped `<section>`."""
    story = f" {escaped(task.background)}" if task.background else ""
    people = "".join(_person(task.characters[side], side, task.scenario.goals[side]) for side in (0, 1))
    turns = "".join(_turn(turn, task.characters[turn.side]) for turn in episode.turns)
    return (
        f'<section class="sotopia-play {STANDS_ALONE}"><style>{STYLE}</style>'
        f'<header><p class="scene">{escaped(task.scenario.text)}</p>'
        f'<p class="between">They {RELATIONSHIPS[task.scenario.relationship]}.{story}</p></header>'
        f'<div class="cast">{people}</div><ol class="turns">{turns}</ol>'
        f'<footer class="outcome"><p>Ended after {len(episode.turns)} turns: {ENDINGS[episode.ending]}.</p></footer>'
        "</section>"
    )


def scale_html() -> str:
    """The seven dimensions with their ranges and what each asks, as a static table: the form on paper."""
    rows = "".join(
        f"<tr><th>{label(d)}</th><td>{low} to {high}</td>"
        f'<td style="white-space:normal">{escaped(MEANINGS[d])}</td></tr>'
        for d, (low, high) in DIMENSIONS.items()
    )
    head = "<tr><th>dimension</th><th>whole numbers</th><th>what it asks</th></tr>"
    return f'<div class="table"><table style="text-align:left"><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def label(dimension: str) -> str:
    """A dimension's name in words."""
    return dimension.replace("_", " ")


def _person(character: Character, side: int, goal: str) -> str:
    facts = "".join(
        f"<dt>{escaped(name.replace('_', ' '))}</dt><dd>{escaped(profile_value(character, attribute))}</dd>"
        for name, attribute in PROFILE.items()
        if name not in ("name", "secret")
    )
    return (
        f'<div class="person side{side}"><h4>{escaped(character.name)}</h4>'
        f'<p class="by">speaks {"first" if side == 0 else "second"}</p>'
        f'<p class="goal"><span class="mark">goal</span> {escaped(shown_goal(goal))}</p>'
        f'<p class="goal"><span class="mark">secret</span> {escaped(character.secret)}</p>'
        f"<details><summary>Profile</summary><dl>{facts}</dl></details></div>"
    )


def _turn(turn: Turn, character: Character) -> str:
    name = f"<b>{escaped(character.name)}</b>"
    if turn.failed:
        return f'<li class="turn side{turn.side} silent">{name} <span class="kind">{LOST}</span></li>'
    words, spoken = escaped(turn.action.argument), turn.action.type == "speak"
    said = f'<p class="said">{f"“{words}”" if spoken else words}</p>' if words else ""
    kind = "stays silent" if turn.action.type == "none" else KINDS[turn.action.type]
    return f'<li class="turn side{turn.side}">{name} <span class="kind">{kind}</span>{said}</li>'
