# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The statistics of the studies: coverage on simulated runs, everything else against brute force."""

import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats


sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from studies.inference import (
    Estimate,
    estimate,
    exact_bootstrap,
    holm,
    mean_by_start,
    median_time,
    paired,
    t_interval,
    tost,
    units_that_tell,
    verdict,
)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("starts", [5, 8, 24])
def test_intervals_cover_with_variance_between_starts(starts, share):
    # 10,000 studies of three runs from each start; `share` of the variance is between starts
    rng = np.random.default_rng(0)
    between = rng.normal(0, math.sqrt(share), (10_000, starts, 1))
    runs = 2.5 + between + rng.normal(0, math.sqrt(1 - share), (10_000, starts, 3))
    _, low, high = t_interval(runs.mean(axis=-1))
    assert 0.94 <= ((low < 2.5) & (high > 2.5)).mean() <= 0.96
    if share:  # the reason for averaging: with runs as units the interval is too narrow
        _, low, high = t_interval(runs.reshape(10_000, -1))
        assert ((low < 2.5) & (high > 2.5)).mean() < 0.94


def test_intervals_of_skewed_values_cover_nearly_as_much():
    rng = np.random.default_rng(0)
    for starts in (5, 8, 24):
        alone = rng.exponential(1.0, (10_000, starts))
        together = rng.exponential(1.0, (10_000, starts, 3)).mean(axis=-1)
        for values, least in ((alone, 0.87), (together, 0.91)):  # as the module says
            _, low, high = t_interval(values)
            assert least <= ((low < 1) & (high > 1)).mean() < 0.95


def test_percentiles_of_the_bootstrap_cover_less():
    rng = np.random.default_rng(1)
    inside = []
    for values in rng.normal(0, 1, (300, 5)):
        means, probabilities = exact_bootstrap(values)
        low, high = means[np.searchsorted(np.cumsum(probabilities), [0.025, 0.975])]
        inside.append(low < 0 < high)
    assert np.mean(inside) < 0.9


def test_an_estimate_is_that_of_the_t_test():
    values = [1.0, 2.5, -0.5, 3.0, 2.0]
    found = estimate(values)
    test = stats.ttest_1samp(values, 0)
    wide, narrow = test.confidence_interval(0.95), test.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((wide.low, wide.high))
    assert (found.narrow_low, found.narrow_high) == pytest.approx((narrow.low, narrow.high))
    assert found.p == pytest.approx(test.pvalue) and found.units == 5 and found.mean == pytest.approx(1.6)
    alone = estimate([3.0])
    assert (alone.mean, alone.low, alone.high) == (3.0, -math.inf, math.inf)
    assert verdict(alone, 1.0) == "cannot be told (a single unit)"
    assert estimate([2.0, 2.0]).p == 0 and estimate([0.0, 0.0]).p == 1


def test_runs_of_a_start_are_averaged_and_pairs_are_of_the_same_seed():
    starts = {0: "a", 1: "a", 2: "b", 3: "b"}
    first, second = {0: 1.0, 1: 3.0, 2: 5.0, 3: 9.0, 4: 100.0}, {3: 1.0, 2: 1.0, 1: 1.0, 0: 1.0}
    assert mean_by_start(second | {0: 3.0}, starts) == [1.0, 2.0]
    found = paired(first, second, starts)
    assert found.units == 2 and found.mean == pytest.approx((1 + 6) / 2)
    assert paired(first, second).units == 4


def test_holm_is_the_closed_test_of_bonferroni():
    rng = np.random.default_rng(2)
    for _ in range(50):
        p = {f"claim {i}": float(v) for i, v in enumerate(rng.uniform(0, 0.2, 5))}
        adjusted = holm(p)
        for name in p:  # a claim counts if every set of claims that holds it is rejected by Bonferroni
            others = [other for other in p if other != name]
            sets = [s for k in range(5) for s in itertools.combinations(others, k)]
            closed = max(min(1.0, (len(s) + 1) * min(p[o] for o in (name, *s))) for s in sets)
            assert adjusted[name] == pytest.approx(closed)
    assert holm({}) == {}


def test_tost_is_two_one_sided_tests():
    values = np.array([0.3, -0.4, 0.2, 0.5, -0.1, 0.2])
    above = stats.ttest_1samp(values, -1.0, alternative="greater").pvalue
    below = stats.ttest_1samp(values, 1.0, alternative="less").pvalue
    found = estimate(values)
    assert tost(found, 1.0) == pytest.approx(max(above, below))
    for margin in (0.1, 0.3, 0.45, 1.0):  # the 90 % interval within the margin says the same
        inside = -margin < found.narrow_low and found.narrow_high < margin
        assert inside == (tost(found, margin) < 0.05)


def test_units_that_tell_find_the_difference_in_four_cases_of_five():
    units = units_that_tell(9.4, 4.0)
    assert units == 46
    rng = np.random.default_rng(3)
    for count, enough in ((units, True), (units // 2, False)):
        _, low, _ = t_interval(rng.normal(4.0, 9.4, (20_000, count)))
        assert ((low > 0).mean() >= 0.79) == enough
    shared = units_that_tell(9.4, 4.0, claims=10)
    _, low, _ = t_interval(rng.normal(4.0, 9.4, (20_000, shared)), 0.995)
    assert 0.79 <= (low > 0).mean() <= 0.82 and shared > units
    assert units_that_tell(0.0, 1.0) == 2 and units_that_tell(1.0, 100.0) == 2
    assert units_that_tell(100.0, 1.0) == pytest.approx(stats.norm.ppf([0.975, 0.8]).sum() ** 2 * 1e4, rel=1e-3)


def numbers(mean, half, narrow, p, units=8):
    return Estimate(mean, mean - half, mean + half, mean - narrow, mean + narrow, 2.0, units, p)


@pytest.mark.parametrize(
    ("value", "margin", "p", "expected"),
    [
        (numbers(2.0, 1.5, 1.2, 0.01), 1.0, None, "holds"),
        (numbers(-2.0, 1.5, 1.2, 0.01), 1.0, None, "does not hold"),
        (numbers(0.1, 1.1, 0.8, 0.8), 1.0, None, "no difference within the margin"),
        (numbers(0.3, 1.1, 0.8, 0.6), 1.0, None, "cannot be told (34 would tell)"),
        (numbers(2.0, 1.5, 1.2, 0.01), 1.0, 0.06, "cannot be told (34 would tell)"),  # one claim of several
        (numbers(0.5, 0.4, 0.3, 0.02), 1.0, None, "holds"),  # a small difference is one
    ],
)
def test_verdicts_follow_from_interval_and_margin(value, margin, p, expected):
    assert verdict(value, margin, p) == expected


def product_limit(times, ends):
    """Kaplan and Meier's median, from the definition."""
    left, alive = 1.0, len(times)
    for now in sorted({min(t, e) for t, e in zip(times, ends)}):
        events = sum(t == now for t in times)
        left *= 1 - events / alive
        if left <= 0.5 + 1e-12:
            return now
        alive -= sum(min(t, e) == now for t, e in zip(times, ends))
    return math.inf


def test_median_times_are_those_of_kaplan_and_meier():
    rng = np.random.default_rng(4)
    for _ in range(40):
        true, ends = rng.integers(1, 30, 9).astype(float), rng.integers(5, 25, 9).astype(float)
        times = np.where(true <= ends, true, math.inf)
        found = median_time(times, ends)
        assert found.median == product_limit(times, ends)
        assert found.low <= found.median <= found.high
        assert (found.reached, found.runs) == (np.isfinite(times).sum(), 9)
    nobody = median_time([math.inf] * 3, [10.0] * 3)
    assert nobody.median == math.inf and nobody.reached == 0
    assert median_time([3.0, 5.0, 9.0], [10.0] * 3).median == 5.0


def test_intervals_of_median_times_cover():
    rng = np.random.default_rng(5)
    inside = []
    for _ in range(400):
        true, ends = rng.exponential(1.0, 20), rng.uniform(0.5, 3.0, 20)
        found = median_time(np.where(true <= ends, true, math.inf), ends)
        inside.append(found.low <= math.log(2) <= found.high)
    assert 0.92 <= np.mean(inside) <= 0.99


def test_the_exact_bootstrap_counts_every_sample():
    values = [1.0, 4.0, 2.0, 8.0]
    means, probabilities = exact_bootstrap(values)
    samples = np.array([np.mean(s) for s in itertools.product(values, repeat=4)])
    assert probabilities.sum() == pytest.approx(1)
    for bound in (1.5, 3.0, 5.2):
        assert probabilities[means <= bound].sum() == pytest.approx((samples <= bound).mean())
    with pytest.raises(ValueError, match="at most 10"):
        exact_bootstrap(range(11))
