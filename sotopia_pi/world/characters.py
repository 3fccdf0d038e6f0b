"""Characters, their relationships, and what one may see of the other."""

from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from typing import Any


class Relationship(IntEnum):
    """Relationship level between two characters (SOTOPIA's coding)."""

    STRANGER = 0
    KNOW_BY_NAME = 1
    ACQUAINTANCE = 2
    FRIEND = 3
    ROMANTIC = 4
    FAMILY = 5


@dataclass(frozen=True)
class Character:
    """One of the role-played people, with every field of a SOTOPIA agent profile.

    age: years, in [18, 70]. `secret` is never shown to anybody else.
    """

    id: str
    first_name: str
    last_name: str
    age: int
    gender: str
    gender_pronoun: str
    occupation: str
    public_info: str
    big_five: str
    moral_values: tuple[str, ...]
    schwartz_personal_values: tuple[str, ...]
    personality_and_values: str
    decision_making_style: str
    secret: str
    mbti: str

    def __post_init__(self):
        object.__setattr__(self, "moral_values", tuple(self.moral_values))
        object.__setattr__(self, "schwartz_personal_values", tuple(self.schwartz_personal_values))
        if not 18 <= self.age <= 70:
            raise ValueError(f"character {self.id}: age {self.age} is outside 18 to 70")

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Character":
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in record.items() if key in known})


@dataclass(frozen=True)
class RelatedPair:
    """Two characters who stand in a relationship, and the story behind it."""

    first: str
    second: str
    level: Relationship
    story: str

    def to_dict(self) -> dict[str, Any]:
        return {"first": self.first, "second": self.second, "level": int(self.level), "story": self.story}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "RelatedPair":
        return cls(record["first"], record["second"], Relationship(record["level"]), record["story"])


def visible_profile(other: Character, level: Relationship | int) -> dict[str, str]:
    """What a side may see of the other's profile at a relationship level (SOTOPIA's rule).

    stranger: nothing; know-by-name: the name; acquaintance: also age, gender, pronouns,
    occupation and public information; friend and closer: also personality and values.
    A secret is never among them.
    """
    shown: dict[str, str] = {}
    if level >= Relationship.KNOW_BY_NAME:
        shown["name"] = other.name
    if level >= Relationship.ACQUAINTANCE:
        shown |= {
            "age": str(other.age),
            "gender": other.gender,
            "pronouns": other.gender_pronoun,
            "occupation": other.occupation,
            "public_info": other.public_info,
        }
    if level >= Relationship.FRIEND:
        shown |= {
            "personality_and_values": other.personality_and_values,
            "big_five": other.big_five,
            "moral_values": ", ".join(other.moral_values),
            "schwartz_personal_values": ", ".join(other.schwartz_personal_values),
            "decision_making_style": other.decision_making_style,
        }
    return shown
