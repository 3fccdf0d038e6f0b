"""Text for cards: Markdown around values that others wrote, which stay plain text whatever they say."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sotopia_pi.store.unseen import by_number, is_unseen

_MARKS = frozenset("\\`*{}[]<>|~$&@")
"""What Markdown, its tables, its formulas, its bare addresses or HTML could read as more than a character, anywhere."""
_IN_PLACE = re.compile(
    r"(?<![^\W_])_|_(?![^\W_])"  # an underscore inside a word is none of its marks
    r"|:(?=//)|(?<=www)\."  # what makes a bare address a link
)
"""Characters that are marks only where they stand."""
_BEGINS_BLOCK = re.compile(r"\s*([-+](?=\s|$)|-(?=-)|[=#]|\d(?=\d{0,8}[.)](\s|$)))")
"""What begins a list, a line or a heading at the start of a paragraph."""
_WHITE = re.compile(r"[\s\x1c-\x1f\x85\u2028\u2029]+")


class Markdown(str):
    """Text that is Markdown already, so that a template does not escape it again."""

    __slots__ = ()


def literal(value: object) -> Markdown:
    """One line of Markdown that reads as exactly this text: no emphasis, link, image, HTML, formula or table cell.

    Characters that could begin markup become numeric character references, which Markdown never takes for structure;
    characters that turn the reading direction or have no width are told by their number, as `U+202E`. So that it can
    stand anywhere, what would begin a list or a heading becomes a reference as well.
    """
    if isinstance(value, Markdown):
        return value
    text = _WHITE.sub(" ", str(value))
    begin = _BEGINS_BLOCK.match(text)
    places = {found.start() for found in _IN_PLACE.finditer(text)} | ({begin.start(1)} if begin else set())
    return Markdown("".join(_shown(c, place in places) for place, c in enumerate(text)))


def fenced(value: Any) -> Markdown:
    """A value as a block of JSON. Nothing in it can end the block, as JSON writes no line breaks of a text as such, and
    nothing in it is hidden, as characters beyond ASCII are told by their number."""
    return Markdown(f"```json\n{json.dumps(value, indent=1, ensure_ascii=True)}\n```")


def rendered(template: str, **facts: Any) -> str:
    """A template of this folder with its facts. Every value goes through `literal`; one that is missing is an error."""
    return _environment().get_template(template).render(**facts)


def _shown(character: str, is_mark: bool) -> str:
    if is_unseen(character):
        return by_number(character)
    if is_mark or character in _MARKS:
        return f"&#{ord(character)};"
    return character


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        finalize=literal,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["markdown"] = Markdown
    return environment
