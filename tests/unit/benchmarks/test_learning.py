# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the learning studies make of their curves, against numbers worked out by hand."""

import math
import sys
from pathlib import Path

import pytest


sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from studies.lines import area, by_arm, final, mean_interval, paired, ratio_of_rollouts, rollouts_to


def run(arm, seed, *points):
    curve = [{"rollouts": rollouts, "step": rollouts // 10, "greedy": greedy} for rollouts, greedy in points]
    return {"part": "learning", "arm": arm, "seed": seed, "curve": curve}


SLOW = run("slow", 0, (0, 0.2), (100, 0.4), (200, 0.8))
FAST = run("fast", 0, (0, 0.2), (50, 0.8), (200, 0.8))


def test_area_is_the_mean_under_straight_lines():
    assert area(SLOW, 200) == pytest.approx((0.3 + 0.6) / 2, abs=1e-3)
    assert area(SLOW, 100) == pytest.approx(0.3, abs=1e-3)
    assert area(SLOW, 20, x="step") == pytest.approx(0.45, abs=1e-3)
    assert area(SLOW, 400) == pytest.approx((0.45 + 0.8) / 2, abs=2e-3)  # a curve goes on at its last value


def test_rollouts_to_a_level():
    assert rollouts_to(SLOW, 0.6) == pytest.approx(150)
    assert rollouts_to(SLOW, 0.1) == 0 and rollouts_to(SLOW, 0.9) == math.inf
    assert final(SLOW) == 0.8


def test_differences_and_ratios_are_taken_seed_by_seed():
    other = [run("slow", 1, (0, 0.0), (100, 0.5)), run("fast", 1, (0, 0.0), (50, 0.5), (100, 0.5))]
    arms = by_arm([SLOW, FAST, *other, run("fast", 2, (0, 1.0), (100, 1.0))], "learning")
    assert paired(arms, "fast", "slow", final).startswith("+0.0 (+0.0")
    # 25 of 100 and 50 of 100 rollouts to 0.4 and 0.5: the geometric mean of the ratios
    assert ratio_of_rollouts(arms, "fast", "slow", 0.4).startswith(f"{math.sqrt((50 / 3 / 100) * 0.5):.2f} (")
    assert ratio_of_rollouts(arms, "slow", "fast", 0.8) == "reached on 1 against 1 of 2 seeds"
    with_limit = by_arm([SLOW, run("worse", 0, (0, 0.2), (200, 0.4))], "learning")
    assert ratio_of_rollouts(with_limit, "worse", "slow", 0.8) == "reached on 0 of 1 seeds"
    assert ratio_of_rollouts(with_limit, "slow", "worse", 0.8) == "reached on 1 against 0 of 1 seeds"


def test_an_interval_holds_its_mean():
    mean, low, high = mean_interval([0.1, 0.2, 0.3, 0.4, 0.5])
    assert mean == pytest.approx(0.3) and 0.1 < low < 0.3 < high < 0.5
