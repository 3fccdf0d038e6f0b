"""Sotopia's profiles: characters, relationships, scenarios and who plays them, as JSON Lines in and out.

What is read is kept beside the record it came from, so that writing back gives the same records: fields we have no
place for stay as they came, and only what was changed here since is written anew.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from sotopia_pi.formats.record_lines import Refusal, Unreadable, built, converted, id_of, needed, read_records
from sotopia_pi.formats.sotopia_constraints import Constraints
from sotopia_pi.store.items import write_items
from sotopia_pi.world.characters import Character, RelatedPair, Relationship
from sotopia_pi.world.tasks import Scenario

T = TypeVar("T")

CHARACTERS, RELATIONSHIPS = "agent_profiles.jsonl", "relationship_profiles.jsonl"
SCENARIOS, COMBINATIONS = "environment_profiles.jsonl", "env_agent_combo_storages.jsonl"
HARD = "hard_env_ids.jsonl"
"""Ids of the scenarios that the publishers call hard; may be absent."""

AGENT_ID = ("agent_id", "pk")
ENV_ID = ("env_id", "scenario_id", "pk")
RELATIONSHIP_ID = ("relationship_id", "pk")
COMBO_ID = ("combo_id", "pk")
FIRST_ID, SECOND_ID = ("agent1_id", "agent_1_id"), ("agent2_id", "agent_2_id")
"""The spellings of a field in the published versions; the first one is written."""

_FOR_ONE_VIEWER = re.compile(r"\s*<p\s+viewer=[^>]*>.*?</p>", re.DOTALL)
_TEXTS = (
    "last_name", "gender", "gender_pronoun", "occupation", "public_info", "big_five", "personality_and_values",
    "decision_making_style", "secret", "mbti",
)  # fmt: skip
_LISTS = ("moral_values", "schwartz_personal_values")


@dataclass(frozen=True)
class Combination:
    """Who plays a scenario: agent_ids[i] is side i."""

    id: str
    env_id: str
    agent_ids: tuple[str, str]


@dataclass(frozen=True)
class Profile(Generic[T]):
    """Something published, as ours, and the record it came from. record: {} for what was made here."""

    value: T
    record: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class SotopiaProfiles:
    """Everything a folder of profiles holds. refused: records that were not taken over, and why.

    hard: ids of hard scenarios; remarks: what was taken over but should be looked at, in the form of refusals.
    """

    characters: tuple[Profile[Character], ...] = ()
    relationships: tuple[Profile[RelatedPair], ...] = ()
    scenarios: tuple[Profile[Scenario], ...] = ()
    combinations: tuple[Profile[Combination], ...] = ()
    hard: frozenset[str] = frozenset()
    refused: tuple[Refusal, ...] = ()

    def write(self, folder: Path | str) -> None:
        """The four profile files, and the list of hard scenarios where there are any."""
        folder = Path(folder)
        for name, profiles, record_of, read in (
            (CHARACTERS, self.characters, character_record, read_character),
            (RELATIONSHIPS, self.relationships, relationship_record, read_relationship),
            (SCENARIOS, self.scenarios, scenario_record, read_scenario),
            (COMBINATIONS, self.combinations, combination_record, read_combination),
        ):
            write_items(folder / name, [written(profile, record_of, read) for profile in profiles])
        if self.hard:
            write_items(folder / HARD, [{"env_id": env_id} for env_id in sorted(self.hard)])


def read_profiles(folder: Path | str) -> SotopiaProfiles:
    """The profiles of a folder. Files that are absent leave their part empty; ids occur once, the first one counts.

    Raises FileNotFoundError when the folder holds none of the four files.
    """
    folder = Path(folder)
    files = (CHARACTERS, RELATIONSHIPS, SCENARIOS, COMBINATIONS)
    if not any((folder / name).is_file() for name in files):
        raise FileNotFoundError(f"{folder} holds none of {', '.join(files)}; name the folder that the profiles lie in")
    refused: list[Refusal] = []
    return SotopiaProfiles(
        characters=_profiles(folder / CHARACTERS, AGENT_ID, read_character, refused),
        relationships=_profiles(folder / RELATIONSHIPS, RELATIONSHIP_ID, read_relationship, refused),
        scenarios=_profiles(folder / SCENARIOS, ENV_ID, read_scenario, refused),
        combinations=_profiles(folder / COMBINATIONS, COMBO_ID, read_combination, refused),
        hard=_hard(folder / HARD, refused),
        refused=tuple(refused),
    )


def read_character(body: Mapping[str, Any]) -> Character:
    """A character of an agent profile; texts that are absent are empty. Raises Unreadable."""
    fields: dict[str, Any] = {name: _text(body, name) for name in _TEXTS}
    fields |= {name: _stripped_list(body, name) for name in _LISTS}
    person = {
        "id": needed(body, AGENT_ID, str),
        "first_name": needed(body, ("first_name",), str),
        "age": _whole(body, "age"),
    }
    return built(lambda: Character(**person, **fields))


def read_relationship(body: Mapping[str, Any]) -> RelatedPair:
    """The pair of a relationship profile. Raises Unreadable."""
    first, second = needed(body, FIRST_ID, str), needed(body, SECOND_ID, str)
    if first == second:
        raise Unreadable(f"both agents are {first!r}; a relationship has two people; mend or drop it")
    return RelatedPair(first, second, _level(body), _text(body, "background_story"))


def read_scenario(body: Mapping[str, Any]) -> Scenario:
    """The scenario of an environment profile; its template is the published id. Raises Unreadable.

    age_range spans what both sides may be; `Constraints.of` has the exact constraints.
    """
    goals = needed(body, ("agent_goals",), list)
    if len(goals) != 2 or not all(isinstance(goal, str) for goal in goals):
        raise Unreadable(f"agent_goals has {len(goals)} entries; it takes two texts, one a side; mend it")
    ages = Constraints.of(dict(body)).widest_ages
    return built(
        lambda: Scenario(
            template=needed(body, ENV_ID, str),
            codename=_text(body, "codename"),
            source=_text(body, "source"),
            text=public_text(needed(body, ("scenario",), str)),
            goals=tuple(goals),
            relationship=_level(body),
            **({"age_range": ages} if ages else {}),
        )
    )


def public_text(text: str) -> str:
    """A situation without the parts that are marked for one viewer alone (`<p viewer="environment">…</p>`).

    They hold what the judge may know and the sides must find out, the name of a mutual friend for instance.
    """
    return _FOR_ONE_VIEWER.sub("", text).strip()


def read_combination(body: Mapping[str, Any]) -> Combination:
    """Who plays a scenario, in speaking order. Raises Unreadable."""
    ids = needed(body, ("agent_ids",), list)
    if len(ids) != 2 or not all(isinstance(one, str) for one in ids) or ids[0] == ids[1]:
        raise Unreadable(f"agent_ids is {ids!r}; it takes the ids of two different agents; mend or drop it")
    return Combination(needed(body, COMBO_ID, str), needed(body, ENV_ID[:2], str), tuple(ids))


def character_record(person: Character) -> dict[str, Any]:
    """A character as an agent profile."""
    body = person.to_dict()
    return {"agent_id": body.pop("id"), **{k: list(v) if isinstance(v, tuple) else v for k, v in body.items()}}


def relationship_record(pair: RelatedPair) -> dict[str, Any]:
    """A pair as a relationship profile; its id is made of the two and the level."""
    return {
        "relationship_id": f"{pair.first}-{pair.second}-{int(pair.level)}",
        "agent1_id": pair.first,
        "agent2_id": pair.second,
        "relationship": str(int(pair.level)),
        "background_story": pair.story,
    }


def scenario_record(scenario: Scenario) -> dict[str, Any]:
    """A scenario as an environment profile."""
    return {
        "env_id": scenario.template,
        "codename": scenario.codename,
        "source": scenario.source,
        "scenario": scenario.text,
        "agent_goals": list(scenario.goals),
        "relationship": str(int(scenario.relationship)),
        "age_constraint": str([tuple(scenario.age_range)] * 2),
        "occupation_constraint": "nan",
        "agent_constraint": "none",
    }


def combination_record(combination: Combination) -> dict[str, Any]:
    """A combination as it is stored."""
    return {"combo_id": combination.id, "env_id": combination.env_id, "agent_ids": list(combination.agent_ids)}


def written(
    profile: Profile[T], record_of: Callable[[T], dict[str, Any]], read: Callable[[Mapping[str, Any]], T]
) -> dict[str, Any]:
    """A profile's record: as it came, with the fields in which its value differs from what the record says."""
    now = record_of(profile.value)
    if not profile.record:
        return now
    came = record_of(read(profile.record))
    return {**profile.record, **{name: value for name, value in now.items() if value != came[name]}}


def _profiles(
    path: Path, id_fields: tuple[str, ...], read: Callable[[Mapping[str, Any]], T], refused: list[Refusal]
) -> tuple[Profile[T], ...]:
    if not path.is_file():
        return ()
    found: list[Profile[T]] = []
    lines: dict[str, int] = {}
    for record, value in converted(read_records(path, refused), id_fields, lambda record: read(record.body), refused):
        known_as = id_of(record.body, id_fields)
        if known_as in lines:
            reason = f"the id occurs in line {lines[known_as]} already; ids are unique, rename or drop one of them"
            refused.append(Refusal(record.file, record.line, known_as, reason))
            continue
        if known_as:
            lines[known_as] = record.line
        found.append(Profile(value, record.body, record.file, record.line))
    return tuple(found)


def _hard(path: Path, refused: list[Refusal]) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    records = read_records(path, refused)
    return frozenset(value for _, value in converted(records, ENV_ID, lambda r: needed(r.body, ENV_ID, str), refused))


def _text(body: Mapping[str, Any], name: str) -> str:
    return "" if body.get(name) is None else needed(body, (name,), str)


def _stripped_list(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Published lists were cut at commas, so that entries begin with a blank."""
    values = [] if body.get(name) is None else needed(body, (name,), list)
    if not all(isinstance(value, str) for value in values):
        raise Unreadable(f"{name} is {values!r}; it takes a list of texts; mend it")
    return tuple(value.strip() for value in values)


def _whole(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else needed(body, (name,), int)


def _level(body: Mapping[str, Any]) -> Relationship:
    """Published as a number or as a number in a text."""
    level = _whole(body, "relationship")
    if level not in set(Relationship):
        known = ", ".join(f"{one.value} {one.name.lower()}" for one in Relationship)
        raise Unreadable(f"relationship is {level}; it is one of {known}; mend it")
    return Relationship(level)
