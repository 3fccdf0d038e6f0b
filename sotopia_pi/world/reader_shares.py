"""Shares of a bill: who pays what, turned into the share of the side an issue names."""

import re

from sotopia_pi.world.payoffs import Issue
from sotopia_pi.world.reader_amounts import Mention, amounts

_PAY = (
    r"(?:pay|cover|put in|put down|chip in|contribute|throw in|give|do|take|take care of|handle|go|add|kick in"
    r"|spend|afford|manage|offer|bring|owe|paying|covering|contributing|putting in)"
)
_SOON = r"(?:(?!(?:i|me|you)\b)\w+ ){0,4}?"
"""A few words that name no other payer: in "you can have me pay $30" it is not you who pays."""
_I = re.compile(
    rf"\b(?:i {_SOON}{_PAY}|my (?:\w+ )?(?:share|part|half|portion|contribution|side|offer)|me (?:paying|covering)"
    rf"|from me|for me|on me|mine|me)\b"
)
_YOU = re.compile(
    rf"\b(?:you {_SOON}{_PAY}|your (?:\w+ )?(?:share|part|half|portion|contribution|side)|you (?:paying|covering)"
    rf"|from you|for you|on you|yours|you)\b"
)
_EACH = re.compile(r"\s*(?:each|apiece|per person|a person|a head|both of us|for each)\b")
_BOTH = re.compile(r"\bwe (?:\w+ ){0,2}?(?:each|both)\b|\b(?:each|both) of us\b")
_EVEN = re.compile(
    r"\bhalf(?: and half| of (?:it|the \w+)| each)?\b|\bhalves\b|\b(?:split|share|divide)s? (?:\w+ ){0,3}?(?:evenly"
    r"|equally|even|fifty|50|down the middle|in two|in half)"
    r"|\b(?:equal|even) (?:shares|split|parts)\b|\b50[\s/-]+50\b|\bfifty[\s-]fifty\b|\bdown the middle\b"
)
_SAME = re.compile(r"\$?(?P<half>\d+)\s?[-/]\s?\$?(?P=half)\b")
_PART = re.compile(r"\b(?:(?P<n>a|one|two|three) (?P<d>third|quarter|fifth)s?)\b")
_WHOLE = re.compile(r"\b(?:all of (?:it|the \w+)|everything|the (?:whole|full|entire) \w+|the lot)\b")
_OF = {"third": 3, "quarter": 4, "fifth": 5, "a": 1, "one": 1, "two": 2, "three": 3}


def share(clause: str, issue: Issue, speaker: int, alone: bool) -> list[Mention]:
    """Shares named in a plain clause, each as the amount that side `issue.payer` pays of `issue.total`.

    "I pay $40" is the speaker's share, "you pay $40" the other's, "$60 each" and "half" an even split. A number with
    nobody to pay it ("my wish: $40") is no share; neither is the bill itself, nor "I can do $40 and $80" of $120.
    """
    even = _EVEN.search(clause)
    if even and not re.search(r"\$|\d{2}(?!\d*[\s/-]+50)", clause[: even.start()] + clause[even.end() :]):
        if issue.total % 2 == 0:
            return [Mention(issue.total // 2, even.start(), even.end())]
        return []
    same = _SAME.search(clause)
    if same and 2 * int(same["half"]) == issue.total:
        return [Mention(issue.total // 2, same.start(), same.end())]
    part = _PART.search(clause)
    if part and issue.total * _OF[part["n"]] % _OF[part["d"]] == 0:
        found = [Mention(issue.total * _OF[part["n"]] // _OF[part["d"]], part.start(), part.end())]
    else:
        whole = _WHOLE.search(clause)
        found = [Mention(issue.total, whole.start(), whole.end())] if whole else []
    if not found:
        found = [m for m in amounts(clause, issue, alone) if m.option <= issue.total]
        found = [m for m in found if m.option != issue.total or _payer(clause, m, speaker) is not None]
        if len(found) == 2 and sum(int(m.option) for m in found) == issue.total:
            found = found[:1] if _told_apart(clause, *found) else []
    return [shared for m in found if (shared := _as_payers(clause, m, issue, speaker)) is not None]


def _told_apart(clause: str, one: Mention, two: Mention) -> bool:
    """True when a payer is named between two sums that make up the bill, or after them."""
    first, second = sorted((one, two), key=lambda mention: mention.start)
    return any(
        who.search(part) for who in (_I, _YOU) for part in (clause[first.end : second.start], clause[second.end :])
    )


def _as_payers(clause: str, mention: Mention, issue: Issue, speaker: int) -> Mention | None:
    if _EACH.match(clause, mention.end) or _BOTH.search(clause, 0, mention.start):
        return mention if 2 * mention.option == issue.total else None
    payer = _payer(clause, mention, speaker)
    if payer is None:
        return None
    amount = int(mention.option)
    return Mention(amount if payer == issue.payer else issue.total - amount, mention.start, mention.end)


def _payer(clause: str, mention: Mention, speaker: int) -> int | None:
    """Who pays this: the one named last before it, else the one named first after it."""
    before = clause[: mention.start]
    last_i = max((m.end() for m in _I.finditer(before)), default=-1)
    last_you = max((m.end() for m in _YOU.finditer(before)), default=-1)
    if last_i != last_you:
        return speaker if last_i > last_you else 1 - speaker
    after = clause[mention.end :]
    first_i, first_you = _I.search(after), _YOU.search(after)
    if first_i and (not first_you or first_i.start() < first_you.start()):
        return speaker
    return 1 - speaker if first_you else None
