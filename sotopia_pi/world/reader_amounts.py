"""Amounts: whole numbers in digits or words, with what makes them a price, a share or a count."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from sotopia_pi.world.payoffs import Issue

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
_SMALL = {word: value for value, word in enumerate((_UNITS + " eighteen nineteen").split())}
_TENS = {
    word: 10 * value
    for value, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)
}
_WORD = "|".join(sorted([*_SMALL, *_TENS, "hundred", "thousand"], key=len, reverse=True))

_NUMBER = re.compile(
    r"(?P<sign>[$£€]\s?|\busd\s)?(?<![\w.,/#:])"
    r"(?:(?P<digits>\d{1,3}(?:,\d{3})+|\d+)(?P<decimals>\.\d+)?(?P<kilo>k)?(?![\d%]|:\d|[/x]\d|\s?(?:%|percent|st"
    r"|nd|rd|th)\b)"
    rf"|(?P<words>(?:\ba )?\b(?:{_WORD})(?:(?:[\s-]|\sand\s)(?:{_WORD}))*\b)(?!\s?(?:percent|%)))"
    r"(?:[\s-]?(?P<money>(?:dollars?|bucks?|usd)\b|\$(?!\s?\d)))?"
)

_AFTER = re.compile(
    r"\s*(?:$|[.,!?;:)\"'-]|(?:and|or|is|was|it|for|if|then|work|works|sound|sounds|would|could|will|seem|seems|as"
    r"|total"
    r"|each|even|flat|cash|with|at|on|today|tonight|now|in|right|deal|but|because|since|so|to|that|final|firm|max|tops"
    r"|please|all|instead|my|your|from|you|i|we|a|apiece|be|feel|feels|do|does|per|than|okay|ok|fine|fair|good|the|by"
    r"|this|not|can|should|may|might|just|only|only|maybe|take|when|tomorrow|sharp|though|both|more or less|out"
    r"|or so)\b)"
)
_UNRELATED_BEFORE = re.compile(
    r"(?:\b(?:i am|he is|she is|aged?|turned|turning|model|version|number|no|room|apartment|apt|page|size"
    r"|chapter|route|another|these|those|the|of|every|last|next|past|first|top|about that|any|no)\s|#)$"
)
_YEAR_BEFORE = re.compile(r"\b(?:since|in|from|back in|a|the) $")
_YEARS = range(1900, 2100)
_CHANGE_BEFORE = re.compile(
    r"\b(?:by|another|extra|additional|knock|knocked|shave|drop|come (?:up|down)|go (?:up|down)|add|tip)\s(?:about )?$"
)
_CHANGE_AFTER = re.compile(
    r"\s?(?:off\b|more\b(?! or less)|less\b|higher\b|lower\b|extra\b|discount\b|on top\b|difference\b|increase\b"
    r"|cheaper\b|apart\b"
    r"|ago\b|old\b|times\b|away\b|late\b|early\b)"
)
_CUE_BEFORE = re.compile(
    r"(?:^|\b(?:it|say|about|do|just|only|for|at|need|to|maybe|than|is|want|take|offer|give|lend|have|of|then|mean"
    r"|like|pay))\s?$"
)
_ONE_DAY = re.compile(r"one (?:day|evening|morning|night|week|afternoon|hour) (?:you|i|we|it|he|she|they)\b")
_SCALE = {
    ("day", "week"): 7,
    ("day", "fortnight"): 14,
    ("week", "fortnight"): 2,
    ("hour", "day"): 24,
    ("minute", "hour"): 60,
}
_MOST_OF_RANGE = 5
"""Numbers above five times the largest option are about something else (phone numbers, years, salaries)."""
_BARE_SHARE = 0.25
"""A number without a sign or unit below a quarter of the smallest option is about something else (kids, chairs)."""
_SMALL_COUNT = 12
"""Up to a dozen a bare number counts as an amount only right after a word that asks for one ("make it four")."""


@dataclass(frozen=True)
class Mention:
    """An option named in a clause. start, end: its place there, in characters; explicit: with sign or unit."""

    option: int | str
    start: int
    end: int
    explicit: bool = True


def amounts(clause: str, issue: Issue, alone: bool = True) -> Iterator[Mention]:
    """Every whole number in a plain clause that can be an amount of this issue.

    alone: this is the only issue in numbers, so that a bare number may be meant for it. Changes ("$10 off"),
    percentages, ages, dates and counts of other things are left out, and so are broken amounts ("$42.50").
    """
    if issue.unit != "$":
        yield from _counts_in_words(clause, issue)
    for match in _NUMBER.finditer(clause):
        value = _value(match)
        if value is None or _CHANGE_BEFORE.search(clause[: match.start()]) or _CHANGE_AFTER.match(clause, match.end()):
            continue
        if issue.unit == "$":
            mention = _money(clause, match, value, issue, alone)
        else:
            mention = _count(clause, match, value, issue, alone)
        if mention is not None and 0 <= mention.option <= _MOST_OF_RANGE * max(issue.options):
            yield mention


def _money(clause: str, match: re.Match, value: int, issue: Issue, alone: bool) -> Mention | None:
    if match["sign"] or match["money"]:
        return Mention(value, match.start(), match.end())
    if alone and _bare(clause, match, value, issue):
        return Mention(value, match.start(), match.end(), explicit=False)
    return None


def _count(clause: str, match: re.Match, value: int, issue: Issue, alone: bool) -> Mention | None:
    if match["sign"] or match["money"]:
        return None
    unit = _unit_pattern(issue.unit).match(clause, match.end())
    if unit and not _ONE_DAY.match(clause, match.start()):
        return Mention(value * _scale(issue.unit, unit[1]), match.start(), unit.end())
    if alone and _bare(clause, match, value, issue):
        return Mention(value, match.start(), match.end(), explicit=False)
    return None


def _counts_in_words(clause: str, issue: Issue) -> Iterator[Mention]:
    """`a week`, `an hour`, `a couple of days`."""
    for match in _vague_pattern(issue.unit).finditer(clause):
        value = 2 if match["couple"] else 1
        yield Mention(value * _scale(issue.unit, match["unit"]), match.start(), match.end())


def _bare(clause: str, match: re.Match, value: int, issue: Issue) -> bool:
    before = clause[: match.start()]
    if value in _YEARS and _YEAR_BEFORE.search(before):
        return False
    if (
        value < _BARE_SHARE * min(issue.options)
        or _UNRELATED_BEFORE.search(before)
        or not _AFTER.match(clause, match.end())
    ):
        return False
    if issue.unit == "$" and value > _SMALL_COUNT:
        return True
    return bool(_CUE_BEFORE.search(before)) and match["words"] != "one"


def _value(match: re.Match) -> int | None:
    if match["words"]:
        return number_in_words(match["words"])
    if match["decimals"] and match["decimals"].strip(".0") and not match["kilo"]:
        return None
    digits = match["digits"].replace(",", "")
    if match["kilo"]:
        return int(float(digits + (match["decimals"] or "")) * 1000)
    return int(digits)


def number_in_words(words: str) -> int:
    """`eighty-five` -> 85, `a hundred and twenty` -> 120, `one fifty` -> 150, `twelve hundred` -> 1200."""
    total, current, last = 0, 0, ""
    for word in re.split(r"[\s-]+", words.strip()):
        if word == "hundred":
            current = max(current, 1) * 100
        elif word == "thousand":
            total, current = total + max(current, 1) * 1000, 0
        elif word in _TENS:
            current = current * 100 + _TENS[word] if last in _SMALL and current else current + _TENS[word]
        elif word in _SMALL:
            current += _SMALL[word]
        last = word
    return total + current


@lru_cache(maxsize=256)
def _unit_pattern(unit: str) -> re.Pattern:
    words = "|".join(_unit_words(unit))
    return re.compile(rf"[\s-]?(?:full |whole |more )?({words})\b(?! (?:ago|old|earlier|away|straight|later)\b)")


@lru_cache(maxsize=256)
def _vague_pattern(unit: str) -> re.Pattern:
    words = "|".join(_unit_words(unit))
    return re.compile(
        rf"(?<!times )(?<!twice )(?<!once )(?<!{re.escape(unit)} )(?<!\d )\b(?:(?:a"
        rf"|the) (?P<couple>couple(?: of)? )|an? (?:full |whole |single )?)"
        rf"(?P<unit>{words})\b(?! (?:ago|old|or (?:two|so)|earlier|later|job|off)\b)"
    )


def _unit_words(unit: str) -> list[str]:
    one = _singular(unit)
    longer = [large for small, large in _SCALE if small == one and (one, large) != ("hour", "day")]
    short = {"hour": ["hrs?"], "minute": ["mins?"]}.get(one, [])
    return [f"{re.escape(word)}s?" for word in [one, *longer]] + short


def _scale(unit: str, said: str) -> int:
    return _SCALE.get((_singular(unit), _singular(said)), 1)


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") else word
