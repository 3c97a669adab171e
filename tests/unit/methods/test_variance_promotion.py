# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Scores and draws of variance-aware sampling."""

import math
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.text_diversity import self_bleu
from mmr1_trl.methods.variance_promotion import (
    draw_prompts,
    draw_weighted,
    min_max_scale,
    outcome_variance,
    padded_self_bleu,
    variance_promotion_score,
    walk_permutation,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_scores():
    rates = torch.tensor([0.0, 0.25, 0.5, 1.0])
    diversity = torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert outcome_variance(rates).tolist() == pytest.approx([0.0, 0.1875, 0.25, 0.0])
    assert variance_promotion_score(rates, diversity).tolist() == pytest.approx([0.02, 0.19, 0.26, 0.08])
    halves = variance_promotion_score(rates, diversity, outcome_weight=0.5, diversity_weight=0.5)
    assert halves.tolist() == pytest.approx([0.05, 0.19375, 0.275, 0.2])


@given(
    scores=st.lists(st.sampled_from([0.0, 0.1, 0.25, 3.0]), min_size=1, max_size=20),
    batch_size=st.integers(1, 30),
    hundredths=st.integers(0, 100),
    seed=st.integers(0, 1000),
)
def test_a_batch_has_its_weighted_and_its_uniform_part(scores, batch_size, hundredths, seed):
    rows = draw_prompts(torch.tensor(scores), batch_size, hundredths / 100, seeded(seed))
    again = draw_prompts(torch.tensor(scores), batch_size, hundredths / 100, seeded(seed))
    assert torch.equal(rows, again) and rows.dtype == torch.int64 and rows.shape == (batch_size,)
    num_weighted = hundredths * batch_size // 100
    weighted, uniform = rows[:num_weighted].tolist(), rows[num_weighted:].tolist()
    if any(scores):
        assert all(scores[row] > 0 for row in weighted)
    for start in range(0, len(uniform), len(scores)):
        one_round = uniform[start : start + len(scores)]
        assert len(set(one_round)) == len(one_round)
    assert all(0 <= row < len(scores) for row in rows.tolist())


def test_frequencies_follow_the_scores():
    scores = torch.tensor([0.0, 1.0, 2.0, 0.0, 5.0, 0.0])
    counts = torch.bincount(draw_weighted(scores, 80_000, seeded()), minlength=6)
    # Five standard deviations of a binomial.
    for count, p in zip(counts.tolist(), (scores / scores.sum()).tolist()):
        assert abs(count - 80_000 * p) <= 5 * math.sqrt(80_000 * p * (1 - p))


def test_scores_of_zero_mean_uniform():
    counts = torch.bincount(draw_weighted(torch.zeros(4), 40_000, seeded()), minlength=4)
    assert all(abs(count - 10_000) < 5 * math.sqrt(7_500) for count in counts.tolist())


def test_the_top_of_the_range_stays_on_a_row_with_weight(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda n, **kwargs: torch.tensor([0.0, 1.0], dtype=torch.float64)[:n])
    assert draw_weighted(torch.tensor([0.0, 0.1, 0.2, 0.0]), 2).tolist() == [1, 2]


def test_the_uniform_part_is_uniform():
    generator = seeded()
    draws = torch.cat([draw_prompts(torch.ones(100), 3, 0.0, generator) for _ in range(10_000)])
    counts = torch.bincount(draws, minlength=100).double()
    # Chi-square with 99 degrees of freedom: below 150 with a probability above 0.999.
    assert ((counts - 300) ** 2 / 300).sum() < 150


def test_more_rows_than_multinomial_can_take():
    scores = torch.zeros(2**24 + 10, dtype=torch.float32)
    scores[-3] = 1e-3
    assert draw_weighted(scores, 5, seeded()).tolist() == [2**24 + 7] * 5


def test_a_million_prompts_stay_cheap():
    scores = torch.rand(1_000_000, generator=seeded())
    draw_prompts(scores, 2048, generator=seeded())
    times = []
    for _ in range(5):
        start = time.process_time()
        draw_prompts(scores, 2048, generator=seeded())
        times.append(time.process_time() - start)
    assert min(times) < 0.05


@pytest.mark.parametrize("bad", [[0.1, -0.1], [0.1, math.nan], [0.1, math.inf]])
def test_bad_scores_name_their_row(bad):
    with pytest.raises(BadInputError, match="row 1"):
        draw_prompts(torch.tensor(bad), 2)


def test_bad_shapes_and_shares():
    with pytest.raises(BadInputError):
        draw_prompts(torch.zeros(0), 2)
    with pytest.raises(BadInputError):
        draw_prompts(torch.ones(3), 2, weighted_fraction=1.5)


def test_released_code_padded_self_bleu():
    rollouts = [[1, 2, 3, 4], [5, 6]]
    assert padded_self_bleu(rollouts, 0, 6) == pytest.approx(self_bleu([[1, 2, 3, 4, 0, 0], [5, 6, 0, 0, 0, 0]]))
    # By hand, length 6: matched 1-grams (2 zeros each way), 2-grams (one "0 0") and 3-grams (none: epsilon 0.1).
    assert padded_self_bleu(rollouts, 0, 6) == pytest.approx((2 / 6 * 1 / 5 * 0.1 / 4) ** (1 / 3))
    assert self_bleu(rollouts) == 0.0


def test_released_code_scaling():
    scaled = min_max_scale(torch.tensor([0.2, 0.1, 0.6]))
    torch.testing.assert_close(scaled, torch.tensor([0.2, 0.0, 1.0]))
    assert min_max_scale(torch.full((3,), 0.4)).tolist() == [0.0, 0.0, 0.0]


def test_released_code_walk_skips_the_tail_and_keeps_its_order():
    permutation = torch.tensor([3, 0, 4, 1, 2])
    position, seen = 0, []
    for _ in range(4):
        rows, position = walk_permutation(permutation, position, 2)
        seen.append(rows.tolist())
    assert seen == [[3, 0], [4, 1], [3, 0], [4, 1]]
    with pytest.raises(BadInputError):
        walk_permutation(permutation, 0, 6)
