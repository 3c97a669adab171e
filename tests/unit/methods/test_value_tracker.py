# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`ValueTracker` against a plain loop over python floats."""

import math
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.value_tracker import ValueTracker, jeffreys


def loop_rho(rule, kls, rho_min, rho_max, target):
    """The rules once more, in the two-branch form in which the paper prints them."""
    if rule == "fixed":
        return rho_max
    if not kls:
        return (rho_min + rho_max) / 2
    k = sum(kls) / len(kls)
    if rule == "monotone":
        return rho_min if k >= target else rho_max - k / target * (rho_max - rho_min)
    if k > target:
        tau = min(k / target, 1.0)
        return rho_max - tau * (rho_max - rho_min)
    tau = k / target
    return rho_min + tau * (rho_max - rho_min)


histories = st.lists(
    st.tuples(
        st.floats(0.0, 0.05),
        st.lists(
            st.tuples(st.integers(0, 5), st.sampled_from([0.0, 1.0, math.nan]), st.floats(0.0, 0.2)), max_size=12
        ),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(history=histories, rule=st.sampled_from(["paper", "monotone", "fixed", "per_prompt"]), window=st.integers(1, 4))
def test_any_history_equals_the_loop(history, rule, window):
    tracker = ValueTracker(6, forgetting=rule, kl_window=window, initial_value=0.3)
    alpha, beta, visits, kls = [8 * 0.3] * 6, [8 * 0.7] * 6, [0] * 6, []
    for kl, batch in history:
        tracker.observe_kl(kl)
        kls = [*kls, kl][-window:]
        ids, rewards, moved = [row[0] for row in batch], [row[1] for row in batch], [row[2] for row in batch]
        tracker.update(ids, rewards, divergence=moved)
        for i, reward, d in batch:
            if math.isnan(reward):
                continue
            if rule == "per_prompt":
                rho = min(max(2 ** (-d / 0.06), 0.875), 0.96)
            else:
                rho = loop_rho(rule, kls, 0.875, 0.96, 0.01)
            alpha[i] = rho * alpha[i] + reward
            beta[i] = rho * beta[i] + 1 - reward
            visits[i] += 1
    torch.testing.assert_close(tracker.alpha, torch.tensor(alpha, dtype=torch.float64))
    torch.testing.assert_close(tracker.beta, torch.tensor(beta, dtype=torch.float64))
    assert tracker.visits.tolist() == visits
    assert tracker.frac_unseen == pytest.approx(visits.count(0) / 6)
    expected = torch.tensor([a / (a + b) for a, b in zip(alpha, beta)])
    torch.testing.assert_close(tracker.values(range(6)), expected)


def test_paper_rule_is_the_literal_one_and_not_monotone():
    rhos = []
    for kl in (0.0, 0.005, 0.01, 0.010001, 1.0):
        tracker = ValueTracker(1)
        tracker.observe_kl(kl)
        rhos.append(tracker.rho)
    assert rhos == pytest.approx([0.875, 0.9175, 0.96, 0.875, 0.875])


def test_monotone_rule():
    rhos = []
    for kl in (0.0, 0.005, 0.01, 1.0):
        tracker = ValueTracker(1, forgetting="monotone")
        tracker.observe_kl(kl)
        rhos.append(tracker.rho)
    assert rhos == pytest.approx([0.96, 0.9175, 0.875, 0.875])


def test_rho_before_any_kl_is_the_midpoint():
    assert ValueTracker(1).rho == pytest.approx((0.875 + 0.96) / 2)
    assert math.isnan(ValueTracker(1).mean_kl)


def test_first_visit_under_spo_forgets_slowest():
    tracker = ValueTracker(2, forgetting="per_prompt")
    tracker.update([0, 1], [1.0, 1.0], divergence=[math.nan, 1.0])
    assert tracker.alpha.tolist() == pytest.approx([0.96 * 4 + 1, 0.875 * 4 + 1])
    with pytest.raises(BadInputError, match="divergence"):
        tracker.update([0], [1.0])


def test_unseen_prompts_carry_the_initial_count():
    tracker = ValueTracker(3, rho_min=0.9, initial_value=0.2)
    assert tracker.alpha.tolist() == pytest.approx([2.0] * 3)
    assert tracker.beta.tolist() == pytest.approx([8.0] * 3)
    assert tracker.values([2, 2]).dtype == torch.float32
    assert tracker.frac_unseen == 1.0


def test_initialize_is_worth_n0_rollouts_and_skips_nan():
    tracker = ValueTracker(3)
    tracker.initialize(torch.tensor([2, 0]), torch.tensor([0.25, math.nan]))
    assert tracker.alpha.tolist() == pytest.approx([4.0, 4.0, 2.0])
    assert tracker.beta.tolist() == pytest.approx([4.0, 4.0, 6.0])
    assert tracker.frac_unseen == 1.0
    with pytest.raises(BadInputError, match="100"):
        tracker.initialize([0], [25.0])


def test_jeffreys():
    rates = jeffreys(torch.tensor([0, 4, 8]), torch.tensor([8, 8, 8]))
    assert rates.tolist() == pytest.approx([0.5 / 9, 0.5, 8.5 / 9])


def test_state_survives_safetensors(tmp_path):
    tracker = ValueTracker(4, kl_window=3)
    save_file(tracker.state_dict(), tmp_path / "empty.safetensors")
    for step in range(5):
        tracker.observe_kl(0.002 * step)
        tracker.update([step % 4, 1], [1.0, 0.0])
    save_file(tracker.state_dict(), tmp_path / "tracker.safetensors")
    other = ValueTracker(4, kl_window=3)
    other.load_state_dict(load_file(tmp_path / "tracker.safetensors"))
    for one in (tracker, other):
        one.observe_kl(0.003)
        one.update([0, 0, 3], [1.0, 0.0, 1.0])
    for key, value in tracker.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])
    other.load_state_dict(load_file(tmp_path / "empty.safetensors"))
    assert math.isnan(other.mean_kl)
    with pytest.raises(BadInputError, match="4 prompts .* has 5"):
        ValueTracker(5).load_state_dict(tracker.state_dict())
    with pytest.raises(BadInputError, match="visits"):
        other.load_state_dict({"alpha": tracker.alpha, "beta": tracker.beta, "kl_window": torch.zeros(0)})


def test_a_saved_state_does_not_follow_later_updates():
    tracker = ValueTracker(2)
    state = tracker.state_dict()
    tracker.update([0], [1.0])
    assert state["alpha"].tolist() == [4.0, 4.0]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"num_prompts": 0},
        {"rho_min": 0.97},
        {"rho_min": 0.0},
        {"rho_min": 1.0, "rho_max": 1.0},
        {"rho_max": 1.1},
        {"forgetting": "papper"},
        {"target_kl": 0.0},
        {"kl_window": 0},
        {"initial_value": 50},
    ],
)
def test_bad_settings(kwargs):
    with pytest.raises(BadInputError):
        ValueTracker(**{"num_prompts": 3, **kwargs})


def test_bad_batches():
    tracker = ValueTracker(3)
    for ids, rewards in (([3], [1.0]), ([-1], [1.0]), ([0], [2.0]), ([0], [-0.5]), ([0, 1], [1.0])):
        with pytest.raises(BadInputError):
            tracker.update(ids, rewards)
    assert tracker.visits.sum() == 0


def test_a_million_prompts_stay_cheap():
    tracker = ValueTracker(1_000_000)
    ids = torch.randint(0, 1_000_000, (256,)).repeat_interleave(8)
    rewards = torch.ones(2048)
    tracker.update(ids, rewards)
    start = time.process_time()
    tracker.update(ids, rewards)
    tracker.values(ids)
    assert time.process_time() - start < 0.2
