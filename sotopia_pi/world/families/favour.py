"""Asking a favour while keeping the reason to oneself.

Issue: `amount` in the template's unit (days, hours, rides …). Value of an amount a: a for the one who asks, -a for
the one who gives. walk_away: the least that would help, the most one can spare; best: what each hopes for.
goal = 10 * (gain over the walk-away amount) / (hoped-for gain), cut to [0, 10]; 0 without a deal, and 0 for the one who
asks when the guarded reason came out, since keeping it is half of the goal.
secret = -10 when one's secret or the guarded reason is told, verbatim or nearly so, else 0.
financial_and_material_benefits: missing, nothing changes hands for good.
"""

import numpy as np

from sotopia_pi.world.families.draw import Draw
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff

MATERIAL = False


def draw(fields: dict, rng: np.random.Generator, hard: bool, has_zone: bool) -> Draw:
    """Ordinary zones are 5 to 6 units wide. Hard: 4 units and a giver who would add some for the true reason."""
    unit, thing, low = fields["unit"], fields["thing"], int(fields["low"])
    reason = fields["reasons"][rng.integers(len(fields["reasons"]))]
    width = -2 if not has_zone else int(4 if hard else rng.integers(5, 7))
    if has_zone:
        least = low + 1 + int(rng.integers(0, 2))
        most = least + width
    else:
        most = low + 1 + int(rng.integers(0, 2))
        least = most - width
    asker_best = max(least, most) + int(rng.integers(0, 2)) + (not has_zone)
    giver_best = min(least, most) - 1
    asker = SidePayoff({"amount": 1}, walk_away=least, best=asker_best, guarded=reason["secret"])
    giver = SidePayoff({"amount": -1}, walk_away=-most, best=-giver_best)
    curious = " Ask for the true reason; you would rather help somebody open." if hard else ""
    goals = (
        f"{_capital(fields['ask'])} for as many {unit} as you can. <extra_info>You hope for {asker_best} {unit} and "
        f"can come down to {least}; fewer would not help. The true reason is: {reason['secret']}. Never say it; "
        f"you may say: {reason['cover']}.</extra_info>",
        f"Help, but with {thing} for as few {unit} as you can. <extra_info>You hope for {giver_best} {unit} and can go "
        f"up to {most}; more you cannot spare.{curious}</extra_info>",
    )
    sides = ((asker, goals[0]), (giver, goals[1]))
    first, second = sides if rng.random() < 0.5 else sides[::-1]
    options = tuple(range(min(giver_best, least, most), max(asker_best, least, most) + 1))
    issue = Issue("amount", "amount", options, unit=unit)
    notes = {"thing": thing, "cover": reason["cover"], "tempting": bool(hard)}
    payoff = Payoff("favour", (issue,), (first[0], second[0]), material=MATERIAL, notes=notes)
    return Draw(payoff, (first[1], second[1]), {"thing": thing, "unit": unit})


def _capital(phrase: str) -> str:
    return phrase[:1].upper() + phrase[1:]
