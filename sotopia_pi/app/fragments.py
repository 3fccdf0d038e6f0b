"""Pieces of HTML that the report pages are made of. All text given to them is escaped here, markup of theirs is not."""

import base64
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sotopia_pi.analysis.escaping import attribute, escaped


class Html(str):
    """Text that is markup already, so that a cell made of it is not escaped again."""

    __slots__ = ()


@dataclass(frozen=True)
class Chapter:
    """A part of a page that its contents list names. anchor: letters and hyphens; body: below the heading."""

    anchor: str
    title: str
    body: Html

    def html(self) -> Html:
        heading = f'<h2 id="{self.anchor}">{escaped(self.title)}</h2>'
        return Html(f'<section aria-labelledby="{self.anchor}">{heading}\n{self.body}</section>')


def chaptered(title: str, lead: Html, chapters: Sequence[Chapter]) -> Html:
    """A page's body: its title, a line about it, the list of its chapters, the chapters; empty ones are left out."""
    filled = [chapter for chapter in chapters if chapter.body]
    entries = "".join(f"<li>{link(f'#{chapter.anchor}', chapter.title)}</li>" for chapter in filled)
    contents = f'<nav class="contents" aria-label="Contents"><ul>{entries}</ul></nav>'
    return joined([f"<h1>{escaped(title)}</h1>", lead, contents, *(chapter.html() for chapter in filled)])


def joined(parts: Iterable[str]) -> Html:
    """Pieces of markup below each other; empty ones are left out."""
    return Html("\n".join(part for part in parts if part))


def paragraph(words: str, kind: str = "") -> Html:
    """A paragraph of text. kind: a class of page.css."""
    return Html(f"<p{_class(kind)}>{words if isinstance(words, Html) else escaped(words)}</p>")


def bullets(lines: Iterable[str], kind: str = "") -> Html:
    """A list, an entry a line; "" where there is none."""
    entries = "".join(f"<li>{line if isinstance(line, Html) else escaped(line)}</li>" for line in lines)
    return Html(f"<ul{_class(kind)}>{entries}</ul>" if entries else "")


def link(address: str, words: str) -> Html:
    """A link. address: relative to the page."""
    return Html(f'<a href="{attribute(address)}">{escaped(words)}</a>')


def picture(png: bytes, words: str) -> Html:
    """A picture inside the page. words: what it shows, for those who do not see it."""
    return Html(f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{attribute(words)}">')


def figure(png: bytes, words: str, caption: Html) -> Html:
    """A picture with a caption under it; it scrolls by itself on a narrow page."""
    return Html(f"<figure><div>{picture(png, words)}</div><figcaption>{caption}</figcaption></figure>")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Container[int] = (), caption: str = "") -> Html:
    """A table that scrolls by itself on a narrow page. head: may be empty. numbers: columns aligned to the right."""
    named = f"<caption>{escaped(caption)}</caption>" if caption else ""
    top = f"<thead>{_row(head, 'th', numbers)}</thead>" if head else ""
    body = "".join(_row(row, "td", numbers) for row in rows)
    return Html(f'<div class="table"><table>{named}{top}<tbody>{body}</tbody></table></div>')


def facts(known: Mapping[str, Any]) -> Html:
    """Names and values as a table of two columns; mappings inside become tables inside."""
    rows = "".join(f"<tr><th>{escaped(key)}</th><td>{_value(value)}</td></tr>" for key, value in known.items())
    return Html(f'<div class="table facts"><table><tbody>{rows}</tbody></table></div>')


def details(summary: str, inside: Html, kind: str = "") -> Html:
    """A part that opens on a click; on paper it is open, unless its kind is `raw`."""
    return Html(f"<details{_class(kind)}><summary>{escaped(summary)}</summary>{inside}</details>")


def warning(words: str) -> Html:
    """A paragraph that cannot be overlooked."""
    return paragraph(words, "missing")


def _class(kind: str) -> str:
    return f' class="{attribute(kind)}"' if kind else ""


def _row(cells: Iterable[Any], tag: str, numbers: Container[int]) -> str:
    marked = ((' class="number"' if i in numbers else "", _cell(cell)) for i, cell in enumerate(cells))
    return f"<tr>{''.join(f'<{tag}{mark}>{cell}</{tag}>' for mark, cell in marked)}</tr>"


def _cell(value: Any) -> str:
    return value if isinstance(value, Html) else escaped(value)


def _value(value: Any) -> str:
    if isinstance(value, Html):
        return value
    if isinstance(value, dict):
        return facts(value) if value else "–"
    if isinstance(value, list):
        return escaped(", ".join(map(str, value)))
    return escaped(value)
