# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Text diversity against NLTK and against textbook loops."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.text_diversity import distinct_n, edit_distance, self_bleu, trajectory_diversity


METRICS = ["self_bleu", "distinct_n", "edit_distance"]


def nltk_self_bleu(sequences, weights=(1 / 3, 1 / 3, 1 / 3)):
    scores = []
    for i, hypothesis in enumerate(sequences):
        others = [s for j, s in enumerate(sequences) if j != i]
        smoothing = SmoothingFunction().method1
        scores.append(sentence_bleu(others, hypothesis, weights=weights, smoothing_function=smoothing))
    return sum(scores) / len(scores)


def levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


# Few different tokens, so that n-grams are shared; large ids, so that nothing relies on them being small.
rollouts = st.lists(st.lists(st.sampled_from([0, 1, 2, 151_935, 7_000_000_000]), max_size=12), min_size=2, max_size=6)


@settings(deadline=None)
@given(rollouts.filter(any))
def test_self_bleu_is_nltks(sequences):
    assert self_bleu(sequences) == pytest.approx(nltk_self_bleu(sequences), abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(rollouts.filter(any), st.sampled_from([(1.0,), (0.5, 0.5), (0.25, 0.25, 0.25, 0.25)]))
def test_self_bleu_is_nltks_for_other_weights(sequences, weights):
    assert self_bleu(sequences, weights) == pytest.approx(nltk_self_bleu(sequences, weights), abs=1e-9)


@given(rollouts)
def test_edit_distance_is_the_mean_over_pairs(sequences):
    pairs = [levenshtein(a, b) / max(len(a), len(b), 1) for a, b in combinations(sequences, 2)]
    assert edit_distance(sequences) == pytest.approx(sum(pairs) / len(pairs))


@given(rollouts, st.integers(1, 4))
def test_distinct_n_is_a_share_of_ngrams(sequences, n):
    grams = [tuple(s[i : i + n]) for s in sequences for i in range(len(s) - n + 1)]
    assert distinct_n(sequences, n) == pytest.approx(len(set(grams)) / len(grams) if grams else 0.0)


@given(rollouts, st.sampled_from(METRICS), st.randoms())
def test_diversity_is_a_share_and_blind_to_order(sequences, metric, random):
    value = trajectory_diversity(sequences, metric)
    assert 0.0 <= value <= 1.0
    shuffled = random.sample(sequences, len(sequences))
    assert trajectory_diversity(shuffled, metric) == pytest.approx(value)


@pytest.mark.parametrize("metric", METRICS)
def test_high_means_diverse(metric):
    alike = [[1, 2, 3, 4, 5, 6]] * 4
    different = [[10 * i + k for k in range(6)] for i in range(4)]
    assert trajectory_diversity(different, metric) > 0.9
    assert trajectory_diversity(alike, metric) < 0.3
    assert trajectory_diversity(alike, metric) < trajectory_diversity([*alike[:2], *different[:2]], metric)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("sequences", [[], [[1, 2, 3, 4]], [[]], [[], [], []]])
def test_nothing_to_compare_is_no_diversity(sequences, metric):
    assert trajectory_diversity(sequences, metric) == 0.0


def test_hand_computed():
    # The second rollout is the first with its last token changed.
    assert self_bleu([[1, 2, 3, 4], [1, 2, 3, 5]]) == pytest.approx((3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3))
    assert distinct_n([[1, 2, 3, 4], [1, 2, 3, 5]]) == pytest.approx(3 / 4)
    assert edit_distance([[1, 2, 3, 4], [1, 2, 3, 5]]) == pytest.approx(1 / 4)


def test_one_empty_rollout_counts_as_unlike_the_others():
    assert self_bleu([[1, 2, 3], [1, 2, 3], []]) == pytest.approx(2 / 3)


def test_unknown_metric():
    with pytest.raises(BadInputError, match="Did you mean 'self_bleu'"):
        trajectory_diversity([[1], [2]], "self-bleu")
