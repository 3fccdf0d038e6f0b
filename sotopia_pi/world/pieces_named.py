"""Pieces as people name them: "two of the books", "both hats", "the ball", and "one" or "the other two" after them."""

import re
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sotopia_pi.world.reader_amounts import number_in_words

_NUMBER = r"(?:\d{1,3}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|twenty)"
_PLACE = r"(?:other|others|remaining|last|final|first|second|third|fourth|leftover|extra)"
_VAGUE = (
    r"(?:at least|at most|up to|more than|less than|fewer than|some(?: of)?|any(?: of)?|more|fewer|less|most(?: of)?"
    r"|many|several|a few(?: of)?|another|an? (?:extra|additional)|which|what|how many)"
)
_QUANTITY = (
    rf"(?:(?P<vague>{_VAGUE}) )?"
    r"(?:(?P<half>half)(?: of)? |(?P<all>all|every|every one|each one)(?: of)? |(?P<both>both)(?: of)? "
    r"|(?P<none>no|none of|zero) |(?P<couple>a (?:couple|pair)(?: of)?) "
    rf"|(?P<n>{_NUMBER})(?P<more> more| extra)?(?: of)? )?"
    rf"(?:(?:the|my|your|our|these|those|that|this|a|an|its) )?(?:(?P<place>{_PLACE}) )?(?:(?P<m>{_NUMBER}) )?"
)
_END = (
    r"(?=\s*(?:$|[,.;:!?)]|(?:and|or|for|to|while|if|but|each|is|are|as|with|then|instead|too|so|plus|would|should"
    r"|will|can|could|goes?|apiece|please)\b))"
)
_BACK = re.compile(
    rf"\b(?:the|your|my) (?P<place>{_PLACE})(?: (?:(?P<m>{_NUMBER})|ones?))?{_END}"
    rf"|\b(?P<half>half)(?: of (?:them|those|these))?{_END}"
    rf"|\b(?P<both>both|all)(?: of)? (?:them|those|these)\b|\b(?P<pair>both){_END}"
    r"|(?<=keep )(?P<it>it|them)\b(?! all)"
    r"|(?<!no )(?<!that )(?<!this )(?<!which )(?<!any )(?<![$.\d-])"
    rf"\b(?P<n>{_NUMBER})(?: of (?:them|those|these))?{_END}"
)


_AND_OTHERS = re.compile(r" and (?:the )?(?!\d|[a-z]* ?of\b)[a-z]+s\b")
"""After "both books": the words mean two kinds, not two pieces."""


@dataclass(frozen=True)
class Named:
    """Pieces named somewhere. count: how many of `item`, or None where the words do not settle it."""

    item: str
    count: int | None
    start: int
    end: int


def pieces_in(sentence: str, totals: Mapping[str, int], last: str | None = None) -> list[Named]:
    """The pieces that a plain sentence names, in order, without overlaps.

    totals: item (in the plural) -> how many there are. "the books" and "books" are all of them, "the book" is one.
    last: the item spoken of before; "one" and "the other two" then mean that one.
    """
    found: list[Named] = []
    meant: list[Named] = []
    for match in _named_pattern(tuple(totals)).finditer(sentence):
        item = next(name for name in totals if match["noun"] in _forms(name))
        count = _count(match, totals[item], match["noun"] == item)
        if match["both"] and _AND_OTHERS.match(sentence, match.end()):
            count = totals[item]
        found.append(Named(item, count, match.start(), match.end()))
    kinds = len({one.item for one in found})
    for match in _BACK.finditer(sentence):
        place = bisect(found, match.start(), key=lambda one: one.start)
        before = found[place - 1] if place else None
        if (before and before.end > match.start()) or (place < len(found) and found[place].start < match.end()):
            continue
        name = before.item if before else last
        if name is not None and not (match["pair"] and kinds > 1):
            meant.append(Named(name, _meant(match, totals[name]), match.start(), match.end()))
    return sorted([*found, *meant], key=lambda one: one.start)


def names_piece(clause: str, items: Sequence[str]) -> bool:
    """True when a plain clause names one of the items."""
    return bool(_named_pattern(tuple(items)).search(clause))


def _count(match: re.Match, total: int, plural: bool) -> int | None:
    if match["vague"] or match["more"]:
        whole = match["all"] or (match["both"] and total == 2)
        return total if match["vague"] == "at least" and whole else None
    if match["half"]:
        return total // 2 if total % 2 == 0 else None
    if match["none"]:
        return 0
    if match["both"] or match["couple"]:
        return 2
    if number := match["n"] or match["m"]:
        return _value(number)
    if match["place"] and plural:
        return None
    return total if plural or match["all"] else 1


def _meant(match: re.Match, total: int) -> int | None:
    if match["half"]:
        return total // 2 if total % 2 == 0 else None
    if match["both"] or match["pair"]:
        return total if match["both"] == "all" else 2
    if match["it"]:
        return 1 if match["it"] == "it" else total
    number = match["n"] or match["m"]
    if number:
        return _value(number)
    return None if match["place"] == "others" else 1


def _value(number: str) -> int:
    return int(number) if number.isdigit() else number_in_words(number)


def _forms(name: str) -> tuple[str, ...]:
    return (name, name.removesuffix("s"))


@lru_cache(maxsize=256)
def _named_pattern(items: tuple[str, ...]) -> re.Pattern:
    nouns = "|".join(sorted((re.escape(form) for item in items for form in _forms(item)), key=len, reverse=True))
    return re.compile(rf"\b{_QUANTITY}(?P<noun>{nouns})\b")
