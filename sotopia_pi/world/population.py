"""The people and situations the product brings along: characters, pairs, inspirational prompts, scenario templates.

They lie as JSON Lines in `sotopia_pi/world/data/`. Every loader is cached and checks each line; an error names the
file, the line, what came, what is allowed and what to do.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from sotopia_pi.world.characters import Character, RelatedPair, Relationship

T = TypeVar("T")

PROMPT_KINDS = ("social_chemistry", "social_iqa", "normbank")
SPLITS = ("train_bc", "train_sr", "eval")
FAMILY_FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bargaining": ("items",),
        "division": ("items",),
        "meeting": ("days", "hours", "places"),
        "favour": ("thing", "unit", "low", "high", "ask", "reasons"),
        "cost_sharing": ("items",),
    }
)
"""What a template of each family brings besides the common fields."""
FILLS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "bargaining": frozenset({"item"}),
        "division": frozenset({"items"}),
        "meeting": frozenset(),
        "favour": frozenset({"thing", "unit"}),
        "cost_sharing": frozenset({"bill", "total"}),
    }
)
"""The placeholders that stand in the text of every template of a family."""


class DataError(ValueError):
    """A line of a data file is not what it should be."""


@dataclass(frozen=True)
class InspirationalPrompt:
    """A short everyday text from which one social task grows.

    kind: `social_chemistry` (a situation), `social_iqa` (a context) or `normbank` (a behavior in a setting).
    """

    id: str
    kind: str
    text: str

    def __post_init__(self):
        if self.kind not in PROMPT_KINDS:
            raise ValueError(f"prompt {self.id}: kind {self.kind!r} is not one of {', '.join(PROMPT_KINDS)}")
        if not self.text.strip():
            raise ValueError(f"prompt {self.id}: the text is empty; write one sentence or drop the line")


@dataclass(frozen=True)
class ScenarioTemplate:
    """Surface form and structure of a scenario; all tasks drawn from one template are one cluster in statistics.

    prompt: id of the inspirational prompt it grew from. relationships: admissible levels. text: the public situation
    with the placeholders of `FILLS`. fields: what the family draws its private numbers from (`FAMILY_FIELDS`).
    """

    id: str
    family: str
    split: str
    prompt: str
    relationships: tuple[Relationship, ...]
    codename: str
    text: str
    fields: Mapping[str, Any]

    def __post_init__(self):
        object.__setattr__(
            self,
            "relationships",
            tuple(Relationship(level) for level in self.relationships),
        )
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))
        if self.family not in FAMILY_FIELDS:
            raise ValueError(f"template {self.id}: family {self.family!r} is not one of {', '.join(FAMILY_FIELDS)}")
        if self.split not in SPLITS:
            raise ValueError(f"template {self.id}: split {self.split!r} is not one of {', '.join(SPLITS)}")
        if not self.relationships:
            raise ValueError(f"template {self.id}: no relationship level is allowed; name at least one of 0 to 5")
        self._check_fields()

    def _check_fields(self) -> None:
        wanted, came = set(FAMILY_FIELDS[self.family]), set(self.fields)
        if wanted != came:
            raise ValueError(
                f"template {self.id}: fields {sorted(came)} came, a {self.family} template has {sorted(wanted)}; "
                f"add {sorted(wanted - came)}, drop {sorted(came - wanted)}"
            )
        placeholders = set(re.findall(r"\{(\w+)\}", self.text))
        if placeholders != FILLS[self.family]:
            raise ValueError(
                f"template {self.id}: the text has the placeholders {sorted(placeholders)}, "
                f"a {self.family} text has exactly {sorted(FILLS[self.family])}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The flat record, as it stands in the file."""
        common = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "fields"}
        return common | {"relationships": [int(level) for level in self.relationships]} | dict(self.fields)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "ScenarioTemplate":
        common = {f.name for f in fields(cls)} - {"fields"}
        own = {key: value for key, value in record.items() if key in common}
        return cls(
            **own,
            fields={key: value for key, value in record.items() if key not in common},
        )


@cache
def characters() -> Mapping[str, Character]:
    """All characters by id, in file order."""
    return MappingProxyType(_by_id("characters.jsonl", Character.from_dict))


def related_pairs(level: Relationship | int | None = None) -> tuple[RelatedPair, ...]:
    """Pairs of character ids that stand in a relationship; of every level where none is named."""
    return tuple(pair for pair in _all_pairs() if level is None or pair.level == level)


def inspirational_prompts(kind: str | None = None) -> tuple[InspirationalPrompt, ...]:
    """Inspirational prompts, of every kind where none is named. Raises ValueError for an unknown kind."""
    _known(kind, PROMPT_KINDS, "prompt kind")
    return tuple(prompt for prompt in _all_prompts().values() if kind in (None, prompt.kind))


def scenario_templates(family: str | None = None, split: str | None = None) -> tuple[ScenarioTemplate, ...]:
    """Scenario templates in file order. Raises ValueError for an unknown family or split."""
    _known(family, tuple(FAMILY_FIELDS), "family")
    _known(split, SPLITS, "split")
    return tuple(t for t in _all_templates().values() if family in (None, t.family) and split in (None, t.split))


def pairs_for(
    level: Relationship | int, age_range: tuple[int, int], rng: np.random.Generator
) -> list[tuple[Character, Character, str]]:
    """(first, second, story) of a level with both ages inside the range (years, both ends included), shuffled.

    Who of a pair comes first is drawn as well. Raises ValueError where no pair is left.
    """
    youngest, oldest = age_range
    people = characters()
    fitting = []
    for pair in related_pairs(level):
        first, second = people[pair.first], people[pair.second]
        if all(youngest <= person.age <= oldest for person in (first, second)):
            fitting.append((first, second, pair.story))
    if not fitting:
        raise ValueError(
            f"no pair of relationship level {int(level)} has both ages in {youngest} to {oldest}; "
            f"levels are 0 to 5, ages 18 to 70: widen the range or choose another level"
        )
    turned = [(b, a, story) if rng.random() < 0.5 else (a, b, story) for a, b, story in fitting]
    return [turned[i] for i in rng.permutation(len(turned))]


@cache
def _all_pairs() -> tuple[RelatedPair, ...]:
    name, pairs, seen = "relationships.jsonl", [], set()
    for number, pair in _records(name, RelatedPair.from_dict):
        unknown = {pair.first, pair.second} - set(characters())
        key = frozenset((pair.first, pair.second))
        if unknown or len(key) < 2 or key in seen:
            wrong = (
                f"unknown character {sorted(unknown)}"
                if unknown
                else "not two people"
                if len(key) < 2
                else "listed twice"
            )
            raise DataError(
                f"{name}, line {number}: pair {pair.first} and {pair.second}: {wrong}; mend or drop the line"
            )
        seen.add(key)
        pairs.append(pair)
    return tuple(pairs)


@cache
def _all_prompts() -> dict[str, InspirationalPrompt]:
    return _by_id("prompts.jsonl", lambda record: InspirationalPrompt(**record))


@cache
def _all_templates() -> dict[str, ScenarioTemplate]:
    templates = _by_id("templates.jsonl", ScenarioTemplate.from_dict)
    used: dict[str, str] = {}
    for template in templates.values():
        if template.prompt not in _all_prompts():
            raise DataError(
                f"templates.jsonl: template {template.id} grew from prompt {template.prompt!r}, not in prompts.jsonl"
            )
        if template.prompt in used:
            raise DataError(
                f"templates.jsonl: templates {used[template.prompt]} and {template.id} both grew from prompt "
                f"{template.prompt!r}; a prompt is used once, give one of them another"
            )
        used[template.prompt] = template.id
    return templates


def _by_id(name: str, from_dict: Callable[[dict[str, Any]], T]) -> dict[str, T]:
    found: dict[str, T] = {}
    for number, thing in _records(name, from_dict):
        if thing.id in found:
            raise DataError(f"{name}, line {number}: id {thing.id!r} occurs twice; ids are unique, rename one")
        found[thing.id] = thing
    return found


def _records(name: str, from_dict: Callable[[dict[str, Any]], T]) -> list[tuple[int, T]]:
    """(line number, object) of every line of a data file of the package."""
    text = files("sotopia_pi.world").joinpath("data", name).read_text(encoding="utf-8")
    return parse_lines(name, text, from_dict)


def parse_lines(name: str, text: str, from_dict: Callable[[dict[str, Any]], T]) -> list[tuple[int, T]]:
    """(1-based line number, object) of every line that is not blank. Raises DataError naming file and line."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append((number, from_dict(json.loads(line))))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{name}, line {number}: {error}; the line begins {line[:60]!r}; mend or drop it"
            ) from error
    return found


def _known(value: str | None, allowed: tuple[str, ...], what: str) -> None:
    if value is not None and value not in allowed:
        raise ValueError(f"{what} {value!r} is not known; it is one of {', '.join(allowed)}")
