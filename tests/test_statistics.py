"""Intervals and tests over scenario templates, held against scipy, hand arithmetic and simulated truth."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from sotopia_pi.analysis.statistics import (
    cluster_correlation,
    cluster_difference,
    cluster_mean,
    cluster_ratio,
    hedges_correction,
    holm,
    minimum_detectable_difference,
    paired_t,
    sign_flip_p,
    t_interval,
    two_sided_p,
    why_not_ranked,
)


def test_the_mean_is_over_episodes_and_missing_scores_are_counted_not_zero():
    estimate = cluster_mean([2.0, 4.0, math.nan, 9.0], ["a", "a", "a", "b"], ["1", "1", "2", "3"])
    assert estimate.mean == 5.0
    assert (estimate.n_episodes, estimate.n_tasks, estimate.n_templates, estimate.n_missing) == (3, 2, 2, 1)
    assert "bootstrap" in estimate.method and "template" in estimate.method


def test_the_bootstrap_draws_whole_templates():
    # Two templates, means 0 and 10: resamples hold a+a, a+b or b+b, so the bounds can only be 0 and 10.
    estimate = cluster_mean([0.0] * 50 + [10.0] * 50, ["a"] * 50 + ["b"] * 50, [str(i) for i in range(100)])
    assert (estimate.low, estimate.high) == (0.0, 10.0)


def test_with_one_episode_a_template_it_is_the_ordinary_bootstrap():
    values = np.random.default_rng([1]).normal(5, 2, 40)
    names = [f"t{i}" for i in range(40)]
    ours = cluster_mean(values, names, names, n_boot=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng([2])
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.05)
    assert ours.high == pytest.approx(theirs.high, abs=0.05)


def test_equal_seeds_give_equal_intervals_whatever_the_order_of_rows():
    rng = np.random.default_rng([3])
    values, names = rng.normal(size=60), np.repeat([f"t{i}" for i in range(12)], 5)
    shuffled = rng.permutation(60)
    one = cluster_mean(values, names, names, seed=7)
    assert cluster_mean(values, names, names, seed=7) == one
    again = cluster_mean(values[shuffled], names[shuffled], names[shuffled], seed=7)
    assert (again.mean, again.low, again.high) == pytest.approx((one.mean, one.low, one.high), abs=1e-12)
    assert cluster_mean(values, names, names, seed=8).low != one.low


def test_a_single_template_has_a_mean_and_no_interval():
    estimate = cluster_mean([1.0, 3.0], ["a", "a"], ["1", "2"])
    assert estimate.mean == 2.0 and math.isnan(estimate.low) and math.isnan(estimate.high)


def test_no_scores_at_all_give_nan_and_not_zero():
    for values, names in (([], []), ([math.nan], ["a"])):
        for estimate in (cluster_mean(values, names, names), t_interval(values, names, names)):
            assert math.isnan(estimate.mean) and math.isnan(estimate.low) and estimate.n_episodes == 0
    assert math.isnan(paired_t([], [], []).p)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="3 values, 2 templates"):
        cluster_mean([1, 2, 3], ["a", "b"], ["1", "2", "3"])


def test_a_paired_difference_drops_pairs_with_a_missing_side():
    estimate = cluster_difference([5, 6, math.nan, 8], [4, 4, 4, math.nan], list("abcd"), list("1234"))
    assert estimate.mean == 1.5 and estimate.n_episodes == 2 and estimate.n_missing == 2


def test_pairing_narrows_the_interval_when_tasks_differ_more_than_variants():
    rng = np.random.default_rng([4])
    level = np.repeat(rng.normal(5, 3, 20), 4)
    names = np.repeat([f"t{i}" for i in range(20)], 4)
    first, second = level + 1 + rng.normal(0, 0.3, 80), level + rng.normal(0, 0.3, 80)
    paired = cluster_difference(first, second, names, names)
    alone = cluster_mean(first, names, names)
    assert 0.8 < paired.low < paired.mean < paired.high < 1.1
    assert paired.high - paired.low < (alone.high - alone.low) / 5


def test_the_ratio_is_of_means_and_its_interval_moves_with_both():
    names = [f"t{i}" for i in range(10)]
    below = np.arange(1.0, 11.0)
    estimate = cluster_ratio(0.8 * below, below, names, names)
    assert estimate.mean == pytest.approx(0.8)
    assert (estimate.low, estimate.high) == pytest.approx((0.8, 0.8))
    mixed = cluster_ratio([1.0, 9.0], [2.0, 18.0], ["a", "b"], ["1", "2"])
    assert mixed.mean == 0.5  # 10 / 20; the mean of ratios would be the same only by chance
    assert cluster_ratio([1.0, 3.0], [1.0, 1.0], ["a", "b"], ["1", "2"]).mean == 2.0


def test_a_ratio_to_zero_is_missing():
    estimate = cluster_ratio([1.0, 2.0], [0.0, 0.0], ["a", "b"], ["1", "2"])
    assert math.isnan(estimate.mean) and math.isnan(estimate.low)


def test_the_paired_t_test_is_scipys_over_template_means():
    rng = np.random.default_rng([5])
    names = np.repeat([f"t{i}" for i in range(9)], 6)
    first, second = rng.normal(5, 2, 54), rng.normal(4, 2, 54)
    means = [(first[names == n].mean(), second[names == n].mean()) for n in sorted(set(names))]
    expected = stats.ttest_rel([a for a, _ in means], [b for _, b in means])
    test = paired_t(first, second, names)
    assert (test.t, test.p) == pytest.approx((expected.statistic, expected.pvalue))
    interval = expected.confidence_interval(0.95)
    assert (test.low, test.high) == pytest.approx((interval.low, interval.high))
    assert (test.degrees_of_freedom, test.n_pairs) == (8, 54)


def test_the_t_test_by_hand():
    # Differences 1, 2, 3: mean 2, sd 1, t = 2 / (1 / sqrt 3) = 3.4641, two-sided p with 2 df = 0.0742.
    test = paired_t([2, 4, 6], [1, 2, 3], ["a", "b", "c"])
    assert (test.difference, test.sd, test.t) == pytest.approx((2, 1, 3.4641), abs=1e-4)
    assert test.p == pytest.approx(0.0742, abs=1e-4)


def test_constant_differences_give_no_nonsense():
    assert paired_t([1, 2, 3], [1, 2, 3], list("abc")).p == 1.0
    assert paired_t([1.1, 2.1, 3.1], [1, 2, 3], list("abc")).p == 0.0


def test_the_t_interval_weighs_templates_alike():
    estimate = t_interval([0, 0, 0, 0, 10, 4], ["a", "a", "a", "a", "b", "c"], list("123456"))
    expected = stats.t.interval(0.95, 2, loc=14 / 3, scale=stats.sem([0, 10, 4]))
    assert estimate.mean == pytest.approx(14 / 3)
    assert (estimate.low, estimate.high) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "effect"), [(34, 0.495), (15, 0.778), (8, 1.159)])
def test_the_detectable_difference_has_eighty_percent_power(n, effect):
    """dz with 80 % power for n pairs, two-sided 5 %; the textbook case is dz 0.5 with n = 34 (power 0.808)."""
    assert minimum_detectable_difference(1.0, n) == pytest.approx(effect, abs=0.01)
    assert minimum_detectable_difference(2.5, n) == pytest.approx(2.5 * effect, abs=0.03)


def test_the_detectable_difference_is_what_simulation_finds():
    n, sd = 10, 2.0
    shift = minimum_detectable_difference(sd, n)
    samples = np.random.default_rng([6]).normal(shift, sd, (20_000, n))
    assert (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.80, abs=0.015)


def test_nothing_is_detectable_with_one_template():
    assert math.isnan(minimum_detectable_difference(1.0, 1))


def test_five_templates_or_an_interval_over_zero_are_not_ranked():
    def difference(values):
        names = [f"t{i}" for i in range(len(values))]
        return cluster_mean(values, names, names)

    assert "5 scenario templates" in why_not_ranked(difference([2.0, 2.1, 1.9, 2.2, 2.3]))
    assert why_not_ranked(difference([2.0, 2.1, 1.9, 2.2, 2.3, 2.0])) == ""
    assert why_not_ranked(difference([-2.0, -2.1, -1.9, -2.2, -2.3, -2.0])) == ""
    assert "includes 0" in why_not_ranked(difference([2.0, -2.1, 1.9, -2.2, 2.3, -2.0, 0.1]))


def test_the_interval_covers_the_truth_about_95_times_in_100():
    """Templates differ as much as episodes within them; a bootstrap over episodes would cover far less."""
    rng = np.random.default_rng([8])
    n_templates, per_template, runs = 30, 6, 300
    names = np.repeat([f"t{i:02}" for i in range(n_templates)], per_template)
    alone = [str(i) for i in range(len(names))]
    covered, naive = 0, 0
    for run in range(runs):
        level = np.repeat(rng.normal(0, 1, n_templates), per_template)
        values = 5 + level + rng.normal(0, 1, len(names))
        by_template = cluster_mean(values, names, names, seed=run, n_boot=400)
        by_episode = cluster_mean(values, alone, alone, seed=run, n_boot=400)
        covered += by_template.low <= 5 <= by_template.high
        naive += by_episode.low <= 5 <= by_episode.high
    assert 0.915 <= covered / runs <= 0.975
    assert naive / runs < 0.75


def flipped_by_hand(differences):
    """Share of all sign patterns whose mean is at least as far from 0 as the one seen."""
    seen = abs(sum(differences))
    patterns = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in patterns]
    return sum(total >= seen - 1e-9 for total in sums) / len(sums)


@pytest.mark.parametrize("n", [2, 5, 9, 12])
def test_the_permutation_test_counts_every_pattern_of_signs(n):
    rng = np.random.default_rng([9, n])
    first, second = rng.integers(0, 11, n).astype(float), rng.integers(0, 9, n).astype(float)
    names = [f"t{i:02}" for i in range(n)]
    assert sign_flip_p(first, second, names) == pytest.approx(flipped_by_hand(first - second))


def test_the_permutation_test_flips_templates_and_not_episodes():
    # Two templates of fifty pairs each, all in favour of the first: 2 of the 4 patterns are as extreme.
    assert sign_flip_p([5.0] * 50 + [6.0] * 50, [0.0] * 100, ["a"] * 50 + ["b"] * 50) == pytest.approx(0.5)
    assert math.isnan(sign_flip_p([1.0, 2.0], [0.0, math.nan], ["a", "b"]))


def test_with_many_templates_the_permutation_test_draws_patterns_and_agrees_with_the_t_test():
    rng = np.random.default_rng([10])
    names = [f"t{i:02}" for i in range(40)]
    first, second = rng.normal(0.35, 1, 40), np.zeros(40)
    p = sign_flip_p(first, second, names, seed=3)
    assert p == sign_flip_p(first, second, names, seed=3)
    assert p == pytest.approx(paired_t(first, second, names).p, abs=0.01)


def test_the_permutation_test_is_wrong_as_often_as_it_says():
    rng = np.random.default_rng([11])
    names = [f"t{i:02}" for i in range(8)]
    found = [sign_flip_p(rng.exponential(1, 8), rng.exponential(1, 8), names) <= 0.05 for _ in range(400)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.025)


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; no later one below an earlier one.
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == [] and holm([0.2]).tolist() == [0.2]


def test_a_missing_p_is_no_comparison():
    adjusted = holm([math.nan, 0.02, 0.03])
    assert math.isnan(adjusted[0]) and adjusted[1:].tolist() == pytest.approx([0.04, 0.04])


def test_effect_sizes_by_hand():
    # Differences 1, 2, 3: mean 2, sd 1. With 2 df the exact factor is gamma(1) / gamma(1/2) = 1 / sqrt(pi).
    test = paired_t([2, 4, 6], [1, 2, 3], ["a", "b", "c"])
    assert test.cohens_dz == pytest.approx(2.0)
    assert test.cohens_dz == pytest.approx(test.t / math.sqrt(test.n_templates))
    assert test.hedges_gz == pytest.approx(2 / math.sqrt(math.pi))


@pytest.mark.parametrize("df", [5, 13, 50])
def test_the_exact_correction_is_near_its_usual_approximation(df):
    assert hedges_correction(df) == pytest.approx(1 - 3 / (4 * df - 1), abs=2e-3)


def test_hedges_correction_takes_the_bias_away():
    samples = np.random.default_rng([12]).normal(0.5, 1, (40_000, 6))
    raw = samples.mean(axis=1) / samples.std(axis=1, ddof=1)
    assert raw.mean() > 0.57
    assert (raw * hedges_correction(5)).mean() == pytest.approx(0.5, abs=0.01)


def test_effect_sizes_without_spread_or_templates_are_no_nonsense():
    assert paired_t([1, 2, 3], [1, 2, 3], list("abc")).cohens_dz == 0.0
    assert math.isnan(paired_t([1], [0], ["a"]).hedges_gz) and math.isnan(hedges_correction(1))


def test_p_from_t_is_the_tables():
    # Critical values of Student's t, two-sided 5 %: 2.160 with 13 df, 2.228 with 10.
    assert two_sided_p(2.160, 13) == pytest.approx(0.05, abs=1e-4)
    assert two_sided_p(-2.228, 10) == pytest.approx(0.05, abs=1e-4)


def test_the_correlation_is_pearsons_and_its_interval_comes_from_templates():
    rng = np.random.default_rng([13])
    names = np.repeat([f"t{i:02}" for i in range(20)], 3)
    first = rng.normal(5, 2, 60)
    second = 0.7 * first + rng.normal(0, 1, 60)
    estimate = cluster_correlation(first, second, names, names)
    assert estimate.mean == pytest.approx(stats.pearsonr(first, second).statistic)
    assert 0.6 < estimate.low < estimate.mean < estimate.high < 1.0
    doubled = [np.concatenate([values, values]) for values in (first, second, names)]
    again = cluster_correlation(doubled[0], doubled[1], doubled[2], doubled[2])
    assert (again.low, again.high) == pytest.approx((estimate.low, estimate.high))  # copies are no further templates


def test_a_correlation_needs_spread_and_leaves_missing_scores_out():
    constant = cluster_correlation([0.1, 0.1, 0.1], [1.0, 2.0, 3.0], list("abc"), list("abc"))
    assert math.isnan(constant.mean) and math.isnan(constant.low)
    missing = cluster_correlation([1.0, 2.0, math.nan, 3.0], [2.0, 4.0, 9.0, 6.0], list("abcd"), list("abcd"))
    assert missing.mean == pytest.approx(1.0) and (missing.n_episodes, missing.n_missing) == (3, 1)
    assert math.isnan(cluster_correlation([], [], [], []).mean)
