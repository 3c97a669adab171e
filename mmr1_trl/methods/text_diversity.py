# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""How different a prompt's rollouts are from each other, measured on token ids."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from rapidfuzz.distance import Levenshtein

from mmr1_trl.errors import BadInputError, did_you_mean


DIVERSITY_METRICS = ("self_bleu", "distinct_n", "edit_distance")

# NLTK's SmoothingFunction().method1: a precision without a single match counts as 0.1 matches.
_EPSILON = 0.1


def self_bleu(sequences: Sequence[Sequence[int]], weights: Sequence[float] = (1 / 3, 1 / 3, 1 / 3)) -> float:
    """
    Mean BLEU of each rollout against all the others, equal to NLTK's `sentence_bleu` with smoothing `method1`.

    The n-grams of every rollout are counted once. What a rollout may match is the largest count among the others: the
    overall largest, or the second largest for the rollout that holds the largest itself.

    Source: the `self_bleu_123` of MMR1's released code; the paper, https://huggingface.co/papers/2509.21268 (Sec. 3),
    names self-BLEU as one choice of diversity.

    Args:
        sequences (`list[list[int]]`):
            Token ids of each rollout, without padding.
        weights (`tuple[float]`, *optional*, defaults to `(1/3, 1/3, 1/3)`):
            Weights of 1-grams, 2-grams, and so on.

    Returns:
        `float` in [0, 1]: 1 when all are alike. As in NLTK an empty rollout has BLEU 0, and rollouts shorter than
        `len(weights)` stay below 1 even when identical. Fewer than two rollouts, or only empty ones, give 1.
    """
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    if len(lengths) < 2 or not lengths.any():
        return 1.0
    joined = np.concatenate([np.asarray(sequence, dtype=np.int64) for sequence in sequences])
    owners = np.repeat(np.arange(len(lengths)), lengths)
    tokens = np.unique(joined, return_inverse=True)[1]
    vocabulary = int(tokens.max()) + 1
    starts, grams = np.arange(len(tokens)), tokens.copy()
    nothing_matched = np.zeros(len(lengths), dtype=bool)
    log_bleu = np.zeros(len(lengths))
    for n, weight in enumerate(weights, start=1):
        if n > 1:
            # An n-gram is the (n-1)-gram at its start and one more token of the same rollout.
            starts = starts[starts + n - 1 < len(tokens)]
            starts = starts[owners[starts] == owners[starts + n - 1]]
            longer = grams[starts] * vocabulary + tokens[starts + n - 1]
            grams[starts] = np.unique(longer, return_inverse=True)[1]
        matches = _clipped_matches(grams[starts], owners[starts], len(lengths))
        if n == 1:
            nothing_matched = matches == 0
        log_bleu += weight * np.log(np.where(matches > 0, matches, _EPSILON) / np.maximum(lengths - n + 1, 1))
    scores = np.where(nothing_matched, 0.0, np.exp(log_bleu) * _brevity_penalties(lengths))
    return float(scores.mean())


def distinct_n(sequences: Sequence[Sequence[int]], n: int = 3) -> float:
    """
    Share of distinct n-grams among all n-grams of all rollouts.

    Source: MMR1, https://huggingface.co/papers/2509.21268 (Sec. 3), names it as one choice of diversity; its released
    code has `n = 3`.

    Args:
        sequences (`list[list[int]]`):
            Token ids of each rollout, without padding.
        n (`int`, *optional*, defaults to `3`):
            Length of the n-grams.

    Returns:
        `float` in [0, 1]: 1 when no n-gram occurs twice; 0 when no rollout is as long as `n`.
    """
    grams = [gram for sequence in sequences for gram in zip(*(sequence[k:] for k in range(n)))]
    return len(set(grams)) / len(grams) if grams else 0.0


def edit_distance(sequences: Sequence[Sequence[int]]) -> float:
    """
    Mean over all pairs of rollouts of their Levenshtein distance, divided by the length of the longer one.

    Source: MMR1, https://huggingface.co/papers/2509.21268. Its theory (App. A.3) has the mean *squared* normalized
    distance, its released code the unnormalized one.

    Args:
        sequences (`list[list[int]]`):
            Token ids of each rollout, without padding.

    Returns:
        `float` in [0, 1]: 0 when all are alike or when there are fewer than two.
    """
    pairs = [Levenshtein.normalized_distance(a, b) for a, b in combinations([list(s) for s in sequences], 2)]
    return sum(pairs) / len(pairs) if pairs else 0.0


def trajectory_diversity(sequences: Sequence[Sequence[int]], metric: str = "self_bleu") -> float:
    """
    Trajectory Diversity Score: how different the rollouts of one prompt are.

    Source: MMR1, https://huggingface.co/papers/2509.21268 (Sec. 3, TDS). The paper speaks of "inverse self-BLEU"; this
    is `1 - self_bleu`. Its released code does not invert at all: see
    [`~methods.variance_promotion.padded_self_bleu`].

    Args:
        sequences (`list[list[int]]`):
            Token ids of each rollout, without padding.
        metric (`str`, *optional*, defaults to `"self_bleu"`):
            `"self_bleu"` (as `1 - self_bleu`), `"distinct_n"` (with n = 3) or `"edit_distance"`.

    Returns:
        `float` in [0, 1]: High means diverse. Fewer than two rollouts, or only empty ones, give 0.
    """
    if metric not in DIVERSITY_METRICS:
        hint = did_you_mean(metric, DIVERSITY_METRICS)
        raise BadInputError(f"Unknown diversity metric {metric!r}; choose from {', '.join(DIVERSITY_METRICS)}.{hint}")
    if len(sequences) < 2:
        return 0.0
    if metric == "self_bleu":
        return 1.0 - self_bleu(sequences)
    return distinct_n(sequences) if metric == "distinct_n" else edit_distance(sequences)


def _clipped_matches(grams: np.ndarray, owners: np.ndarray, num_sequences: int) -> np.ndarray:
    """Per rollout, the number of its n-grams that the others hold too, each at most as often as one of them does."""
    cells, counts = np.unique(grams * num_sequences + owners, return_counts=True)
    gram, owner = np.divmod(cells, num_sequences)
    # Cells sorted by gram, the largest count first: the first two of each run are what is needed.
    order = np.lexsort((-counts, gram))
    first = np.flatnonzero(np.diff(gram, prepend=-1))
    size = np.diff(first, append=len(gram))
    second = np.where(size > 1, counts[order[np.minimum(first + 1, len(gram) - 1)]], 0)
    limit = np.repeat(counts[order[first]], size)
    limit[order[first]] = second
    return np.bincount(owner, weights=np.minimum(counts, limit), minlength=num_sequences)


def _brevity_penalties(lengths: np.ndarray) -> np.ndarray:
    """BLEU's penalty for a rollout shorter than the nearest in length of the others (the shorter one on a tie)."""
    penalties = np.zeros(len(lengths))
    for i, length in enumerate(lengths.tolist()):
        nearest = min(np.delete(lengths, i).tolist(), key=lambda other: (abs(other - length), other))
        if length > 0:
            penalties[i] = 1.0 if length > nearest else np.exp(1.0 - nearest / length)
    return penalties
