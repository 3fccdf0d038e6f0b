"""What a reader of Markdown makes of a card."""

from html.parser import HTMLParser

from hostile import UNSEEN
from markdown_it import MarkdownIt

TABLE = {"table", "thead", "tbody", "tr", "th", "td"}


def html_of(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


class Page(HTMLParser):
    """Tags with their attributes, and the text, of HTML."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {(tag, name, value) for name, value in attributes}

    def handle_data(self, data):
        self.text += data


def one_line(text: str) -> str:
    """A text as a card shows it: white space is one blank, and what nobody sees stands there by its number."""
    spaced = " ".join(text.split())
    return "".join(f"U+{ord(c):04X}" if c in UNSEEN or c < " " else c for c in spaced)
