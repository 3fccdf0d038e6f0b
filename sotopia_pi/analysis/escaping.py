"""Text that others wrote, made safe to show: nothing in it becomes markup, and nothing invisible stays invisible."""

import html
import re
import unicodedata

STANDS_ALONE = "tex2jax_ignore mathjax_ignore"
"""Classes that keep notebooks from typesetting `$90 … $80` as a formula."""

_LINE_BREAKS = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
_HIDDEN_KINDS = {"Cc", "Cf", "Co", "Cs"}


def escaped(text: object) -> str:
    """HTML of a text: markup escaped, line breaks as `<br>`, control and direction characters by their number.

    Characters that turn the reading direction, have no width or control a terminal are shown as `U+202E`; so a
    text cannot disguise itself. The result has no line breaks, so no Markdown reader takes it for anything but HTML.
    """
    return "<br>".join("".join(_shown(c) for c in line) for line in _LINE_BREAKS.split(str(text)))


def visible(text: object) -> str:
    """A text on one line for a place that takes no markup (an option of a list): hidden characters by their number."""
    return "".join(
        f"U+{ord(c):04X}" if _is_hidden(c) else c for c in _LINE_BREAKS.sub(" ", str(text)).replace("\t", " ")
    )


def _shown(character: str) -> str:
    if character == "\t":
        return " "
    if _is_hidden(character):
        return f'<span class="hidden-character">U+{ord(character):04X}</span>'
    return html.escape(character, quote=True)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN_KINDS
