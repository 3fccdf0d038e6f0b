"""Scenarios and social tasks: the situation, two private goals, two characters, and perhaps a payoff."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sotopia_pi.store.items import content_id
from sotopia_pi.world.characters import Character, Relationship
from sotopia_pi.world.payoffs import Payoff

_HINT_TAGS = re.compile(r"</?(extra_info|strategy_hint|clarification_hint)>")


def shown_goal(goal: str) -> str:
    """A goal as its owner reads it: the hint tags gone, their content kept."""
    return re.sub(r"\s+", " ", _HINT_TAGS.sub("", goal)).strip()


@dataclass(frozen=True)
class Scenario:
    """Situation text, two social goals, relationship level, constraints.

    template: id of the scenario template it was drawn from, the cluster of every statistic.
    goals: with hint tags as in SOTOPIA; goals[i] is private to side i.
    """

    template: str
    codename: str
    source: str
    text: str
    goals: tuple[str, str]
    relationship: Relationship
    age_range: tuple[int, int] = (18, 70)

    def __post_init__(self):
        object.__setattr__(self, "goals", tuple(self.goals))
        object.__setattr__(self, "age_range", tuple(self.age_range))
        object.__setattr__(self, "relationship", Relationship(self.relationship))
        if len(self.goals) != 2 or not all(g.strip() for g in self.goals):
            raise ValueError(f"scenario {self.codename!r} needs exactly two goals, got {len(self.goals)}")

    def to_dict(self) -> dict[str, Any]:
        return {
            "template": self.template,
            "codename": self.codename,
            "source": self.source,
            "text": self.text,
            "goals": list(self.goals),
            "relationship": int(self.relationship),
            "age_range": list(self.age_range),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Scenario":
        return cls(**record)


@dataclass(frozen=True)
class SocialTask:
    """A scenario with two characters, and a payoff when its goals can be checked by rule.

    characters[i] plays side i; side 0 speaks first. split: "bc", "sr" or "eval".
    hard: decided by a rule that looks at the task and never at play.
    """

    scenario: Scenario
    characters: tuple[Character, Character]
    background: str = ""
    payoff: Payoff | None = None
    split: str = "eval"
    hard: bool = False
    has_zone: bool = True

    def __post_init__(self):
        object.__setattr__(self, "characters", tuple(self.characters))

    @cached_property
    def id(self) -> str:
        """Hash of everything above, computed once: it is asked for at every turn."""
        return content_id("task", self._body())

    @property
    def template(self) -> str:
        return self.scenario.template

    @property
    def family(self) -> str:
        return self.payoff.family if self.payoff else "judged"

    def _body(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario.to_dict(),
            "characters": [c.to_dict() for c in self.characters],
            "background": self.background,
            "payoff": self.payoff.to_dict() if self.payoff else None,
            "split": self.split,
            "hard": self.hard,
            "has_zone": self.has_zone,
        }

    def to_dict(self) -> dict[str, Any]:
        return {"schema": "task/1", "id": self.id, **self._body()}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "SocialTask":
        return cls(
            scenario=Scenario.from_dict(record["scenario"]),
            characters=tuple(Character.from_dict(c) for c in record["characters"]),
            background=record.get("background", ""),
            payoff=Payoff.from_dict(record["payoff"]) if record.get("payoff") else None,
            split=record["split"],
            hard=record["hard"],
            has_zone=record["has_zone"],
        )
