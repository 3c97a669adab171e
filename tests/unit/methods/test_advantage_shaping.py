# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Entropy shaping against a loop over tokens."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.advantage_shaping import entropy_bonus, shape_advantages


@given(
    rows=st.lists(
        st.tuples(st.floats(-4, 4, width=32), st.lists(st.floats(0, 12, width=32), min_size=3, max_size=3)),
        min_size=1,
        max_size=5,
    ),
    alpha=st.floats(0.0, 3.0),
    kappa=st.floats(1.01, 8.0),
)
def test_equals_the_formula_and_never_flips_a_sign(rows, alpha, kappa):
    advantages = torch.tensor([a for a, _ in rows], dtype=torch.float64)
    entropies = torch.tensor([h for _, h in rows], dtype=torch.float64)
    shaped = shape_advantages(advantages, entropies, alpha, kappa)
    assert shaped.shape == entropies.shape
    for i, (a, row) in enumerate(rows):
        for t, h in enumerate(row):
            assert shaped[i, t].item() == pytest.approx(a + min(alpha * h, abs(a) / kappa))
            assert math.copysign(1, shaped[i, t].item()) == math.copysign(1, a) or a == 0 == shaped[i, t].item()


def test_hand_computed():
    advantages = torch.tensor([1.0, -1.0, 0.0])
    entropies = torch.tensor([[0.5, 2.0], [0.5, 2.0], [0.5, 2.0]])
    expected = torch.tensor([[1.2, 1.5], [-0.8, -0.5], [0.0, 0.0]])
    torch.testing.assert_close(shape_advantages(advantages, entropies), expected)
    per_token = advantages.unsqueeze(1).expand(3, 2)
    torch.testing.assert_close(shape_advantages(per_token, entropies), expected)


def test_no_gradient_flows_through_the_bonus_and_rounding_below_zero_is_ignored():
    advantages = torch.tensor([1.0], requires_grad=True)
    entropies = torch.tensor([[0.1, -1e-7]], requires_grad=True)
    bonus = entropy_bonus(advantages, entropies)
    assert not bonus.requires_grad
    assert bonus.tolist() == [[pytest.approx(0.04), 0.0]]


@pytest.mark.parametrize("kwargs", [{"kappa": 1.0}, {"kappa": 0.4, "alpha": 2.0}, {"alpha": -0.1}])
def test_constants_that_could_flip_a_sign_are_refused(kwargs):
    with pytest.raises(BadInputError):
        entropy_bonus(torch.ones(1), torch.ones(1, 1), **kwargs)
