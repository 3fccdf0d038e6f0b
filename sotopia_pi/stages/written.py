"""What came of asking for scenarios: one record a prompt, with the scenario or with the reason why there is none."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sotopia_pi.formats.inspirations import Inspiration
from sotopia_pi.models.seam import Outcome
from sotopia_pi.stages.scenario_rules import Problem
from sotopia_pi.world.tasks import Scenario


@dataclass(frozen=True)
class Written:
    """What came of one plan. outcome: "ok", or how the last attempt failed; scenario: None unless it is "ok".

    problems: rules the last attempt broke, () where it could not even be read. reason: why there is no scenario, in
    words. calls: one record an attempt, with the model's words, outcome, usage, model, prompt hash and what was wrong.
    """

    id: str
    inspiration: Inspiration
    outcome: Outcome
    example: str
    scenario: Scenario | None = None
    disagreement: str = ""
    occupations: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    reason: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    timing: dict[str, float] = field(default_factory=dict, compare=False)

    def __post_init__(self):
        if (self.outcome == "ok") != (self.scenario is not None):
            raise ValueError(f"{self.id}: outcome {self.outcome!r} with {self.scenario}; exactly ok has a scenario")

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "written/1",
            "id": self.id,
            "inspiration": self.inspiration.to_dict(),
            "outcome": self.outcome,
            "example": self.example,
            "scenario": self.scenario.to_dict() if self.scenario else None,
            "disagreement": self.disagreement,
            "occupations": list(self.occupations),
            "problems": [vars(problem) for problem in self.problems],
            "reason": self.reason,
            "calls": list(self.calls),
            "timing": dict(self.timing),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Written":
        body = {key: value for key, value in record.items() if key != "schema"}
        body |= {
            "inspiration": Inspiration.from_dict(record["inspiration"]),
            "scenario": Scenario.from_dict(record["scenario"]) if record["scenario"] else None,
            "occupations": tuple(record["occupations"]),
            "problems": tuple(Problem(**problem) for problem in record["problems"]),
            "calls": tuple(record["calls"]),
        }
        return cls(**body)


@dataclass(frozen=True)
class WrittenScenarios:
    """What came of all prompts, in their order. found: how many lay there already."""

    written: tuple[Written, ...]
    found: int

    @property
    def ids(self) -> tuple[str, ...]:
        """Of every record that belongs to this result."""
        return tuple(one.id for one in self.written)

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        return tuple(one.scenario for one in self.written if one.scenario)

    def counts(self) -> dict[str, int]:
        """Count table: prompts, found, scenarios kept, the others by outcome and, where invalid, by broken rule."""
        failed = Counter(one.outcome for one in self.written if one.outcome != "ok")
        broken = Counter(rule for one in self.written for rule in sorted({p.rule for p in one.problems}))
        calls = sum(len(one.calls) for one in self.written)
        return {
            "prompts to write from": len(self.written),
            "found from an earlier start": self.found,
            "scenarios kept": len(self.scenarios),
            **{f"rejected: {outcome}": n for outcome, n in sorted(failed.items())},
            **{f"rule still broken at the end: {rule}": n for rule, n in sorted(broken.items())},
            "calls made for them": calls,
        }
