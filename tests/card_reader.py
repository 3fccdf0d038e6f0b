"""What a reader of Markdown makes of a card, and words that would rather be markup."""

from html.parser import HTMLParser

from markdown_it import MarkdownIt

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "<svg/onload=alert(1)>",
    "[press](javascript:alert(1))",
    "![spy](https://example.org/spy.png)",
    "[x]: https://example.org",
    "<https://example.org>",
    "a | b | c",
    "**bold** _it_ `code` ~~gone~~",
    "# heading",
    "- list\n1. list\n> quote\n---\nlicense: mit\n---",
    "```\nout of the fence\n```",
    "&lt;b&gt; &#60;i&#62;",
    "{{ 7 * 7 }} {% raw %} ${x}",
    "Mia\u202egnp.exe\u200b\x1b[31m",
    "\\*not\\* $$x$$",
)

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
    shown = "".join(f"U+{ord(c):04X}" if c in "\u202e\u200b\x1b" else c for c in text)
    return " ".join(shown.split())
