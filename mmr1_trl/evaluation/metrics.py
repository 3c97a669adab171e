# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What is computed from scored completions: means with 95 % intervals, pass@k and the majority vote."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


GREEDY = -1  # the number of a greedy completion, in the column `sample` of predictions
_RIGHT = 0.5  # a score counts as right from here on; the scorer of most answer types gives 0 or 1
_Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


def greedy_only(predictions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the predictions of greedy decoding, without those of samples."""
    return [prediction for prediction in predictions if prediction["sample"] == GREEDY]


def is_right(score: float) -> bool:
    """Whether the score of a completion counts as a right answer."""
    return score >= _RIGHT


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """
    95 % Wilson score interval of a proportion. Unlike the normal approximation it stays inside [0, 1] and has a width
    even when every trial succeeded.

    Args:
        successes (`float`):
            Number of successes.
        trials (`int`):
            Number of trials, at least 1.

    Returns:
        `tuple[float, float]`: Lower and upper bound.
    """
    rate = successes / trials
    shrink = 1 + _Z95**2 / trials
    center = (rate + _Z95**2 / (2 * trials)) / shrink
    half = _Z95 / shrink * math.sqrt(rate * (1 - rate) / trials + _Z95**2 / (4 * trials**2))
    return max(0.0, center - half), min(1.0, center + half)


def bootstrap_interval(values: Sequence[float], seed: int = 0, resamples: int = 1000) -> tuple[float, float]:
    """
    95 % percentile bootstrap interval of a mean.

    Args:
        values (`Sequence[float]`):
            One value per independent unit. For several samples per prompt this is the prompt's mean: the samples of
            one prompt are not independent of each other.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the resampling.
        resamples (`int`, *optional*, defaults to `1000`):
            Number of bootstrap resamples.

    Returns:
        `tuple[float, float]`: Lower and upper bound.
    """
    data = np.asarray(values, dtype=float)
    generator = np.random.default_rng(seed)
    means = np.array([data[generator.integers(0, len(data), len(data))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def mean_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of `values`: Wilson's when every value is 0 or 1, otherwise the bootstrap's."""
    if all(value in (0.0, 1.0) for value in values):
        return wilson_interval(sum(values), len(values))
    return bootstrap_interval(values, seed)


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """
    Probability that at least one of `k` completions drawn from `num_samples` without replacement is correct: the
    unbiased estimator of Chen et al., "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374), eq. 1.

    Args:
        num_samples (`int`):
            Completions sampled for the prompt.
        num_correct (`int`):
            How many of them are correct.
        k (`int`):
            Size of the draw, at most `num_samples`.

    Returns:
        `float`: The estimate, in [0, 1].
    """
    return 1.0 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)


def majority_correct(extracted: Sequence[str | None], correct: Sequence[float]) -> float:
    """
    Score of the answer that most completions of one prompt agree on (self-consistency, arXiv 2203.11171). Completions
    without an answer do not vote; a tie goes to the answer that came first.

    Args:
        extracted (`Sequence[str | None]`):
            The answer extracted from each completion; compared without case and surrounding white space.
        correct (`Sequence[float]`):
            The score of each completion.

    Returns:
        `float`: The score of the winning answer's first completion, 0.0 when no completion has an answer.
    """
    votes = [None if answer is None else answer.strip().casefold() for answer in extracted]
    counts = Counter(vote for vote in votes if vote is not None)
    if not counts:
        return 0.0
    return correct[votes.index(counts.most_common(1)[0][0])]
