"""What every family's `draw` returns, and the rule that calls a task hard."""

from collections.abc import Mapping
from dataclasses import dataclass

from sotopia_pi.world.payoffs import Payoff

NARROW_BELOW = 6.0
"""A zone in which some side cannot even reach this goal is narrow or one-sided."""
OPPOSED_BELOW = 10.5
"""Several issues, and the best joint goal of both sides (in [0, 20]) is hardly above a plain split."""


@dataclass(frozen=True)
class Draw:
    """Private numbers and wording drawn for one task.

    goals: with SOTOPIA's hint tags, one per side. fill: what the template's placeholders become.
    """

    payoff: Payoff
    goals: tuple[str, str]
    fill: Mapping[str, str]


def is_hard(payoff: Payoff) -> bool:
    """Whether a task is hard, from its stakes alone.

    Narrow or one-sided zone: one side cannot reach a goal of 6 in any deal both would sign.
    Opposed preferences: more than one issue, and the best joint goal stays below 10.5 of 20.
    Tempting secret: telling it would move the other side (`notes["tempting"]`).
    """
    zone = payoff.zone()
    if not zone:
        return False
    reachable = min(max(payoff.goal(side, deal) for deal in zone) for side in (0, 1))
    opposed = len(payoff.issues) > 1 and payoff.best_joint() < OPPOSED_BELOW
    return reachable < NARROW_BELOW or opposed or bool(payoff.notes.get("tempting"))
