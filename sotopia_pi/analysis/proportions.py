"""Shares of episodes with their exact interval."""

import math
from dataclasses import dataclass

from scipy.stats import beta

from sotopia_pi.analysis.statistics import CONFIDENCE

EXACT = "95 % exact interval (Clopper-Pearson), episodes taken as independent"


@dataclass(frozen=True)
class Proportion:
    """k of n. low, high: exact interval, in [0, 1]; NaN, like the share, where n is 0.

    Episodes of one scenario template are alike, so that the interval is rather too narrow than too wide.
    """

    k: int
    n: int

    def __post_init__(self):
        if not 0 <= self.k <= self.n:
            raise ValueError(f"{self.k} of {self.n} is no share; it takes 0 <= k <= n")

    @property
    def share(self) -> float:
        return self.k / self.n if self.n else math.nan

    @property
    def low(self) -> float:
        return _bound((1 - CONFIDENCE) / 2, self.k, self.n - self.k + 1, at_edge=0.0 if self.k == 0 else None, n=self.n)

    @property
    def high(self) -> float:
        edge = 1.0 if self.k == self.n else None
        return _bound((1 + CONFIDENCE) / 2, self.k + 1, self.n - self.k, at_edge=edge, n=self.n)


def _bound(quantile: float, a: int, b: int, at_edge: float | None, n: int) -> float:
    """A quantile of the beta distribution, which is no distribution where k is 0 or n."""
    if n == 0:
        return math.nan
    return float(beta.ppf(quantile, a, b)) if at_edge is None else at_edge
