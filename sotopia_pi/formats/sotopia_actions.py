"""How Sotopia writes actions as text, and the way back to our five types."""

import re

from sotopia_pi.formats.record_lines import Unreadable
from sotopia_pi.world.actions import Action

NOTHING = "did nothing"
LEFT = "left the conversation"
_SAID = re.compile(r'said: "(.*)"', re.DOTALL)
_TAGGED = re.compile(r"\[(non-verbal communication|action)\] ?(.*)", re.DOTALL)


def action_text(action: Action) -> str:
    """The action as a log holds it, without the name of who acts. What one says when leaving has no place in it."""
    match action.type:
        case "none":
            return NOTHING
        case "leave":
            return LEFT
        case "speak":
            return f'said: "{action.argument}"'
        case _:
            return f"[{action.type}] {action.argument}"


def read_action(text: str) -> Action:
    """The action that a text of a log tells. Raises Unreadable.

    The whole text decides and never a part of it: somebody who says "I did nothing" speaks.
    """
    told = text.strip()
    if told.rstrip(".") == NOTHING:
        return Action("none")
    if told.rstrip(".") == LEFT:
        return Action("leave")
    said, tagged = _SAID.fullmatch(told), _TAGGED.fullmatch(told)
    kind, argument = ("speak", said[1]) if said else (tagged[1], tagged[2]) if tagged else ("", "")
    if not argument.strip():
        raise Unreadable(
            f'{told[:80]!r} is no action; allowed: said: "words", [non-verbal communication] gesture, [action] deed, '
            f"{LEFT}, {NOTHING}; mend or drop the episode"
        )
    return Action(kind, argument)
