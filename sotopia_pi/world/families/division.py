"""Dividing items with private points.

Issues: one per item, who gets it. Value of a deal: the points of the items one gets; all items together are worth 10.
walk_away: 2 points (what selling everything off would bring each); best: 10, all of them.
goal = 10 * (points - walk_away) / (10 - walk_away), cut to [0, 10]; 0 without a deal.
financial_and_material_benefits = 5 * the same share, cut to [-5, 5].
"""

import numpy as np

from sotopia_pi.world.families.draw import Draw
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff

MATERIAL = True
SHARES = ((5, 3, 1, 1), (4, 3, 2, 1), (6, 2, 1, 1), (5, 2, 2, 1), (4, 4, 1, 1))
"""Points of the four items, from the most wanted to the least."""
WALK_AWAY, NO_ZONE_WALK_AWAY = 2, 8


def draw(fields: dict, rng: np.random.Generator, hard: bool, has_zone: bool) -> Draw:
    """Ordinary: what one wants most the other wants least. Hard: both want the same items in the same order."""
    names = [str(name) for name in rng.choice(fields["items"], size=4, replace=False)]
    orders = [list(range(4)), [0, 1, 2, 3] if hard or not has_zone else [[3, 2, 1, 0], [2, 3, 0, 1]][rng.integers(2)]]
    shown = [names[i] for i in rng.permutation(4)]
    walk_away = WALK_AWAY if has_zone else NO_ZONE_WALK_AWAY
    sides, goals = [], []
    for side in (0, 1):
        share = SHARES[rng.integers(len(SHARES))]
        worth = {name: share[place] for name, place in zip(names, orders[side], strict=True)}
        points = {name: {str(side): worth[name], str(1 - side): 0} for name in names}
        sides.append(SidePayoff(points, walk_away=walk_away, best=10))
        listed = ", ".join(f"{name} {worth[name]}" for name in sorted(shown, key=lambda n: -worth[n]))
        goals.append(
            f"Get the items that matter to you. <extra_info>Points: {listed}. "
            f"No agreement is worth {walk_away} points to you.</extra_info>"
        )
    issues = tuple(Issue(name, "item", (0, 1)) for name in shown)
    payoff = Payoff("division", issues, tuple(sides), material=MATERIAL)
    listing = ", ".join(f"the {name}" for name in shown[:-1]) + f" and the {shown[-1]}"
    return Draw(payoff, tuple(goals), {"items": listing})
