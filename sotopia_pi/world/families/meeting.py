"""Agreeing when and where to meet.

Issues: `day`, `hour`, `place`, three options each. Value of a deal: the points of the options taken; one's favourites
together are worth 10. walk_away: 3 points (not meeting at all); best: 10.
goal = 10 * (points - walk_away) / (10 - walk_away), cut to [0, 10]; 0 without a deal.
financial_and_material_benefits: missing, nothing changes hands.
"""

import numpy as np

from sotopia_pi.world.families.draw import Draw
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff

MATERIAL = False
STEPS = {5: (5, 3, 0), 3: (3, 2, 0), 2: (2, 1, 0)}
"""Points of an issue's favourite, second and last option, by the issue's weight."""
WEIGHTS = ((5, 3, 2), (5, 2, 3), (3, 5, 2), (2, 5, 3), (3, 2, 5), (2, 3, 5))
WALK_AWAY, NO_ZONE_WALK_AWAY = 3, 8


def draw(fields: dict, rng: np.random.Generator, hard: bool, has_zone: bool) -> Draw:
    """Ordinary: the sides care most about different issues, and agree by chance on the third.

    Hard: same weights and exactly opposite wishes.
    """
    options = {issue: _some(fields[plural], rng) for issue, plural in ISSUES.items()}
    opposed = hard or not has_zone
    weights = [WEIGHTS[rng.integers(len(WEIGHTS))]]
    others = [w for w in WEIGHTS if w.index(5) != weights[0].index(5)]
    weights.append(weights[0] if opposed else others[rng.integers(len(others))])
    wishes = {issue: [str(o) for o in rng.permutation(shown)] for issue, shown in options.items()}
    against = {issue: order[::-1] for issue, order in wishes.items()}
    if not opposed:
        free = next(i for i, w in enumerate(zip(*weights, strict=True)) if 5 not in w)
        against[list(options)[free]] = [str(o) for o in rng.permutation(options[list(options)[free]])]
    walk_away = WALK_AWAY if has_zone else NO_ZONE_WALK_AWAY
    sides, goals = [], []
    for side in (0, 1):
        points = {}
        for issue, weight in zip(options, weights[side], strict=True):
            order = (wishes, against)[side][issue]
            points[issue] = dict(zip(order, STEPS[weight], strict=True))
        sides.append(SidePayoff(points, walk_away=walk_away, best=10))
        goals.append(_goal(points, walk_away))
    issues = tuple(Issue(issue, "choice", shown) for issue, shown in options.items())
    return Draw(Payoff("meeting", issues, tuple(sides), material=MATERIAL), tuple(goals), {})


ISSUES = {"day": "days", "hour": "hours", "place": "places"}


def _some(options: list[str], rng: np.random.Generator) -> tuple[str, ...]:
    """Three of the options, in the order the template lists them."""
    chosen = sorted(rng.choice(len(options), size=3, replace=False))
    return tuple(options[i] for i in chosen)


def _goal(points: dict[str, dict[str, int]], walk_away: int) -> str:
    """What matters most stands first."""
    first = sorted(points.items(), key=lambda entry: -max(entry[1].values()))
    told = ". ".join(
        f"{issue.capitalize()}: " + ", ".join(f"{o} {p}" for o, p in table.items()) for issue, table in first
    )
    return (
        f"Agree on a day, an hour and a place that suit you. <extra_info>Points: {told}. "
        f"Not meeting is worth {walk_away} points to you.</extra_info>"
    )
