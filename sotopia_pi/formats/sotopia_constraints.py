"""Whom a published scenario admits: constraints that are written as Python lists inside a text."""

import ast
from dataclasses import dataclass
from typing import Any

from sotopia_pi.formats.record_lines import Unreadable
from sotopia_pi.world.characters import Character

NOTHING = frozenset({"", "nan", "none", "null", "[]"})
"""The spellings of "no constraint" in published files."""
LONGEST = 20_000
"""Characters of a constraint's text; published ones stay below 200."""


@dataclass(frozen=True)
class Constraints:
    """Per side: ages from youngest to oldest (years, both included), occupations; pairs of agent ids. None: any."""

    ages: tuple[tuple[int, int], tuple[int, int]] | None = None
    occupations: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    pairs: tuple[tuple[str, ...], ...] | None = None

    @classmethod
    def of(cls, body: dict[str, Any]) -> "Constraints":
        """Of an environment profile. Raises Unreadable."""
        return cls(
            _ages(body.get("age_constraint")),
            _words("occupation_constraint", body.get("occupation_constraint"), 2),
            _words("agent_constraint", body.get("agent_constraint")),
        )

    @property
    def widest_ages(self) -> tuple[int, int] | None:
        """From the youngest to the oldest that either side may be."""
        return (min(low for low, _ in self.ages), max(high for _, high in self.ages)) if self.ages else None

    def broken_by(self, characters: tuple[Character, Character]) -> list[str]:
        """What stands against these two, in words; [] where they fit."""
        found = []
        for side, one in enumerate(characters):
            if self.ages and not self.ages[side][0] <= one.age <= self.ages[side][1]:
                low, high = self.ages[side]
                found.append(f"side {side}: {one.name} is {one.age}, age_constraint says {low} to {high}")
            wanted = {word.lower() for word in self.occupations[side]} if self.occupations else set()
            if wanted and one.occupation.lower() not in wanted:
                found.append(f"side {side}: {one.name} is {one.occupation}, occupation_constraint says otherwise")
        if self.pairs and tuple(one.id for one in characters) not in self.pairs:
            found.append("agent_constraint does not name this pair")
        return found


def read_literal(name: str, value: Any) -> Any:
    """The list that a constraint's text spells out, None for no constraint. Nothing in the text is ever run.

    A list that came as a list is taken as it is. Raises Unreadable naming the field.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in NOTHING) or value == []:
        return None
    if isinstance(value, list):
        return value
    try:
        if not isinstance(value, str) or len(value) > LONGEST:
            raise ValueError(f"{type(value).__name__} of length {len(str(value))}")
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise Unreadable(
            f"{name} is {str(value)[:60]!r}; it takes a list like '[(18, 70), (18, 70)]', or 'none'; mend it"
        ) from error


def _ages(value: Any) -> tuple[tuple[int, int], tuple[int, int]] | None:
    ranges = read_literal("age_constraint", value)
    if ranges is None:
        return None
    try:
        (low, high), (low_too, high_too) = ranges
    except (TypeError, ValueError):
        low = high = low_too = high_too = None
    ends = (low, high, low_too, high_too)
    if not all(isinstance(end, int) and not isinstance(end, bool) for end in ends) or low > high or low_too > high_too:
        raise Unreadable(
            f"age_constraint is {str(value)[:60]!r}; it takes two ranges of years, one a side, like "
            f"'[(18, 70), (18, 70)]'; mend it"
        )
    return (low, high), (low_too, high_too)


def _words(name: str, value: Any, length: int | None = None) -> tuple[tuple[str, ...], ...] | None:
    lists = read_literal(name, value)
    if lists is None:
        return None
    is_lists = isinstance(lists, list | tuple) and all(isinstance(one, list | tuple) for one in lists)
    if not is_lists or not all(isinstance(word, str) for one in lists for word in one):
        raise Unreadable(f"{name} is {str(value)[:60]!r}; it takes a list of lists of texts, or 'nan'; mend it")
    if length is not None and len(lists) != length:
        raise Unreadable(f"{name} has {len(lists)} lists; it takes {length}, one a side; mend it")
    return tuple(tuple(one) for one in lists)
