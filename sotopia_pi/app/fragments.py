"""Pieces of HTML that the report pages are made of. All text given to them is escaped here, markup of theirs is not."""

import base64
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from sotopia_pi.analysis.escaping import attribute, escaped


class Html(str):
    """Text that is markup already, so that a cell made of it is not escaped again."""

    __slots__ = ()


def link(address: str, words: str) -> Html:
    """A link. address: relative to the page."""
    return Html(f'<a href="{attribute(address)}">{escaped(words)}</a>')


def picture(png: bytes, words: str) -> Html:
    """A picture inside the page. words: what it shows, for those who do not see it."""
    return Html(f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{attribute(words)}">')


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Container[int] = ()) -> Html:
    """A table that scrolls by itself on a narrow page. head: may be empty. numbers: columns aligned to the right."""
    top = f"<thead>{_row(head, 'th', numbers)}</thead>" if head else ""
    body = "".join(_row(row, "td", numbers) for row in rows)
    return Html(f'<div class="table"><table>{top}<tbody>{body}</tbody></table></div>')


def facts(known: Mapping[str, Any]) -> Html:
    """Names and values as a table of two columns; mappings inside become tables inside."""
    rows = "".join(f"<tr><th>{escaped(key)}</th><td>{_value(value)}</td></tr>" for key, value in known.items())
    return Html(f'<div class="table"><table><tbody>{rows}</tbody></table></div>')


def details(summary: str, inside: Html) -> Html:
    """A part that opens on a click."""
    return Html(f"<details><summary>{escaped(summary)}</summary>{inside}</details>")


def warning(words: str) -> Html:
    """A paragraph that cannot be overlooked."""
    return Html(f'<p class="missing">{escaped(words)}</p>')


def _row(cells: Iterable[Any], tag: str, numbers: Container[int]) -> str:
    marked = ((' class="number"' if i in numbers else "", _cell(cell)) for i, cell in enumerate(cells))
    return f"<tr>{''.join(f'<{tag}{mark}>{cell}</{tag}>' for mark, cell in marked)}</tr>"


def _cell(value: Any) -> str:
    return value if isinstance(value, Html) else escaped(value)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return facts(value)
    if isinstance(value, list):
        return escaped(", ".join(map(str, value)))
    return escaped(value)
