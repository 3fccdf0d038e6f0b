"""Choices: the ways people name a day, an hour or a place that is one of an issue's options."""

import re
from collections.abc import Iterator
from functools import lru_cache

from sotopia_pi.world.payoffs import Issue
from sotopia_pi.world.reader_amounts import Mention

_SHORT_DAYS = {
    "monday": "mon",
    "tuesday": "tues?",
    "wednesday": "weds?",
    "thursday": "thu(?:rs?)?",
    "friday": "fri",
}
"""`sat` and `sun` are words of their own, so those days must be written out."""
_HOURS = ["twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
_CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))? ?(am|pm)?")
_ARTICLE = r"(?:the |a |an |my |your |our |that )?"


def choices(clause: str, issue: Issue) -> Iterator[Mention]:
    """Every option of a choice issue that a plain clause names."""
    for option, pattern in _patterns(issue):
        for match in pattern.finditer(clause):
            yield Mention(option, match.start(), match.end())


@lru_cache(maxsize=1024)
def _patterns(issue: Issue) -> tuple[tuple[str, re.Pattern], ...]:
    found = []
    for option in issue.options:
        words = str(option).lower().strip()
        clock = _CLOCK.fullmatch(words)
        if clock and (clock[2] or clock[3]):
            ways = _clock_ways(clock, issue)
        elif words in ("noon", "midday"):
            ways = ["noon", "midday", "12 ?pm", "12:00", "twelve oclock"]
        elif words in _SHORT_DAYS:
            ways = [words + "s?", _SHORT_DAYS[words]]
        else:
            ways = _name_ways(words, issue)
        found.append((option, re.compile(rf"(?<![\w$:.]){'(?:' + '|'.join(ways) + ')'}(?![\w:])")))
    return tuple(found)


def _clock_ways(clock: re.Match, issue: Issue) -> list[str]:
    """`2 pm`, `2pm`, `14:00`, `two o'clock`, `2 in the afternoon`; `at 2` where no other option has that hour."""
    hour, minutes, half = int(clock[1]), clock[2] or "00", clock[3]
    on_clock = hour % 12 or 12
    day_hour = hour if half is None else hour % 12 + (12 if half == "pm" else 0)
    half = half or ("pm" if day_hour >= 12 else "am")
    word = _HOURS[on_clock % 12]
    part = "morning" if half == "am" else "(?:afternoon|evening)"
    numbers = f"(?:{on_clock}(?::00)?|{word})" if minutes == "00" else f"{on_clock}[:.]{minutes}"
    if minutes == "30":
        numbers = f"(?:{numbers}|half past {word}|{word} thirty)"
    ways = [
        f"{numbers} ?{half}",
        f"{numbers} (?:oclock )?(?:in the|this|that) {part}",
        f"0?{day_hour}:{minutes}(?! ?(?:am|pm))",
    ]
    if day_hour == 12 and minutes == "00":
        ways += ["noon", "midday"]
    if sum(_same_clock(str(other), on_clock, minutes) for other in issue.options) == 1:
        unit = r"(?! ?(?:am|pm|hours?|minutes?|dollars?|people|days?|or))"
        ways += [
            f"{numbers} oclock",
            f"(?:(?<=at )|(?<=around ))(?:about |around )?{numbers}{unit}",
            f"{numbers}(?= (?:works|sharp|sounds|is (?:fine|good)|it is))",
        ]
        ways += [f"{on_clock}:{minutes}(?! ?(?:am|pm))"]
        if minutes != "00":
            ways.append(numbers)
        ways.append(f"(?<=make it ){numbers}{unit}|(?<=about ){numbers}{unit}(?=$)|(?<=do ){numbers}{unit}(?=$)")
    return ways


def _same_clock(option: str, hour: int, minutes: str) -> bool:
    clock = _CLOCK.fullmatch(option.lower().strip())
    return bool(clock) and (int(clock[1]) % 12 or 12) == hour and (clock[2] or "00") == minutes


def _name_ways(words: str, issue: Issue) -> list[str]:
    """The name without its article, and its last word where no other option has it."""
    name = re.sub(r"^(?:the|a|an|my|your|our) ", "", words)
    parts = re.split(r"[\s-]+", name)
    ways = [_ARTICLE + r"[\s-]".join(re.escape(part) for part in parts)]
    others = {
        word for option in issue.options for word in re.split(r"[\s-]+", str(option).lower()) if option.lower() != words
    }
    if len(parts) > 1 and parts[-1] not in others and parts[0] not in _PREPOSITIONS:
        ways.append(_ARTICLE + re.escape(parts[-1]))
    return ways


_PREPOSITIONS = frozenset(["at", "by", "in", "on", "over", "near", "with", "via", "from"])
