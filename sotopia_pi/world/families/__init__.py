"""Families of social tasks whose goals a rule can check: one module a family, all with the same `draw`."""

from sotopia_pi.world.families import bargaining, cost_sharing, division, favour, meeting

DRAW = {
    "bargaining": bargaining.draw,
    "division": division.draw,
    "meeting": meeting.draw,
    "favour": favour.draw,
    "cost_sharing": cost_sharing.draw,
}
HELD_OUT = "cost_sharing"
"""The family that training never sees."""
GATED = tuple(family for family in DRAW if family != HELD_OUT)
"""Families whose goal decides comparisons; the held-out one is reported apart."""
