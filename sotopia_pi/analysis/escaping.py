"""Text that others wrote, made safe to show: nothing in it becomes markup, and nothing invisible stays invisible."""

import html
import re

from sotopia_pi.store.unseen import by_number, is_unseen

STANDS_ALONE = "tex2jax_ignore mathjax_ignore"
"""Classes that keep notebooks from typesetting `$90 … $80` as a formula."""

_LINE_BREAKS = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")


def escaped(text: object) -> str:
    """HTML of a text: markup escaped, line breaks as `<br>`, control and direction characters by their number.

    Characters that turn the reading direction, have no width or control a terminal are shown as `U+202E`; so a
    text cannot disguise itself. The result has no line breaks, so no Markdown reader takes it for anything but HTML.
    """
    return "<br>".join("".join(_shown(c) for c in line) for line in _LINE_BREAKS.split(str(text)))


def attribute(text: object) -> str:
    """The same for the value of an attribute or a title, where no element can stand."""
    return html.escape(visible(text), quote=True)


def visible(text: object, keep: str = "") -> str:
    """A text on one line for a place that takes no markup (an option of a list): hidden characters by their number.

    keep: characters that are left as they are, line breaks among them.
    """
    line = str(text) if keep else _LINE_BREAKS.sub(" ", str(text)).replace("\t", " ")
    return "".join(by_number(c) if c not in keep and is_unseen(c) else c for c in line)


def _shown(character: str) -> str:
    if character == "\t":
        return " "
    if is_unseen(character):
        return f'<span class="hidden-character">{by_number(character)}</span>'
    return html.escape(character, quote=True)
