"""Characters of a text that nobody sees, whoever shows it: what they are, and how they are told."""

import unicodedata

_KINDS = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Joiners, fillers and a blank pattern: letters and marks by their kind, yet nothing to see."""


def is_unseen(character: str) -> bool:
    """Whether it turns the reading direction, controls something, ends a line, or has no width or no ink."""
    return unicodedata.category(character) in _KINDS or character in _BLANK_LETTERS


def by_number(character: str) -> str:
    """`U+202E`."""
    return f"U+{ord(character):04X}"
