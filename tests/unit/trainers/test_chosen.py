# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The methods beside the three papers, against what their formulas say, worked out the slow way."""

import itertools
import math
import random

import numpy as np
import pytest
import torch
from fixtures.trainers import build_trainer, logged, picture_rows

from mmr1_trl import RLVRConfig
from mmr1_trl.data.prompts import Prompts
from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.baselines import BASELINES
from mmr1_trl.trainers.entropy import NEGATIVES, token_shapings
from mmr1_trl.trainers.rollouts import Resources, RolloutBatch
from mmr1_trl.trainers.samplers import SAMPLERS


def config(**options):
    settings = {"output_dir": "unused", "use_cpu": True, "report_to": "none", "per_device_train_batch_size": 8}
    return RLVRConfig(**settings | options)


def batch(rows, rewards, group, numbers=None):
    rows = torch.tensor(rows).repeat_interleave(group)
    return RolloutBatch(rows, rows if numbers is None else numbers[rows], torch.tensor(rewards), group)


def sampler(name, num_rows=16, numbers=None, **options):
    prompts = Prompts(torch.arange(num_rows) if numbers is None else numbers)
    return SAMPLERS[name](Resources(config(prompt_sampling=name, **options), prompts))


# ---- Baselines ----


@pytest.mark.parametrize(("group", "scale"), list(itertools.product((1, 2, 4), ("batch", "none"))))
def test_batch_mean(group, scale):
    baseline = BASELINES["batch_mean"](Resources(config(num_generations=max(group, 2), scale_rewards=scale), None))
    rewards = [1.0, 0.0, 0.0, math.nan, 0.5, 1.0, 1.0, 0.0]
    found = baseline.advantages(batch(range(8 // group), rewards, group)).tolist()
    known = [r for r in rewards if not math.isnan(r)]
    mean = sum(known) / len(known)
    spread = math.sqrt(sum((r - mean) ** 2 for r in known) / len(known)) if scale == "batch" else 1.0
    assert found == pytest.approx([0.0 if math.isnan(r) else (r - mean) / spread for r in rewards], abs=1e-6)


def test_leave_one_out():
    baseline = BASELINES["leave_one_out"](Resources(config(num_generations=4), None))
    groups = [[1.0, 0.0, 0.0, 1.0], [math.nan, 1.0, 0.0, 0.0], [math.nan, math.nan, math.nan, 1.0], [1.0] * 4]
    found = baseline.advantages(batch(range(4), sum(groups, []), 4)).view(4, 4)
    for group, values in zip(groups, found.tolist()):
        for i, (reward, value) in enumerate(zip(group, values)):
            others = [r for j, r in enumerate(group) if j != i and not math.isnan(r)]
            expected = reward - sum(others) / len(others) if others and not math.isnan(reward) else 0.0
            assert value == pytest.approx(expected, abs=1e-6)
    whole = [r - sum(groups[0]) / 4 for r in groups[0]]  # n / (n - 1) times the distance from the mean
    assert found[0].tolist() == pytest.approx([4 / 3 * value for value in whole])


# ---- Negatives ----


def test_negatives_halved_and_filtered():
    rng = random.Random(0)
    lengths = [1, 9, 10, 11, 30, 30, 0]
    width = max(lengths)
    logps = -torch.tensor([[rng.random() * 3 for _ in range(width)] for _ in lengths])
    mask = torch.tensor([[int(t < n) for t in range(width)] for n in lengths])
    signs = torch.tensor([-1.0, -2.0, -1.0, -0.5, -1.0, 1.5, -1.0])
    advantages = signs.unsqueeze(1).expand(-1, width)
    halved = NEGATIVES["halved"]().shape(advantages, logps, logps, mask)
    assert torch.equal(halved, torch.where(advantages < 0, advantages / 2, advantages))
    filtered = NEGATIVES["filtered"]().shape(advantages, logps, logps, mask)
    for row, n in enumerate(lengths):
        order = sorted(range(n), key=lambda t: logps[row, t].item())
        kept = set(order[: math.ceil(n / 10)]) if signs[row] < 0 else set(range(n))
        assert [t for t in range(n) if filtered[row, t] != 0] == sorted(kept)
        assert all(filtered[row, t] == signs[row] for t in kept)
    assert [type(s).__name__ for s in token_shapings(config(entropy_shaping=True, negatives="filtered"))] == [
        "EntropyBonus", "NegativeTokenFilter",
    ]  # fmt: skip
    assert token_shapings(config()) == []


# ---- Samplers ----


def test_posterior_counts_and_draws():
    numbers = torch.arange(16) // 2  # two rows hold each prompt
    mopps = sampler("posterior", numbers=numbers, num_generations=2)
    alpha, beta = np.ones(8), np.ones(8)
    for step in range(20):
        rows, _ = mopps.next_batch()
        rng = random.Random(step)
        rewards = [rng.choice([0.0, 1.0, 1.0, math.nan]) for _ in range(2 * len(rows))]
        seen = RolloutBatch(rows.repeat_interleave(2), numbers[rows].repeat_interleave(2), torch.tensor(rewards), 2)
        mopps.observe(seen)
        for prompt in set(seen.prompts.tolist()):
            mine = [r for p, r in zip(seen.prompts.tolist(), rewards) if p == prompt and not math.isnan(r)]
            if mine:
                alpha[prompt] = 0.5 * alpha[prompt] + 0.5 + sum(mine)
                beta[prompt] = 0.5 * beta[prompt] + 0.5 + len(mine) - sum(mine)
    assert np.allclose(mopps.alpha, alpha) and np.allclose(mopps.beta, beta)
    sure = sampler("posterior", num_generations=2, num_rows=30)
    sure.alpha[:] = torch.tensor([1e6] * 10 + [1.0] * 10 + [1e6] * 10)
    sure.beta[:] = torch.tensor([1.0] * 10 + [1e6] * 10 + [1e6] * 10)
    drawn = torch.cat([sure.next_batch()[0] for _ in range(10)])
    assert (drawn >= 20).all()  # rates next to 1, to 0 and to 1/2: only the last are drawn
    one = sampler("posterior", num_generations=2)
    one.observe(batch([3], [1.0], 1))  # one rollout counts as one
    assert (one.alpha[3].item(), one.beta[3].item()) == (2.0, 1.0)


def test_skip_list_passes_over_what_had_no_signal():
    greso = sampler("skip_list", num_generations=2, num_rows=40)
    with_signal, sampled = set(range(0, 40, 4)), dict.fromkeys(range(40), 0)
    runs, keep = {(kind, row): 0 for kind in range(2) for row in range(40)}, [0.5, 0.5]
    for number in range(60):
        rows = greso.next_batch()[0].tolist()
        assert len(rows) == 4
        rewards = [[1.0, 0.0] if row in with_signal else [float(row % 2)] * 2 for row in rows]
        greso.observe(batch(rows, sum(rewards, []), 2))
        constant = [[int(r == [1.0, 1.0]) for r in rewards], [int(r == [0.0, 0.0]) for r in rewards]]
        for kind, target in ((0, 1 / 12), (1, 1 / 6)):
            for row, is_constant in zip(rows, constant[kind]):
                runs[kind, row] = runs[kind, row] + 1 if is_constant else 0
            if number >= 10:  # the second epoch
                keep[kind] += -0.01 if sum(constant[kind]) / 4 >= target else 0.01
                keep[kind] = min(max(keep[kind], 0.05), 0.95)
        for row in rows:
            sampled[row] += 1
    assert greso.keep.tolist() == pytest.approx(keep)
    assert greso.runs.tolist() == [[runs[kind, row] for row in range(40)] for kind in range(2)]
    useful, useless = (np.mean([sampled[row] for row in rows]) for rows in (with_signal, set(sampled) - with_signal))
    assert useful > 2 * useless > 0
    # With nothing but constant groups a batch is still filled, after one pass over the data.
    dead = sampler("skip_list", num_generations=2, num_rows=16)
    dead.runs[1] = 50
    rows, _ = dead.next_batch()
    assert len(rows) == 4 and dead.strides <= 4


def test_dynamic_sampling_trains_on_groups_with_a_signal_and_counts_all():
    asked = []

    def reward(completion_ids, solution, **kwargs):
        asked.append(len(solution))
        return [float(gold == "1" and sum(ids) % 2 == 0) for ids, gold in zip(completion_ids, solution)]

    trainer = build_trainer(
        rows=picture_rows(12), reward_funcs=reward, prompt_sampling="dynamic", num_generations=4,
        per_device_train_batch_size=8, max_steps=2, max_completion_length=4,
    )  # fmt: skip
    asked.clear()  # the reward is tried before anything is trained
    trainer.train()
    assert logged(trainer, "num_rollouts")[-1] == sum(asked)
    assert sum(asked) > 2 * 8 and sum(asked) <= 2 * 8 * trainer.sampler.most_rounds
    full = [share < 1 for share in logged(trainer, "frac_reward_zero_std")]
    assert any(full)
    assert len(logged(trainer, "sampler/rejected")) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt_sampling": "dynamic", "num_generations": 1, "advantage_baseline": "batch_mean"}, "2 or more"),
        ({"prompt_sampling": "posterior", "vas_refresh": "full"}, "no effect with prompt_sampling='posterior'"),
        ({"prompt_sampling": "posteriori"}, "Did you mean 'posterior'"),
        ({"advantage_baseline": "leave_one_out", "num_generations": 1}, "'batch_mean'"),
        ({"advantage_baseline": "batch_mean", "prompt_scores": "x"}, "prompt_scores has no effect"),
        ({"negatives": "half"}, "Did you mean 'halved'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(BadInputError, match=message):
        config(**options)


def test_one_rollout_per_prompt_trains_with_the_batch_mean():
    trainer = build_trainer(
        advantage_baseline="batch_mean", num_generations=1, negatives="filtered", max_steps=2,
        max_completion_length=4,
    )  # fmt: skip
    trainer.train()
    assert all(math.isfinite(loss) for loss in logged(trainer, "loss")) and logged(trainer, "loss")
