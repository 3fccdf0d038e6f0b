"""What a person sees of a talk that goes on: their own side of it, and the words so far.

It is drawn from the observation of that side alone, so nothing private to the other can be in it.
"""

import re
from collections.abc import Mapping, Sequence

from sotopia_pi.analysis.escaping import STANDS_ALONE, escaped
from sotopia_pi.analysis.transcript_style import STYLE, scoped
from sotopia_pi.analysis.transcripts import ENDINGS, KINDS, PROFILE, RELATIONSHIPS, profile_value
from sotopia_pi.world.actions import Turn
from sotopia_pi.world.episode import Observation

_JSON_ARGUMENT = re.compile(r'"argument"\s*:\s*"((?:[^"\\]|\\.)*)')
_LOG = {
    ".log": "display:flex;flex-direction:column-reverse;max-height:28em;overflow-y:auto",
    ".log .turns": "margin:0",
    ".turn.coming": "border-left-style:dotted",
    ".coming .said:after": "content:'▍';color:var(--soft)",
}
TALK_STYLE = f"<style>{STYLE}{scoped('sotopia-play', _LOG)}</style>"
"""Stands once on a page, above all that this module draws."""


def side_html(seen: Observation) -> str:
    """The scene, who one is, what one wants, and what one may see of the other."""
    story = f" {escaped(seen.background)}" if seen.background else ""
    stakes = ""
    if seen.stakes:
        stakes = f'<p class="stakes">In points: walking away {seen.stakes.walk_away:g}, best {seen.stakes.best:g}.</p>'
    mine = {key: profile_value(seen.me, attribute) for key, attribute in PROFILE.items()}
    return (
        f'<section class="sotopia-play {STANDS_ALONE}"><p class="scene">{escaped(seen.scenario)}</p>'
        f'<p class="between">You {RELATIONSHIPS[seen.relationship]}.{story}</p><div class="cast">'
        f'<div class="person side{seen.side}"><h4>You are {escaped(seen.me.name)}</h4>'
        f'<p class="by">you speak {"first" if seen.side == 0 else "second"}</p>'
        f'<p class="goal"><span class="mark private">your private goal</span> {escaped(seen.goal)}</p>{stakes}'
        f"{_facts('All about you', mine)}</div>"
        f'<div class="person side{1 - seen.side}"><h4>You meet {escaped(seen.other_name)}</h4>'
        f"{_facts('What you know of them', seen.other) if seen.other else '<p>You know nothing about them.</p>'}"
        "</div></div></section>"
    )


def talk_html(seen: Observation, coming: str | None = None) -> str:
    """The turns so far, the last one in view. coming: what the other has said of the next turn; None: nobody speaks."""
    lines = [turn_html(turn, names_of(seen)) for turn in seen.turns]
    if coming is not None:
        lines.append(coming_html(coming, 1 - seen.side, seen.other_name))
    empty = f"<li>{'You speak first.' if seen.side == 0 else 'The other speaks first.'}</li>"
    return _log("".join(lines) or empty)


def answer_html(turn: Turn, seen: Observation, raw: str) -> str:
    """One answer alone, as a talk would show it; raw: what came, shown where it could not be read as an action."""
    came = f'<details><summary>what came</summary><p class="raw">{escaped(raw)}</p></details>' if turn.failed else ""
    return _log(turn_html(turn, names_of(seen)) + came)


def coming_answer_html(coming: str, seen: Observation) -> str:
    """One answer that is still being said."""
    return _log(coming_html(coming, 1 - seen.side, seen.other_name))


def names_of(seen: Observation) -> dict[int, str]:
    """Side -> the name under which the person knows it."""
    return {seen.side: f"{seen.me.name} (you)", 1 - seen.side: seen.other_name}


def turn_html(turn: Turn, names: Mapping[int, str]) -> str:
    """A turn as list item: what kind of action, and its words."""
    who, css = f"<b>{escaped(names[turn.side])}</b>", f"turn side{turn.side}"
    if turn.failed:
        said = "said nothing that can be read as an action; no chosen silence"
        return f'<li class="{css} failed">{who} <span class="kind">{said}</span></li>'
    words, spoken = escaped(turn.action.argument), turn.action.type == "speak"
    said = f'<p class="said">{f"“{words}”" if spoken else words}</p>' if words else ""
    kind = {"non-verbal communication": "gesture", "none": "silent"}.get(turn.action.type, turn.action.type)
    told = "stays silent" if turn.action.type == "none" else KINDS[turn.action.type]
    return f'<li class="{css} {kind}">{who} <span class="kind">{told}</span>{said}</li>'


def coming_html(text: str, side: int, name: str) -> str:
    """A turn that is still being said."""
    words = escaped(words_so_far(text))
    return (
        f'<li class="turn side{side} coming"><b>{escaped(name)}</b> <span class="kind">'
        f'{"is answering" if words else "is thinking"}</span><p class="said">{words}</p></li>'
    )


def words_so_far(text: str) -> str:
    """What a reply that is not whole yet says: of a JSON object, as the `sotopia` format has it, its argument alone."""
    if not text.lstrip().startswith(("{", "```")):
        return text
    found = _JSON_ARGUMENT.search(text)
    return found[1].replace('\\"', '"').replace("\\n", "\n") if found else ""


def ended_in_words(turns: Sequence[Turn], ending: str) -> str:
    """Why a talk is over, as one line of plain text."""
    return f"The talk ended after {len(turns)} turns: {ENDINGS[ending]}."


def _facts(summary: str, facts: Mapping[str, str]) -> str:
    rows = "".join(
        f"<dt>{escaped(key.replace('_', ' '))}</dt><dd>{escaped(value)}</dd>" for key, value in facts.items()
    )
    return f"<details><summary>{summary}</summary><dl>{rows}</dl></details>"


def _log(items: str) -> str:
    return (
        f'<section class="sotopia-play {STANDS_ALONE}"><div class="log" role="log" aria-live="polite" tabindex="0">'
        f'<ol class="turns">{items}</ol></div></section>'
    )
