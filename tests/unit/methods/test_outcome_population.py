# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The Beta distribution fitted to the pass rates of all prompts."""

import numpy as np
import pytest
import torch

from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.outcome_population import (
    STRONGEST,
    WEAKEST,
    OutcomePopulation,
    expected_outcome_variance,
)


def draw_groups(rng: np.random.Generator, a: float, b: float, groups: int, rollouts: int) -> torch.Tensor:
    rates = rng.beta(a, b, groups)
    return torch.tensor(rng.random((groups, rollouts)) < rates[:, None]).double()


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.3, 5.0), (40.0, 2.0)])
def test_expected_outcome_variance_against_sampling(a, b):
    rates = np.random.default_rng(0).beta(a, b, 400_000)
    expected = expected_outcome_variance(torch.tensor([a], dtype=torch.float64), torch.tensor([b]).double())
    assert expected.item() == pytest.approx((rates * (1 - rates)).mean(), rel=0.01)


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.3), (1.0, 3.0), (5.0, 5.0)])
def test_the_distribution_behind_many_groups_is_found(a, b):
    rng = np.random.default_rng(1)
    population = OutcomePopulation()
    for _ in range(300):
        population.observe(draw_groups(rng, a, b, 256, 8))
    assert population.mean == pytest.approx(a / (a + b), abs=0.03)
    assert population.strength == pytest.approx(a + b, rel=0.25)
    assert sum(population.prior) == pytest.approx(population.strength)


def test_prompts_that_are_all_alike_make_a_strong_prior_and_constant_ones_a_weak_one():
    rng = np.random.default_rng(2)
    alike, constant = OutcomePopulation(), OutcomePopulation()
    for _ in range(200):
        alike.observe(torch.tensor(rng.random((64, 8)) < 0.4).double())
        constant.observe(torch.tensor(rng.random((64, 1)) < 0.5).double().expand(64, 8))
    assert alike.strength > 15 and alike.strength <= STRONGEST
    assert constant.strength == WEAKEST


def test_single_rollouts_move_the_mean_and_keep_the_strength():
    population = OutcomePopulation(0.5, strength=8.0)
    for _ in range(100):
        population.observe(torch.tensor([[1.0], [1.0], [1.0], [0.0]]))
    assert population.mean == pytest.approx(0.75, abs=1e-3) and population.strength == pytest.approx(8.0)


def test_unscored_groups_and_extremes_are_harmless():
    population = OutcomePopulation()
    population.observe(torch.tensor([[torch.nan, 1.0], [torch.nan, torch.nan]]))
    assert population.mean == 0.5
    population.observe(torch.tensor([[torch.nan, 1.0], [1.0, 1.0]]))
    assert population.mean == pytest.approx(0.55)
    for _ in range(1000):
        population.observe(torch.ones(4, 8))
    assert all(0 < parameter < float("inf") for parameter in population.prior)
    with pytest.raises(BadInputError, match="strength"):
        OutcomePopulation(0.5, 0.0)
