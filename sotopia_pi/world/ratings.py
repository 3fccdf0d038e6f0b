"""Ratings: seven dimensions a side, from a rule or from a judge, in one form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

DIMENSIONS: dict[str, tuple[int, int]] = {
    "believability": (0, 10),
    "relationship": (-5, 5),
    "knowledge": (0, 10),
    "secret": (-10, 0),
    "social_rules": (-10, 0),
    "financial_and_material_benefits": (-5, 5),
    "goal": (0, 10),
}
"""The seven dimensions of SOTOPIA-Eval and their ranges (SOTOPIA, arXiv 2310.11667, section 3)."""

RatingOutcome = Literal["ok", "refused", "truncated", "invalid", "api_error"]
PARTS = ("deal", "bad_deal", "joint_surplus", "has_zone")


@dataclass(frozen=True)
class Rating:
    """One side of one episode, rated by one judge.

    scores: dimension -> score or None where it is missing (a rule leaves out what it cannot check; a failed judge
    leaves out everything). Judges give whole numbers, rules may give fractions. parts: what the goal is made of
    (deal: bool, bad_deal: bool, joint_surplus: share in [0, 1], has_zone: bool, terms).
    Raises ValueError for an unknown dimension or a score outside its range.
    """

    id: str
    episode_id: str
    side: int
    judge: str
    outcome: RatingOutcome
    scores: Mapping[str, float | None]
    reasons: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)
    raw: tuple[dict[str, Any], ...] = ()

    def __post_init__(self):
        for dimension, score in self.scores.items():
            if dimension not in DIMENSIONS:
                raise ValueError(f"rating {self.id}: unknown dimension {dimension!r}; known: {', '.join(DIMENSIONS)}")
            low, high = DIMENSIONS[dimension]
            if score is not None and not low <= score <= high:
                raise ValueError(f"rating {self.id}: {dimension} = {score} is outside [{low}, {high}]")

    @property
    def overall(self) -> float | None:
        """Unweighted mean of the seven raw scores; missing when any of them is."""
        values = [self.scores.get(dimension) for dimension in DIMENSIONS]
        return None if any(value is None for value in values) else sum(values) / len(values)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "rating/1",
            "id": self.id,
            "episode_id": self.episode_id,
            "side": self.side,
            "judge": self.judge,
            "outcome": self.outcome,
            "scores": {d: self.scores.get(d) for d in DIMENSIONS},
            "overall": self.overall,
            "reasons": dict(self.reasons),
            "parts": dict(self.parts),
            "raw": list(self.raw),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Rating":
        body = {k: v for k, v in record.items() if k not in ("schema", "overall")}
        body["raw"] = tuple(body.get("raw", ()))
        return cls(**body)
