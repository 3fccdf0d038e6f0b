"""Payoffs: goals that a rule can check, as issues with private points for each side.

Every family is the same thing underneath: a few *issues* (a price, a day, who gets the lamp), a *deal* that
settles each of them, and for each side points per option, a walk-away value and a best value.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Deal = Mapping[str, int | str]
IssueKind = Literal["amount", "choice", "item"]


@dataclass(frozen=True)
class Issue:
    """One thing to settle.

    kind `amount`: options are the admissible whole numbers in rising order (`unit` "$", "days", "hours" …;
    `payer` is the side whose share the amount is, or -1 where both sides speak of the same number, like a price).
    kind `choice`: options are the words themselves ("Tuesday", "2 pm", "the library").
    kind `item`: options are (0, 1), the side that gets it; `name` is how people call it ("lamp").
    """

    name: str
    kind: IssueKind
    options: tuple[int | str, ...]
    unit: str = ""
    payer: int = -1
    total: int = 0

    def __post_init__(self):
        object.__setattr__(self, "options", tuple(self.options))
        if len(self.options) < 2:
            raise ValueError(f"issue {self.name!r} has {len(self.options)} option(s); it takes at least 2 to disagree")

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "options": list(self.options),
            "unit": self.unit,
            "payer": self.payer,
            "total": self.total,
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Issue":
        return cls(**record)


@dataclass(frozen=True)
class SidePayoff:
    """One side's private stakes.

    points: per issue either a number (points per unit of an `amount`, mostly +1 or -1) or a table option -> points;
    for an `item` the table's keys are "0" and "1", the side that gets it.
    walk_away: value of no deal, in the same points; best: value of the best deal one could hope for.
    guarded: what this side must not give away (empty where the family has no such thing).
    """

    points: Mapping[str, float | Mapping[str, float]]
    walk_away: float
    best: float
    guarded: str = ""

    def __post_init__(self):
        if self.best <= self.walk_away:
            raise ValueError(f"best value {self.best} is not above the walk-away value {self.walk_away}")

    def value(self, deal: Deal) -> float:
        """Points of a complete deal."""
        total = 0.0
        for issue, table in self.points.items():
            option = deal[issue]
            total += table[str(option)] if isinstance(table, Mapping) else table * option
        return total

    def utility(self, deal: Deal) -> float:
        """Value on the scale walk-away = 0, best = 1; negative when walking away is better."""
        return (self.value(deal) - self.walk_away) / (self.best - self.walk_away)

    def to_dict(self) -> dict[str, Any]:
        points = {k: dict(v) if isinstance(v, Mapping) else v for k, v in self.points.items()}
        return {"points": points, "walk_away": self.walk_away, "best": self.best, "guarded": self.guarded}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "SidePayoff":
        return cls(record["points"], record["walk_away"], record["best"], record.get("guarded", ""))


@dataclass(frozen=True)
class Payoff:
    """Both sides' stakes over the same issues.

    material: whether a deal moves money or goods, so that `financial_and_material_benefits` means something.
    """

    family: str
    issues: tuple[Issue, ...]
    sides: tuple[SidePayoff, SidePayoff]
    material: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "issues", tuple(self.issues))
        object.__setattr__(self, "sides", tuple(self.sides))

    def deals(self) -> Iterator[dict[str, int | str]]:
        """Every complete deal, in a fixed order."""
        names = [issue.name for issue in self.issues]
        for options in itertools.product(*(issue.options for issue in self.issues)):
            yield dict(zip(names, options, strict=True))

    def goal(self, side: int, deal: Deal | None) -> float:
        """Goal completion in [0, 10]: 0 = no deal or worse than walking away, 10 = this side's best value."""
        if deal is None:
            return 0.0
        return round(10 * min(1.0, max(0.0, self.sides[side].utility(deal))), 2)

    def benefits(self, side: int, deal: Deal | None) -> float | None:
        """financial_and_material_benefits in [-5, 5]; None where the family moves no goods."""
        if not self.material:
            return None
        if deal is None:
            return 0.0
        return round(5 * min(1.0, max(-1.0, self.sides[side].utility(deal))), 2)

    def is_bad(self, side: int, deal: Deal) -> bool:
        """True when this side would have done better by walking away."""
        return self.sides[side].value(deal) < self.sides[side].walk_away

    def zone(self) -> list[dict[str, int | str]]:
        """All deals at which neither side would rather walk away and at least one gains."""
        a, b = self.sides
        found = []
        for deal in self.deals():
            u, v = a.utility(deal), b.utility(deal)
            if u >= 0 and v >= 0 and u + v > 0:
                found.append(deal)
        return found

    def best_joint(self) -> float:
        """Largest sum of both sides' goals (in [0, 20]) that any deal good for both reaches; 0 without a zone."""
        return max((self.goal(0, deal) + self.goal(1, deal) for deal in self.zone()), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        return {
            "family": self.family,
            "issues": [issue.to_dict() for issue in self.issues],
            "sides": [side.to_dict() for side in self.sides],
            "material": self.material,
            "notes": dict(self.notes),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Payoff":
        return cls(
            record["family"],
            tuple(Issue.from_dict(i) for i in record["issues"]),
            tuple(SidePayoff.from_dict(s) for s in record["sides"]),
            record.get("material", False),
            record.get("notes", {}),
        )
