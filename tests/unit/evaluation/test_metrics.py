# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Evaluation metrics against brute force."""

import itertools
import math

import numpy as np
import pytest

from mmr1_trl.evaluation.metrics import (
    bootstrap_interval,
    majority_correct,
    mean_interval,
    pass_at_k,
    wilson_interval,
)


@pytest.mark.parametrize("num_correct", range(7))
@pytest.mark.parametrize("k", range(1, 7))
def test_pass_at_k_equals_counting_every_draw(num_correct, k):
    outcomes = [True] * num_correct + [False] * (6 - num_correct)
    draws = list(itertools.combinations(outcomes, k))
    assert pass_at_k(6, num_correct, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 10), (10, 10), (417, 600)])
def test_wilson_bounds_solve_the_score_equation(successes, trials):
    # The Wilson bounds are the rates p at which the observed rate lies exactly 1.96 standard errors (of p) away.
    rate = successes / trials
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= rate <= high + 1e-12 <= 1 + 1e-12 and low < high
    for bound in (low, high):
        squared_distance = 1.959963984540054**2 * bound * (1 - bound) / trials
        assert (rate - bound) ** 2 == pytest.approx(squared_distance, abs=1e-12)


def test_bootstrap_is_near_the_normal_interval_and_deterministic():
    values = np.random.default_rng(1).normal(0.4, 0.2, 400).tolist()
    low, high = bootstrap_interval(values, seed=3)
    half = 1.96 * np.std(values) / math.sqrt(400)
    assert low == pytest.approx(np.mean(values) - half, abs=0.004)
    assert high == pytest.approx(np.mean(values) + half, abs=0.004)
    assert bootstrap_interval(values, seed=3) == (low, high)
    assert bootstrap_interval(values, seed=4) != (low, high)


def test_mean_interval_takes_wilson_for_zeros_and_ones_only():
    assert mean_interval([0.0, 1.0, 1.0]) == wilson_interval(2, 3)
    assert mean_interval([0.0, 0.5, 1.0]) == bootstrap_interval([0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("extracted", "correct", "expected"),
    [
        (["3", "4", "4"], [1.0, 0.0, 0.0], 0.0),
        (["3", " 3", "4"], [1.0, 1.0, 0.0], 1.0),
        (["Red", "red", "blue"], [1.0, 1.0, 0.0], 1.0),
        ([None, None, "3"], [0.0, 0.0, 1.0], 1.0),
        ([None, None], [0.0, 0.0], 0.0),
        (["3", "4"], [1.0, 0.0], 1.0),
    ],
)
def test_majority_vote(extracted, correct, expected):
    assert majority_correct(extracted, correct) == expected
