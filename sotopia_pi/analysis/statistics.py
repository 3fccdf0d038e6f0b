"""Intervals, tests and effect sizes whose unit is the scenario template.

Tasks drawn from one template are alike, so episodes are no independent draws: every resample takes whole templates,
and every t statistic is taken over template means. Missing scores (NaN) are left out and counted, never read as 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

N_BOOT = 2000
CONFIDENCE = 0.95
MIN_TEMPLATES_TO_RANK = 6
"""With n templates the smallest two-sided p of an exact sign test is 2 / 2**n; six is the first n below 0.05."""

BOOTSTRAP = "95 % percentile bootstrap over scenario templates"
T_INTERVAL = "95 % t interval over template means"

SIGN_FLIPS = 20_000
"""Sign patterns that the permutation test looks at; all there are up to 14 templates, that many drawn ones beyond."""


@dataclass(frozen=True)
class Estimate:
    """A mean (or difference, or ratio of means) with its 95 % interval.

    low, high: NaN where fewer than two templates leave no spread to measure. An interval without width means that
    every template scored alike, not that the true value is known. n_missing: scores left out because they are NaN.
    """

    mean: float
    low: float
    high: float
    n_tasks: int
    n_episodes: int
    n_templates: int
    n_missing: int
    method: str

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "no scores"
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class PairedTest:
    """Paired t-test over template means of first minus second.

    p is NaN with fewer than two templates; with no spread at all it is 1 for equal means and 0 otherwise.
    sd: of the template means' differences.
    """

    difference: float
    low: float
    high: float
    t: float
    degrees_of_freedom: int
    p: float
    sd: float
    n_templates: int
    n_pairs: int
    n_missing: int
    method: str = "paired t-test over template means"

    @property
    def cohens_dz(self) -> float:
        """Mean difference in standard deviations of the template means' differences (Cohen 1988, section 2.3.5)."""
        if math.isnan(self.sd):
            return math.nan
        if self.sd == 0:
            return 0.0 if self.difference == 0 else math.copysign(math.inf, self.difference)
        return self.difference / self.sd

    @property
    def hedges_gz(self) -> float:
        """Cohen's d_z without its bias in small samples (Hedges 1981): shrunk by `hedges_correction`."""
        return self.cohens_dz * hedges_correction(self.degrees_of_freedom)


def cluster_mean(
    values: ArrayLike, templates: Sequence[str], tasks: Sequence[str], seed: int = 0, n_boot: int = N_BOOT
) -> Estimate:
    """Mean over episodes, interval by resampling templates.

    values: one score an episode, NaN = missing; templates, tasks: of the same length.
    """
    kept = _Clusters.of(templates, tasks, values)
    (sums,) = kept.sums()
    drawn_sums, drawn_counts = _resampled([sums, kept.counts], seed, n_boot)
    means = np.divide(drawn_sums, drawn_counts)
    return kept.estimate(_ratio(sums.sum(), kept.counts.sum()), means)


def cluster_difference(
    first: ArrayLike,
    second: ArrayLike,
    templates: Sequence[str],
    tasks: Sequence[str],
    seed: int = 0,
    n_boot: int = N_BOOT,
) -> Estimate:
    """Mean of first minus second over pairs (same task, same agent side); a pair with a NaN is missing."""
    differences = np.asarray(first, float) - np.asarray(second, float)
    return cluster_mean(differences, templates, tasks, seed, n_boot)


def cluster_ratio(
    first: ArrayLike,
    second: ArrayLike,
    templates: Sequence[str],
    tasks: Sequence[str],
    seed: int = 0,
    n_boot: int = N_BOOT,
) -> Estimate:
    """Mean of first divided by mean of second over pairs; both means come from the same resample of templates.

    The ratio is NaN where the second mean is 0, its interval where that happens in any resample.
    """
    kept = _Clusters.of(templates, tasks, first, second)
    above, below = kept.sums()
    drawn_above, drawn_below = _resampled([above, below], seed, n_boot)
    ratios = np.divide(drawn_above, drawn_below, out=np.full(n_boot, np.nan), where=drawn_below != 0)
    return kept.estimate(_ratio(above.sum(), below.sum()), ratios)


def cluster_correlation(
    first: ArrayLike,
    second: ArrayLike,
    templates: Sequence[str],
    tasks: Sequence[str],
    seed: int = 0,
    n_boot: int = N_BOOT,
) -> Estimate:
    """Pearson's r of two scores of the same sides, interval by resampling templates; a side with a NaN is missing.

    NaN where one of the two has no spread, its interval where that happens in any resample.
    """
    kept = _Clusters.of(templates, tasks, first, second)
    one, other = kept.values
    moments = np.stack([np.ones(kept.n_episodes), one, other, one * one, other * other, one * other])
    sums = [np.bincount(kept.member, row, minlength=len(kept.counts)) for row in moments]
    whole = [np.array([total.sum()]) for total in sums]
    return kept.estimate(float(_pearson(*whole)[0]), _pearson(*_resampled(sums, seed, n_boot)))


def t_interval(values: ArrayLike, templates: Sequence[str], tasks: Sequence[str]) -> Estimate:
    """Mean of template means with its t interval; templates weigh alike, however many tasks they have."""
    kept = _Clusters.of(templates, tasks, values)
    means = kept.sums()[0] / kept.counts
    low, high, _ = _t_bounds(means)
    mean = float(means.mean()) if len(means) else math.nan
    return Estimate(mean, low, high, kept.n_tasks, kept.n_episodes, len(means), kept.n_missing, T_INTERVAL)


def paired_t(first: ArrayLike, second: ArrayLike, templates: Sequence[str]) -> PairedTest:
    """Paired t-test of first against second: pairs are averaged within templates, templates are the sample."""
    kept = _Clusters.of(templates, templates, np.asarray(first, float) - np.asarray(second, float))
    means = kept.sums()[0] / kept.counts
    n = len(means)
    difference = float(means.mean()) if n else math.nan
    low, high, sd = _t_bounds(means)
    if n < 2:
        t = p = math.nan
    elif sd <= 1e-12 * max(1.0, abs(difference)):
        t, p = (0.0, 1.0) if abs(difference) <= 1e-12 else (math.copysign(math.inf, difference), 0.0)
    else:
        t = difference / (sd / math.sqrt(n))
        p = two_sided_p(t, n - 1)
    return PairedTest(difference, low, high, t, max(n - 1, 0), p, sd, n, kept.n_episodes, kept.n_missing)


def two_sided_p(t: float, degrees_of_freedom: int) -> float:
    """Two-sided p of a t statistic."""
    return float(2 * stats.t.sf(abs(t), degrees_of_freedom))


def sign_flip_p(first: ArrayLike, second: ArrayLike, templates: Sequence[str], seed: int = 0) -> float:
    """Two-sided p of the paired permutation test of first against second: whole templates change sign.

    Under the null hypothesis a template's mean difference is as likely as its negative. Exact up to 14 templates,
    SIGN_FLIPS random patterns beyond. With n templates no p is below 2 / 2**n. NaN with fewer than two templates.
    """
    kept = _Clusters.of(templates, templates, np.asarray(first, float) - np.asarray(second, float))
    means = kept.sums()[0] / kept.counts
    if len(means) < 2:
        return math.nan
    rng = np.random.default_rng([seed, len(means)])
    test = stats.permutation_test(
        (means,), np.mean, permutation_type="samples", vectorized=True, n_resamples=SIGN_FLIPS, rng=rng
    )
    return float(test.pvalue)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values adjusted for how many are shown together (Holm 1979), in their order; they bound the family's error.

    A missing p (NaN) stays missing and is not counted among the comparisons.
    """
    p = np.asarray(p_values, float)
    adjusted = np.full(p.shape, np.nan)
    order = [i for i in np.argsort(p) if not math.isnan(p[i])]
    stepped = np.minimum(1.0, p[order] * np.arange(len(order), 0, -1))
    adjusted[order] = np.maximum.accumulate(stepped)
    return adjusted


def hedges_correction(degrees_of_freedom: int) -> float:
    """Exact factor by which a standardised mean difference is shrunk (Hedges 1981); NaN below 2 degrees of freedom."""
    if degrees_of_freedom < 2:
        return math.nan
    half = degrees_of_freedom / 2
    return math.exp(special.gammaln(half) - special.gammaln(half - 0.5)) / math.sqrt(half)


def minimum_detectable_difference(sd: float, n_templates: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest true paired difference that a two-sided t-test over n templates finds with this power.

    sd: standard deviation of the template means' differences, in goal points. NaN with fewer than two templates.
    """
    if n_templates < 2 or math.isnan(sd):
        return math.nan
    df = n_templates - 1
    critical = stats.t.isf(alpha / 2, df)

    def shortfall(shift: float) -> float:
        return stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift) - power

    upper = critical + 2.0
    while shortfall(upper) < 0:
        upper *= 1.5
    return sd * float(optimize.brentq(shortfall, 1e-9, upper)) / math.sqrt(n_templates)


def why_not_ranked(difference: Estimate) -> str:
    """Why two variants may not be ranked by this difference; empty where they may.

    Two rules: at least MIN_TEMPLATES_TO_RANK templates, and an interval of the difference that leaves out 0.
    """
    if difference.n_templates < MIN_TEMPLATES_TO_RANK:
        return f"{difference.n_templates} scenario templates are too few to rank ({MIN_TEMPLATES_TO_RANK} needed)"
    if not (difference.low > 0 or difference.high < 0):
        return "the interval of the difference includes 0"
    return ""


@dataclass(frozen=True)
class _Clusters:
    """Complete cases: values of shape (variables, episodes) and the template index of each episode."""

    values: NDArray[np.float64]
    member: NDArray[np.intp]
    counts: NDArray[np.float64]
    n_tasks: int
    n_missing: int

    @classmethod
    def of(cls, templates: Sequence[str], tasks: Sequence[str], *values: ArrayLike) -> "_Clusters":
        stacked = np.stack([np.asarray(v, float) for v in values])
        templates, tasks = np.asarray(templates, dtype=str), np.asarray(tasks, dtype=str)
        if not len(templates) == len(tasks) == stacked.shape[1]:
            raise ValueError(
                f"{stacked.shape[1]} values, {len(templates)} templates and {len(tasks)} tasks; give one of each a row"
            )
        whole = ~np.isnan(stacked).any(axis=0)
        names, member = np.unique(templates[whole], return_inverse=True)
        counts = np.bincount(member, minlength=len(names)).astype(float)
        return cls(stacked[:, whole], member, counts, len(np.unique(tasks[whole])), int((~whole).sum()))

    @property
    def n_episodes(self) -> int:
        return self.values.shape[1]

    def sums(self) -> list[NDArray[np.float64]]:
        """Per variable, the sum within each template (templates in the order of their names)."""
        return [np.bincount(self.member, row, minlength=len(self.counts)) for row in self.values]

    def estimate(self, mean: float, resamples: NDArray[np.float64]) -> Estimate:
        n = len(self.counts)
        low = high = math.nan
        if n >= 2 and not np.isnan(resamples).any():
            tail = 100 * (1 - CONFIDENCE) / 2
            low, high = (float(q) for q in np.percentile(resamples, [tail, 100 - tail]))
        return Estimate(
            mean,
            low,
            high,
            self.n_tasks,
            self.n_episodes,
            n,
            self.n_missing,
            f"{BOOTSTRAP}, {len(resamples)} resamples",
        )


def _resampled(totals: Sequence[NDArray[np.float64]], seed: int, n_boot: int) -> list[NDArray[np.float64]]:
    """Per variable, its template totals summed over n_boot draws of as many templates, drawn for all alike."""
    n = len(totals[0])
    if n == 0:
        return [np.full(n_boot, np.nan) for _ in totals]
    drawn = np.random.default_rng([seed, n]).integers(n, size=(n_boot, n))
    return [total[drawn].sum(axis=1) for total in totals]


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else math.nan


def _pearson(n: NDArray, x: NDArray, y: NDArray, xx: NDArray, yy: NDArray, xy: NDArray) -> NDArray[np.float64]:
    """Pearson's r from sums over samples, one sample an entry; NaN without spread (up to rounding)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        spread_x, spread_y = xx - x * x / n, yy - y * y / n
        r = (xy - x * y / n) / np.sqrt(spread_x * spread_y)
    return np.where((spread_x > 1e-9) & (spread_y > 1e-9), np.clip(r, -1, 1), np.nan)


def _t_bounds(means: NDArray[np.float64]) -> tuple[float, float, float]:
    """Bounds of the 95 % t interval of the mean, and the standard deviation of the sample."""
    n = len(means)
    if n < 2:
        return math.nan, math.nan, math.nan
    sd = float(means.std(ddof=1))
    half = float(stats.t.isf((1 - CONFIDENCE) / 2, n - 1)) * sd / math.sqrt(n)
    return float(means.mean()) - half, float(means.mean()) + half, sd
