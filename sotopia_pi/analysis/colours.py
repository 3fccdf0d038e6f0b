"""The variants in their fixed order, and the one look each has in every figure.

Colours are Okabe and Ito's (Color Universal Design, 2008), which stay apart for colour-blind readers; trivial
baselines are grey and told apart by hatching, so that they never look like something learned.
"""

from collections.abc import Iterable
from dataclasses import dataclass

LEARNED = ("base", "base few-shot", "BC", "SR", "BC+SR")
EXPERT = "expert"
TRIVIAL = (
    "always-accept",
    "never-concede",
    "stall-then-accept",
    "random-valid",
)
"""What every result must beat."""
FIXED = ("step-conceder", "split-the-difference")
"""Fixed rules a sceptic would try: shown beside the trivial policies, never a gate."""
VARIANTS = (*LEARNED, EXPERT, *TRIVIAL, *FIXED)
"""Every variant, in the order of all tables and figures."""


@dataclass(frozen=True)
class Look:
    """Face colour, hatch of bars ("" = plain) and marker of lines."""

    colour: str
    hatch: str = ""
    marker: str = "o"

    @property
    def line(self) -> str:
        """Colour of lines and points; darker than a hatched face, which would be lost without its area."""
        return "#6E6E6E" if self.hatch else self.colour


LOOKS: dict[str, Look] = {
    "base": Look("#56B4E9", marker="v"),
    "base few-shot": Look("#CC79A7", marker="^"),
    "BC": Look("#0072B2", marker="o"),
    "SR": Look("#E69F00", marker="D"),
    "BC+SR": Look("#D55E00", marker="s"),
    "expert": Look("#009E73", marker="*"),
    "always-accept": Look("#D9D9D9", "///", "x"),
    "never-concede": Look("#D9D9D9", "\\\\\\", "x"),
    "stall-then-accept": Look("#D9D9D9", "...", "x"),
    "random-valid": Look("#D9D9D9", "xxx", "x"),
    "step-conceder": Look("#D9D9D9", "---", "x"),
    "split-the-difference": Look("#D9D9D9", "+++", "x"),
}
OTHER = Look("#000000", marker="P")
"""The look of a variant nobody foresaw (an ablation, somebody's own model)."""

PARTNER_COLOUR = "#999999"
REFERENCE_COLOUR = LOOKS[EXPERT].colour


def look(variant: str) -> Look:
    """How a variant is drawn."""
    return LOOKS.get(variant, OTHER)


def in_order(variants: Iterable[str]) -> list[str]:
    """These variants once each: the known ones in their fixed order, then others by name."""
    present = set(variants)
    return [v for v in VARIANTS if v in present] + sorted(present - set(VARIANTS))
