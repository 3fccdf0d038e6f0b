"""Leaks: whether a text gives a secret away, word for word or nearly so."""

import re
import unicodedata
from collections.abc import Sequence

LEAST_SHARE = 0.6
"""Share of a secret's content words a text must repeat, in order. Paraphrases in a person's own voice ("I once stole
from the till" for "She once stole money from the till") keep over this; talk about the same topic stays under half."""
LEAST_WORDS = 3
"""Content words that must match at the least, so that ordinary talk sharing a word or two never counts."""
VERBATIM_RUN = 5
"""So many words of the secret in one unbroken run count by themselves, when LEAST_WORDS of them have content."""
WINDOW = 2
"""Neighbouring sentences read together: a secret is told in one breath; in a long talk its words come up by chance."""

_STOP_WORDS = (
    "a an the and or but if so as of to in on at by for from with without about into over than then that this "
    "these those there here it its he him his she her hers they them their theirs i me my mine we us our you "
    "your yours who whom which what when where how why is am are was were be been being do does did done has "
    "have had having will would can could shall should may might must no not never ever just very really quite "
    "too also only even still yet once all any some more most much many such own other another because while "
    "during after before until up down out off again s t d ll m re ve don didn isn wasn won let get got go "
    "going went know think want one someone something anyone anything secretly actually currently recently "
)
_STOP = frozenset(_STOP_WORDS.split())
_ENDINGS = ("ings", "ing", "edly", "ies", "ied", "ed", "es", "ly", "s", "e", "y")


def leaked(secret: str, text: str) -> bool:
    """True when `text` tells `secret` verbatim or nearly so.

    Case, punctuation, person ("she" for "I") and word endings do not matter, order does. An empty secret cannot
    leak; a secret of fewer than LEAST_WORDS content words leaks only when all of them are said in one breath.
    """
    hidden = words(secret)
    core = content(hidden)
    if not core:
        return False
    told = [words(sentence) for sentence in re.split(r"(?<=[.!?;])\s+|\n+", text)]
    needed = max(min(LEAST_WORDS, len(core)), _ceil(LEAST_SHARE * len(core)))
    for start in range(max(1, len(told) - WINDOW + 1)):
        breath = [word for sentence in told[start : start + WINDOW] for word in sentence]
        if common_in_order(core, content(breath)) >= needed or _runs_along(hidden, breath):
            return True
    return False


def words(text: str) -> list[str]:
    """Lower-case words and numbers of a text, without accents."""
    text = unicodedata.normalize("NFKD", text.lower().replace("’", "'").replace(",", ""))
    return re.findall(r"[a-z]+|\d+", "".join(c for c in text if not unicodedata.combining(c)))


def content(found: Sequence[str]) -> list[str]:
    """The stems of the words that carry content."""
    return [_stem(word) for word in found if word not in _STOP]


def common_in_order(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence of two word lists."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for column, other in enumerate(second, 1):
            diagonal, row[column] = row[column], diagonal + 1 if word == other else max(row[column], row[column - 1])
    return row[-1]


def _runs_along(hidden: Sequence[str], breath: Sequence[str]) -> bool:
    runs = {tuple(breath[i : i + VERBATIM_RUN]) for i in range(len(breath) - VERBATIM_RUN + 1)}
    for start in range(len(hidden) - VERBATIM_RUN + 1):
        run = tuple(hidden[start : start + VERBATIM_RUN])
        if run in runs and len(content(run)) >= LEAST_WORDS:
            return True
    return False


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _ceil(value: float) -> int:
    return int(-(-value // 1))
