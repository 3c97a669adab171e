# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The statistics of every study: intervals, tests and verdicts, from one number per run.

Runs that begin from the same start are not independent of each other. So the unit is the start: what is measured on
its runs is averaged first, and Student's t goes over starts. With as many runs from each start that is the exact
answer of the mixed model with a random start. A study with a single start can only speak of that start; its units are
its seeds.

Coverage of the 95 % intervals over 10,000 simulated studies: of normal values 95 % whatever the number of starts and
the share of the variance between them; of exponential ones, which are as skewed as anything here, 92 to 94 % with
three runs from each of 5 to 24 starts, and 88 to 93 % with one.
"""

import math
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats


LEVEL = 0.95  # of intervals
POWER = 0.8  # at which "the number that would tell" is counted


@dataclass(frozen=True)
class Estimate:
    """
    A mean and how well it is known.

    Args:
        mean, low, high (`float`):
            Mean over units and its 95 % interval by Student's t.
        narrow_low, narrow_high (`float`):
            The 90 % interval, which tells that a difference is smaller than a margin: lying within it is the same as
            two one-sided tests (TOST) at 5 %.
        deviation (`float`):
            Standard deviation between units.
        units (`int`):
            Starts, or seeds where there is one start. With a single unit all but the mean is infinite or NaN.
        p (`float`):
            Two-sided p-value of a mean of 0.
    """

    mean: float
    low: float
    high: float
    narrow_low: float
    narrow_high: float
    deviation: float
    units: int
    p: float


def t_interval(values: Any, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Student's t interval of the mean over the last axis.

    Args:
        values (`array` of shape `(..., units)`):
            Independent values.
        level (`float`, *optional*, defaults to `0.95`):
            Of the interval.

    Returns:
        `tuple[array, array, array]`: Means and both ends, each of shape `(...)`.
    """
    array = np.asarray(values, dtype=float)
    units = array.shape[-1]
    mean = array.mean(axis=-1)
    if units < 2:
        return mean, np.full_like(mean, -math.inf), np.full_like(mean, math.inf)
    half = stats.t.ppf((1 + level) / 2, units - 1) * array.std(axis=-1, ddof=1) / math.sqrt(units)
    return mean, mean - half, mean + half


def mean_by_start(values: Mapping[Hashable, float], starts: Mapping[Hashable, Hashable] | None = None) -> list[float]:
    """
    Average the values of the runs of each start.

    Args:
        values (`Mapping`):
            One value for each seed.
        starts (`Mapping`, *optional*):
            Start of each seed. By default every seed is a unit of its own.

    Returns:
        `list[float]`: One value per start.
    """
    groups: dict[Hashable, list[float]] = {}
    for seed, value in values.items():
        groups.setdefault(starts[seed] if starts is not None else seed, []).append(value)
    return [float(np.mean(group)) for group in groups.values()]


def estimate(units: Iterable[float]) -> Estimate:
    """Mean, intervals and p-value of independent values; see [`mean_by_start`] for runs that share starts."""
    array = np.asarray(list(units), dtype=float)
    mean, low, high = map(float, t_interval(array))
    _, narrow_low, narrow_high = map(float, t_interval(array, 2 * LEVEL - 1))
    if len(array) < 2:
        return Estimate(mean, low, high, narrow_low, narrow_high, math.nan, len(array), math.nan)
    deviation = float(array.std(ddof=1))
    error = deviation / math.sqrt(len(array))
    if error == 0:
        p = 1.0 if mean == 0 else 0.0
    else:
        p = float(2 * stats.t.sf(abs(mean) / error, len(array) - 1))
    return Estimate(mean, low, high, narrow_low, narrow_high, deviation, len(array), p)


def paired(
    first: Mapping[Hashable, float],
    second: Mapping[Hashable, float],
    starts: Mapping[Hashable, Hashable] | None = None,
) -> Estimate:
    """
    Estimate the difference of two arms on the seeds that both have.

    Args:
        first, second (`Mapping`):
            One value for each seed.
        starts (`Mapping`, *optional*):
            Start of each seed.

    Returns:
        [`Estimate`]: Of `first - second`.
    """
    seeds = [seed for seed in first if seed in second]
    return estimate(mean_by_start({seed: first[seed] - second[seed] for seed in seeds}, starts))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """
    Adjust p-values for being several, by Holm's step-down rule: whatever of them is below 5 % may be claimed, and the
    chance of any false claim stays below 5 %.

    Args:
        p_values (`Mapping[str, float]`):
            Of all named claims, by name.

    Returns:
        `dict[str, float]`: Adjusted ones, in the same order.
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def tost(value: Estimate, margin: float) -> float:
    """
    Test that a difference is smaller than `margin`, either way, by two one-sided t tests.

    Returns:
        `float`: The larger of the two p-values.
    """
    error = value.deviation / math.sqrt(value.units)
    if error == 0:
        return 0.0 if abs(value.mean) < margin else 1.0
    return float(stats.t.sf((margin - abs(value.mean)) / error, value.units - 1))


def units_that_tell(deviation: float, difference: float, claims: int = 1) -> int:
    """
    Count the units with which the t test finds a true difference in four cases of five.

    Args:
        deviation (`float`):
            Standard deviation between units.
        difference (`float`):
            The difference that is to be found.
        claims (`int`, *optional*, defaults to `1`):
            Number of claims that the 5 % are shared by.

    Returns:
        `int`: At least 2.
    """
    level = (1 - LEVEL) / claims
    units = 2
    while _power(units, deviation, difference, level) < POWER:
        units += max(1, units // 50)
    while units > 2 and _power(units - 1, deviation, difference, level) >= POWER:
        units -= 1
    return units


def _power(units: int, deviation: float, difference: float, level: float) -> float:
    if deviation == 0:
        return 1.0
    bound = stats.t.isf(level / 2, units - 1)
    shift = abs(difference) / deviation * math.sqrt(units)
    return float(stats.nct.sf(bound, units - 1, shift) + stats.nct.cdf(-bound, units - 1, shift))


def verdict(value: Estimate, margin: float, p: float | None = None, claims: int = 1) -> str:
    """
    Say what an estimate tells about the claim that a difference is greater than zero.

    Args:
        value ([`Estimate`]):
            Of the difference, positive as claimed.
        margin (`float`):
            The smallest difference that would matter, in the same unit, named before the runs.
        p (`float`, *optional*):
            Its p-value, adjusted for other claims; its own by default.
        claims (`int`, *optional*, defaults to `1`):
            Number of claims that it was adjusted for, this one included.

    Returns:
        `str`: `"holds"`; `"does not hold"` (the contrary is shown); `"no difference within the margin"` (it is smaller
        than the margin, either way; when both it and `"holds"` are true, it is `"holds"`); or `"cannot be told (N
        would tell)"`, N being the units with which a difference of `margin` would be found in four cases of five.
    """
    p = value.p if p is None else p
    if value.units < 2:
        return "cannot be told (a single unit)"
    if p < 1 - LEVEL:
        return "holds" if value.mean > 0 else "does not hold"
    if -margin < value.narrow_low and value.narrow_high < margin:
        return "no difference within the margin"
    return f"cannot be told ({units_that_tell(value.deviation, margin, claims)} would tell)"


@dataclass(frozen=True)
class Median:
    """
    Median time to a threshold that not every run reaches.

    Args:
        median, low, high (`float`):
            By Kaplan and Meier, with a 95 % interval (complementary log-log); `inf` where too few reach it.
        reached, runs (`int`):
            How many runs reach the threshold, and of how many.
    """

    median: float
    low: float
    high: float
    reached: int
    runs: int


def median_time(times: Sequence[float], ends: Sequence[float]) -> Median:
    """
    Estimate the median time to a threshold.

    Args:
        times (`list[float]`):
            Time at which each run reaches it; `inf` if it does not.
        ends (`list[float]`):
            Until when each run was watched.
    """
    missed = ~np.isfinite(np.asarray(times, dtype=float))
    watched = np.where(missed, ends, times)
    sample = stats.CensoredData.right_censored(watched, missed)
    survival = stats.ecdf(sample).sf
    reached = int((~missed).sum())
    if not reached:
        return Median(math.inf, math.inf, math.inf, 0, len(watched))
    with warnings.catch_warnings(action="ignore"):  # it is undefined where all or none are left
        interval = survival.confidence_interval(LEVEL, method="log-log")

    def half(function: Any) -> float:
        at = function.quantiles[np.nan_to_num(function.probabilities, nan=1.0) <= 0.5]
        return float(at[0]) if len(at) else math.inf

    # After the last run nothing is left, and the upper end is undefined rather than 1.
    median = half(survival)
    return Median(median, min(half(interval.low), median), half(interval.high), reached, len(watched))


def exact_bootstrap(values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """
    Compute the distribution of the mean of a sample drawn from these values with replacement, without drawing.

    For pictures only: its percentiles are intervals that are too narrow for as few values as it can be computed for.

    Args:
        values (`list[float]`):
            At most ten.

    Returns:
        `tuple[array, array]`: Possible means in order, and their probabilities.
    """
    array = np.asarray(values, dtype=float)
    if len(array) > 10:
        raise ValueError(f"{len(array)} values have too many samples to count; at most 10.")
    means, probabilities = [], []
    for counts in _compositions(len(array), len(array)):
        ways = math.factorial(len(array)) // math.prod(math.factorial(count) for count in counts)
        means.append(np.dot(counts, array) / len(array))
        probabilities.append(ways / len(array) ** len(array))
    order = np.argsort(means)
    return np.asarray(means)[order], np.asarray(probabilities)[order]


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways of writing `total` as a sum of `parts` numbers, in order."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
