"""What a page made of hostile text may consist of: our own elements, and the payloads as words."""

from collections.abc import Iterable, Iterator

from bleach._vendor import html5lib
from hostile import SET, UNSEEN

STRUCTURE = {"html", "head", "body", "meta", "title", "style", "nav", "main", "header", "footer", "section", "div"}
STRUCTURE |= {"figure", "figcaption", "blockquote", "colgroup", "col"}
WORDS = {"h1", "h2", "h3", "h4", "p", "span", "small", "b", "i", "a", "br", "ul", "ol", "li", "dl", "dt", "dd", "pre"}
WORDS |= {"wbr"}
TABLES = {"table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary", "img"}
ATTRIBUTES = {"class", "id", "style", "alt", "src", "href", "colspan", "rowspan", "open", "lang", "charset", "name"}
ATTRIBUTES |= {"type", "content", "scope", "role", "http-equiv", "aria-label", "aria-labelledby"}
PLAIN = ("style", "class", "id", "content", "name", "http-equiv", "aria-labelledby")
"""Attributes that never hold what others wrote."""
ADDRESSES = ("data:image/png;base64,", "../", "#")


def assert_inert(text: str, says: Iterable[str] = (SET,)) -> None:
    """A page of ours, as a browser reads it, is made of our own elements and holds the payloads as words only."""
    unseen = {f"U+{ord(c):04X}" for c in UNSEEN if c in text}
    assert not unseen, f"raw characters that nobody sees: {unseen}"
    words = []
    for node in walk(parsed(text)):
        assert node.nodeType != node.COMMENT_NODE, f"a comment: {node.data[:80]}"
        if node.nodeType == node.TEXT_NODE:
            words.append(node.data)
        if node.nodeType == node.ELEMENT_NODE:
            assert_own(node)
    for payload in says:
        assert payload in "".join(words), f"{payload!r} is not shown"


def assert_shown(text: str, says: Iterable[str] = (SET,)) -> None:
    """The same for what a notebook shows as HTML, where JupyterLab would typeset whatever stands between dollars."""
    assert_inert(text, says)
    outside = [node.data for node in walk(parsed(text)) if node.nodeType == node.TEXT_NODE and not in_words(node)]
    assert "$" not in "".join(outside) and "\\(" not in "".join(outside)


def in_words(node) -> bool:
    """Whether a node stands in something that is never typeset."""
    while node is not None and node.nodeType != node.DOCUMENT_NODE:
        if node.nodeType == node.ELEMENT_NODE and "mathjax_ignore" in node.getAttribute("class"):
            return True
        node = node.parentNode
    return False


def parsed(text: str):
    return html5lib.HTMLParser(html5lib.getTreeBuilder("dom"), namespaceHTMLElements=False).parse(text)


def walk(node) -> Iterator:
    yield node
    for child in node.childNodes:
        yield from walk(child)


def assert_own(element) -> None:
    assert element.tagName in STRUCTURE | WORDS | TABLES, f"<{element.tagName}>"
    if element.tagName == "style":
        assert "hostile" not in "".join(child.data for child in element.childNodes)
    for name, value in element.attributes.items():
        assert name in ATTRIBUTES, f"<{element.tagName} {name}={value[:80]!r}>"
        if name in ("src", "href"):
            assert value.startswith(ADDRESSES), f"<{element.tagName} {name}={value[:80]!r}>"
        if name in PLAIN:
            assert "hostile" not in value and "(" not in value, f"<{element.tagName} {name}={value[:80]!r}>"
