"""Sharing a bill. Seen in evaluation only, to ask whether what was learned carries over; reported, not gated.

Issue: `share` in dollars, what side 0 pays; side 1 pays the rest of the bill. Value of a share s: -s for side 0, s for
side 1. walk_away: the most each would pay; best: the least each hopes to pay.
goal = 10 * (saving against the walk-away share) / (hoped-for saving), cut to [0, 10]; 0 without a deal.
financial_and_material_benefits = 5 * the same share, cut to [-5, 5].
"""

import numpy as np

from sotopia_pi.world.families.draw import Draw
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff

MATERIAL = True


def draw(fields: dict, rng: np.random.Generator, hard: bool, has_zone: bool) -> Draw:
    """Limits lie 3 to 4 steps beyond half of the bill on either side, 1 to 2 when hard, below it without a zone."""
    item = fields["items"][rng.integers(len(fields["items"]))]
    total, step = int(item["total"]), int(item["step"])
    room = (-1, 0) if not has_zone else (1, 3) if hard else (3, 5)
    half = total // 2 // step * step
    most = [half + step * int(rng.integers(*room)) for _ in (0, 1)]
    if has_zone:
        hopes = [
            total - most[1 - side] - step * int(rng.integers(2, 4) if hard else rng.integers(-1, 2)) for side in (0, 1)
        ]
    else:
        hopes = [limit - 4 * step for limit in most]
    hopes = [max(step, min(hope, limit - 2 * step)) for hope, limit in zip(hopes, most, strict=True)]
    sides = (
        SidePayoff({"share": -1}, walk_away=-most[0], best=-hopes[0]),
        SidePayoff({"share": 1}, walk_away=total - most[1], best=total - hopes[1]),
    )
    goals = tuple(
        f"Agree on who pays how much of the ${total}. <extra_info>You hope to pay ${hope} and can go up to "
        f"${limit}; rather than pay more you leave it open.</extra_info>"
        for hope, limit in zip(hopes, most, strict=True)
    )
    lowest = min(hopes[0], total - most[1], most[0])
    highest = max(most[0], total - hopes[1], total - most[1])
    issue = Issue("share", "amount", tuple(range(lowest, highest + 1, step)), unit="$", payer=0, total=total)
    payoff = Payoff("cost_sharing", (issue,), sides, material=MATERIAL, notes={"bill": item["name"]})
    return Draw(payoff, goals, {"bill": item["name"], "total": str(total)})
