"""Agreement between people: every statistic against numbers that others published or that other packages compute."""

import math

import numpy as np
import pytest

from sotopia_pi.analysis.agreement import (
    alpha_interval,
    correlation,
    correlation_interval,
    kappa_of,
    krippendorff_alpha,
    pairwise_agreement,
    randolph_kappa,
)

N = math.nan
KRIPPENDORFF = np.array(
    [
        [1, 1, N, 1],
        [2, 2, 3, 2],
        [3, 3, 3, 3],
        [3, 3, 3, 3],
        [2, 2, 2, 2],
        [1, 2, 3, 4],
        [4, 4, 4, 4],
        [1, 1, 2, 1],
        [2, 2, 2, 2],
        [N, 5, 5, 5],
        [N, N, 1, 1],
        [N, N, 3, N],
    ]
)
"""The worked example of Krippendorff, Computing Krippendorff's alpha-reliability (2011): 12 units, 4 observers."""

THREE_RATERS = np.array(
    [
        [3, 4, 4], [4, N, N], [4, N, 4], [3, 3, 3], [2, 4, 6], [1, 4, 3], [4, 8, 6], [6, 8, 9], [4, N, 4], [5, 6, 3],
        [6, 5, 6], [4, 5, 5], [7, N, N], [N, 4, 0], [N, 5, 7], [7, 6, 6], [2, 5, 2], [4, N, N], [1, 0, 1], [2, N, 3],
        [1, 2, 1], [6, N, N], [N, 3, N], [N, 5, N], [6, N, 4], [N, 5, 5], [0, 0, 1], [5, N, 4], [N, 3, 5], [4, N, 6],
    ]
)  # fmt: skip

FLEISS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
"""The textbook table of 10 subjects, 14 raters and 5 categories: how many raters chose each category."""


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_krippendorffs_own_on_his_worked_example(level, alpha):
    assert krippendorff_alpha(KRIPPENDORFF, level) == pytest.approx(alpha, abs=5e-4)


@pytest.mark.parametrize(
    ("level", "alpha"),
    [("nominal", 0.16767738023044287), ("ordinal", 0.6291231463571889), ("interval", 0.654915738700649)],
)
def test_alpha_with_many_missing_ratings_is_that_of_the_package_krippendorff(level, alpha):
    assert krippendorff_alpha(THREE_RATERS, level) == pytest.approx(alpha, rel=1e-12)


def test_kappa_is_that_of_statsmodels_for_fourteen_raters():
    ratings = [[category for category, n in enumerate(row) for _ in range(n)] for row in FLEISS]
    assert randolph_kappa(ratings, 5) == pytest.approx(0.2225274725274725, rel=1e-12)


@pytest.mark.parametrize(
    ("dimension", "agreement", "kappa", "categories"),
    [
        ("believability", 0.7908, 0.5816, 2),
        ("relationship", 0.8214, 0.7321, 3),
        ("knowledge", 0.8673, 0.7347, 2),
        ("social_rules", 0.9694, 0.9388, 2),
        ("secret", 0.9949, 0.9898, 2),
        ("goal", 0.801, 0.602, 2),
    ],
)
def test_kappa_follows_from_the_published_agreement(dimension, agreement, kappa, categories):
    """Sotopia-π, Table 8. Its 7th row (financial: 0.9133, 0.8776) fits 3 categories only as 0.9184, 0.8776."""
    assert kappa_of(agreement, categories) == pytest.approx(kappa, abs=2e-4), dimension


def test_agreement_is_counted_by_unit_and_units_with_one_rating_say_nothing():
    ratings = [[1, 1, N], [1, 3, 1], [4, N, N], [2, 3, N]]
    assert pairwise_agreement(ratings) == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert pairwise_agreement(ratings, within=1) == pytest.approx((1 + 1 / 3 + 1) / 3)
    assert math.isnan(pairwise_agreement([[1, N], [N, 2]]))


def test_raters_who_always_agree_have_alpha_one_and_kappa_one():
    same = [[1, 1], [5, 5], [9, 9]]
    assert randolph_kappa(same, 11) == 1
    assert [krippendorff_alpha(same, level) for level in ("nominal", "ordinal", "interval")] == [1, 1, 1]


def test_where_nothing_could_disagree_there_is_no_alpha():
    assert math.isnan(krippendorff_alpha([[4, 4], [4, 4]], "interval"))
    assert math.isnan(krippendorff_alpha([[4, N], [N, 5]], "nominal"))
    assert math.isnan(krippendorff_alpha(np.full((3, 2), N), "ordinal"))
    with pytest.raises(ValueError, match="allowed: nominal, ordinal, interval"):
        krippendorff_alpha(KRIPPENDORFF, "ratio")
    with pytest.raises(ValueError, match="at least 2"):
        randolph_kappa(KRIPPENDORFF, 1)


def test_the_interval_of_alpha_comes_from_whole_templates():
    good, bad = [[1, 1], [9, 9], [5, 5]], [[1, 9], [9, 1], [5, 1]]
    low, high = alpha_interval([*good, *bad], ["a"] * 3 + ["b"] * 3, "interval")
    assert high == 1 and low == pytest.approx(krippendorff_alpha(bad * 2, "interval"))
    assert all(math.isnan(end) for end in alpha_interval(good, ["a"] * 3, "interval"))
    one_rater = [*good, [3, N]]
    assert all(math.isnan(end) for end in alpha_interval(one_rater, ["a"] * 3 + ["b"], "interval"))


def test_resampled_alphas_are_those_of_resampled_units():
    """The interval is made from sums of coincidences; here the same resamples are put together unit by unit."""
    templates = [f"t{i % 5}" for i in range(len(THREE_RATERS))]
    drawn = np.random.default_rng([3, 5]).integers(5, size=(200, 5))
    alphas = [
        krippendorff_alpha(np.concatenate([THREE_RATERS[int(t) :: 5] for t in draw]), "ordinal") for draw in drawn
    ]
    expected = np.percentile(alphas, [2.5, 97.5])
    assert alpha_interval(THREE_RATERS, templates, "ordinal", seed=3, n_boot=200) == pytest.approx(tuple(expected))


def test_correlations_are_those_of_scipy():
    x, y = [0, 1, 2, 3, 10], [1, 3, 2, 5, 5]
    assert correlation(x, y) == pytest.approx(0.7336324423780305, rel=1e-12)
    assert correlation(x, y, ranks=True) == pytest.approx(0.8720815992723809, rel=1e-12)
    assert math.isnan(correlation([1, 2], [3, 3])) and math.isnan(correlation([1], [1]))


def test_the_interval_of_a_correlation_comes_from_whole_templates():
    x, y = [0, 1, 2, 0, 1, 2], [0, 1, 2, 2, 1, 0]
    assert correlation_interval(x, y, ["a"] * 3 + ["b"] * 3) == pytest.approx((-1, 1))
    assert all(math.isnan(end) for end in correlation_interval(x, y, ["a"] * 6))
