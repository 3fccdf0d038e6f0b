"""Bargaining over a price.

Issue: `price` in dollars. Value of a price p: p for the seller, -p for the buyer.
walk_away: the seller's lowest and the buyer's highest acceptable price; best: the price each hopes for.
goal = 10 * (gain over the walk-away price) / (hoped-for gain), cut to [0, 10]; 0 without a deal.
financial_and_material_benefits = 5 * the same share, cut to [-5, 5]: a deal worse than walking away is negative.
"""

import numpy as np

from sotopia_pi.world.families.draw import Draw
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff

MATERIAL = True


def draw(fields: dict, rng: np.random.Generator, hard: bool, has_zone: bool) -> Draw:
    """Stakes on the item's price grid. Ordinary zones are 7 to 9 steps wide, hard ones 3 to 4, none at all -4 to -2.

    Hopes end at the other's limit give or take a step; in hard tasks they reach 3 or 4 steps beyond it.
    """
    item = fields["items"][rng.integers(len(fields["items"]))]
    step, low, high = item["step"], item["low"], item["high"]
    width = int(rng.integers(-4, -1)) if not has_zone else int(rng.integers(3, 5) if hard else rng.integers(7, 10))
    beyond = (lambda: int(rng.integers(3, 5))) if hard or not has_zone else (lambda: int(rng.integers(-1, 2)))
    middle = (low + high) // 2 // step + int(rng.integers(-1, 2))
    seller_limit = (middle - width // 2) * step
    buyer_limit = seller_limit + width * step
    top, bottom = max(seller_limit, buyer_limit), min(seller_limit, buyer_limit)
    seller_best = top + beyond() * step
    buyer_best = max(bottom - beyond() * step, step)
    seller = SidePayoff({"price": 1}, walk_away=seller_limit, best=seller_best)
    buyer = SidePayoff({"price": -1}, walk_away=-buyer_limit, best=-buyer_best)
    goals = (
        f"Sell the {item['name']} for as much as you can. <extra_info>You hope for ${seller_best} and can come down to "
        f"${seller_limit}; rather than less you keep it.</extra_info>",
        f"Buy the {item['name']} for as little as you can. <extra_info>You hope for ${buyer_best} and can go up to "
        f"${buyer_limit}; rather than more you do without.</extra_info>",
    )
    sides = ((seller, goals[0]), (buyer, goals[1]))
    first, second = sides if rng.random() < 0.5 else sides[::-1]
    options = tuple(range(min(buyer_best, bottom), max(seller_best, top) + 1, step))
    issue = Issue("price", "amount", options, unit="$")
    payoff = Payoff("bargaining", (issue,), (first[0], second[0]), material=MATERIAL, notes={"item": item["name"]})
    return Draw(payoff, (first[1], second[1]), {"item": item["name"]})
