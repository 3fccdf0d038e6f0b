"""How far people agree: pairwise agreement, Randolph's kappa and Krippendorff's alpha.

All take a matrix of units × raters in which NaN is a rating that does not exist; a unit with fewer than two ratings
says nothing about agreement and is left out.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from sotopia_pi.analysis.statistics import CONFIDENCE, N_BOOT

Level = Literal["nominal", "ordinal", "interval"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")
Interval = tuple[float, float]
NO_INTERVAL: Interval = (math.nan, math.nan)


def pairwise_agreement(ratings: ArrayLike, within: float = 0) -> float:
    """Share in [0, 1] of a unit's pairs of ratings that lie at most `within` points apart, averaged over the units.

    NaN where no unit has two ratings. With two raters it is the share of units on which they agree.
    """
    shares = [share for row in np.asarray(ratings, float) if (share := _agreeing(row, within)) is not None]
    return float(np.mean(shares)) if shares else math.nan


def randolph_kappa(ratings: ArrayLike, categories: int) -> float:
    """Free-marginal multirater kappa, in [-1 / (categories - 1), 1]: agreement beyond that of raters who draw evenly.

    categories: how many could have been chosen, also those that nobody chose. Source: Randolph, Free-marginal
    multirater kappa, 2005. Raises ValueError for fewer than two categories.
    """
    return kappa_of(pairwise_agreement(ratings), categories)


def kappa_of(agreement: float, categories: int) -> float:
    """Randolph's kappa of a pairwise agreement that is known already."""
    if categories < 2:
        raise ValueError(f"categories = {categories}; agreement beyond chance needs at least 2")
    return (agreement - 1 / categories) / (1 - 1 / categories)


def krippendorff_alpha(ratings: ArrayLike, level: Level) -> float:
    """Alpha, at most 1: one minus observed over expected disagreement; 0 is chance, below it is worse than chance.

    level: how two values differ, as categories, by ranks or by distance. NaN where no unit has two ratings or all
    values are equal, since then nothing could have disagreed. Source: Krippendorff, Computing Krippendorff's
    alpha-reliability, 2011.
    """
    values, coincidences = _coincidences(np.asarray(ratings, float))
    return float(_alphas(coincidences.sum(axis=0)[None], values, level)[0])


def alpha_interval(
    ratings: ArrayLike, templates: Sequence[str], level: Level, seed: int = 0, n_boot: int = N_BOOT
) -> Interval:
    """95 % percentile bootstrap interval of alpha over scenario templates; NaN with fewer than two of them.

    templates: of every unit. Resamples in which all values are equal have no alpha and are left out.
    """
    data = np.asarray(ratings, float)
    member = _members(data, templates)
    if member is None:
        return NO_INTERVAL
    values, coincidences = _coincidences(data)
    totals = np.zeros((member.max() + 1, len(values), len(values)))
    np.add.at(totals, member, coincidences)
    drawn = _draws(len(totals), seed, n_boot)
    weights = np.stack([np.bincount(draw, minlength=len(totals)) for draw in drawn])
    return _percentiles(_alphas(np.einsum("bt,tcd->bcd", weights, totals), values, level))


def correlation(first: ArrayLike, second: ArrayLike, ranks: bool = False) -> float:
    """Pearson's correlation, or Spearman's of the ranks; NaN below two pairs or where one side has no spread."""
    x, y = np.asarray(first, float), np.asarray(second, float)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    if ranks:
        x, y = stats.rankdata(x), stats.rankdata(y)
    return float(np.corrcoef(x, y)[0, 1])


def correlation_interval(
    first: ArrayLike,
    second: ArrayLike,
    templates: Sequence[str],
    ranks: bool = False,
    seed: int = 0,
    n_boot: int = N_BOOT,
) -> Interval:
    """95 % percentile bootstrap interval of a correlation over scenario templates; NaN with fewer than two of them.

    Resamples without spread have no correlation and are left out.
    """
    x, y = np.asarray(first, float), np.asarray(second, float)
    names, member = np.unique(np.asarray(templates, str), return_inverse=True)
    if len(names) < 2:
        return NO_INTERVAL
    rows = [np.flatnonzero(member == i) for i in range(len(names))]
    picked = (np.concatenate([rows[i] for i in draw]) for draw in _draws(len(names), seed, n_boot))
    return _percentiles(np.array([correlation(x[chosen], y[chosen], ranks) for chosen in picked]))


def _agreeing(row: NDArray[np.float64], within: float) -> float | None:
    """Share of agreeing pairs of one unit; None where it has fewer than two ratings."""
    known = row[~np.isnan(row)]
    if len(known) < 2:
        return None
    close = np.abs(known[:, None] - known[None, :]) <= within
    return float((close.sum() - len(known)) / (len(known) * (len(known) - 1)))


def _coincidences(data: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All values that occur, ascending, and the matrix of coincidences of every unit, units × values × values.

    A unit of m ratings holds each of its m (m - 1) ordered pairs with weight 1 / (m - 1).
    """
    values = np.unique(data[~np.isnan(data)])
    counts = np.stack([(data == value).sum(axis=1) for value in values], axis=1) if len(values) else data[:, :0]
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(values))
    raters = counts.sum(axis=1)
    weights = np.divide(1.0, raters - 1, out=np.zeros(len(raters)), where=raters > 1)
    return values, pairs * weights[:, None, None]


def _alphas(coincidences: NDArray[np.float64], values: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
    """Alpha of every matrix of coincidences, n × values × values."""
    totals = coincidences.sum(axis=2)
    n = totals.sum(axis=1)
    apart = _distances(totals, values, level)
    observed = (coincidences * apart).sum(axis=(1, 2))
    expected = np.einsum("bc,bcd,bd->b", totals, apart, totals)
    return 1 - np.divide((n - 1) * observed, expected, out=np.full(len(n), np.nan), where=expected > 0)


def _distances(totals: NDArray[np.float64], values: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
    """Squared difference of every two values, n × values × values."""
    if level == "ordinal":
        ranks = np.cumsum(totals, axis=1) - totals / 2
        return (ranks[:, :, None] - ranks[:, None, :]) ** 2
    if level == "interval":
        return np.broadcast_to((values[:, None] - values[None, :]) ** 2, (len(totals), len(values), len(values)))
    if level == "nominal":
        return np.broadcast_to(1 - np.eye(len(values)), (len(totals), len(values), len(values)))
    raise ValueError(f"level = {level!r}; allowed: {', '.join(LEVELS)}")


def _members(data: NDArray[np.float64], templates: Sequence[str]) -> NDArray[np.intp] | None:
    """Number of every unit's template; None where fewer than two templates have a unit with two ratings."""
    names, member = np.unique(np.asarray(templates, str), return_inverse=True)
    paired = (~np.isnan(data)).sum(axis=1) > 1
    return member if len(set(names[member[paired]])) > 1 else None


def _draws(n: int, seed: int, n_boot: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, n]).integers(n, size=(n_boot, n))


def _percentiles(resamples: NDArray[np.float64]) -> Interval:
    known = resamples[~np.isnan(resamples)]
    if not len(known):
        return NO_INTERVAL
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)
