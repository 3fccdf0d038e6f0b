"""Shares with their exact interval."""

import math
from dataclasses import dataclass

from scipy.stats import binomtest

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
        return self._interval()[0]

    @property
    def high(self) -> float:
        return self._interval()[1]

    def _interval(self) -> tuple[float, float]:
        if not self.n:
            return math.nan, math.nan
        low, high = binomtest(self.k, self.n).proportion_ci(CONFIDENCE, method="exact")
        return float(low), float(high)
