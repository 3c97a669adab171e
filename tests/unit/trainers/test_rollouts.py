# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rollouts apart from training, groups that are rejected, and what all parts of a trainer owe; most without one."""

import math

import pytest
import torch
from fixtures.trainers import logged

from mmr1_trl import MSSRConfig, RLVRConfig, RLVRTrainer
from mmr1_trl.data.prompts import Prompts
from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.baselines import BASELINES, BatchKL, row_kl
from mmr1_trl.trainers.captured import swapped
from mmr1_trl.trainers.entropy import TokenShaping
from mmr1_trl.trainers.rollouts import (
    Resources,
    RolloutBatch,
    Rollouts,
    SampledGroups,
    in_pieces,
    score_prompts,
    until_accepted,
)
from mmr1_trl.trainers.samplers import Uniform
from mmr1_trl.trainers.samplers.scored import constant_groups


def options(cls=MSSRConfig, **more):
    settings = {"use_cpu": True, "beta": 0.0, "tracker_forgetting": "fixed", "disable_tqdm": True, "report_to": "none"}
    return cls(**settings | more)


# ---- Sampling apart from training ----


def sampled(rows):
    """One completion per row: as long as the row's number, and right if that is odd."""
    rows = rows.tolist()
    rewards = torch.tensor([math.nan if row == 4 else float(row % 2) for row in rows])
    return Rollouts(
        rows, rewards, [[row] * row for row in rows], [str(row) for row in rows], [row > 2 for row in rows]
    )


def test_pieces_have_a_size_and_come_back_in_order():
    sizes = []

    def share(rows):
        sizes.append(len(rows))
        return sampled(rows)

    rollouts = in_pieces(share, torch.arange(7), size=4, multiple=2)
    assert sizes == [4, 4]  # the last three are filled up to four
    assert rollouts.rows == list(range(7)) and rollouts.texts == [str(row) for row in range(7)]
    assert len(rollouts.rewards) == 7


def test_prompts_are_summed_up_by_their_first_row():
    prompts = Prompts(torch.tensor([2, 0, 1, 2, 1]))  # first rows 1, 2, 0
    records = score_prompts(sampled, prompts, [0, 1, 2], 3, options(per_device_train_batch_size=6), keep_texts=True)
    found = {record["prompt"]: record for record in records}
    assert [found[number]["row"] for number in range(3)] == [1, 2, 0]
    assert [found[number]["successes"] for number in range(3)] == [3, 0, 0]
    assert [found[number]["mean_length"] for number in range(3)] == [1.0, 2.0, 0.0]
    assert found[1]["completions"] == ["2"] * 3 and found[1]["rewards"] == [0.0] * 3


# ---- Groups that are rejected after their rewards ----


def round_of(rewards, first, num_weighted=1):
    """A generation batch of groups of two, whose rows count on from `first`."""
    count = len(rewards)
    rows = torch.arange(first, first + count // 2).repeat_interleave(2)
    batch = RolloutBatch(rows, rows, torch.tensor(rewards), 2, num_weighted)
    return SampledGroups(batch, batch.rewards.unsqueeze(1), [(row,) for row in rows.tolist()])


@pytest.mark.parametrize(
    ("rounds", "wanted", "rows", "num_weighted"),
    [
        # Groups with a signal in the order in which they came, those drawn by weight first.
        ([[0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0]], 2, [12, 11], 1),
        ([[1.0, 0.0, 0.0, 1.0]], 2, [10, 11], 1),
        ([[1.0, 0.0, 0.0, 1.0, 1.0, 0.0]], 2, [10, 11], 1),  # more than are wanted
        ([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]], 2, [11, 15], 0),  # filled up
        ([[0.0, 0.0, 0.0, 0.0]] * 3, 2, [14, 15], 1),
    ],
)
def test_groups_are_sampled_until_enough_are_accepted(rounds, wanted, rows, num_weighted):
    made = []

    def sample():
        made.append(round_of(rounds[len(made)], 10 + 2 * len(made)))
        return made[-1]

    kept = until_accepted(sample, lambda batch: ~constant_groups(batch.groups), wanted, most_rounds=3)
    assert len(made) == len(rounds)
    assert kept.batch.rows[::2].tolist() == rows and kept.batch.num_weighted == num_weighted
    assert [row for (row,) in kept.generated] == kept.batch.rows.tolist()
    assert torch.equal(kept.rewards[:, 0], kept.batch.rewards)


class NothingFlat(Uniform):
    """Rejects groups whose rewards are all equal."""

    rejects = True
    most_rounds = 4

    def accept(self, batch):
        return ~constant_groups(batch.groups)


def test_a_sampler_may_reject_groups_after_their_rewards(make_trainer):
    calls, batches = [], []

    def reward(completion_ids, log_extra, log_metric, **kwargs):
        calls.append(len(completion_ids))
        log_extra("length", [len(ids) for ids in completion_ids])
        flat = len(calls) % 2  # every second generation batch has groups with and without a signal
        return [float(i % 2 and not (flat or i >= 4)) for i in range(len(completion_ids))]

    trainer = make_trainer(
        reward_funcs=reward, num_generations=2, per_device_train_batch_size=8, gradient_accumulation_steps=1,
        max_steps=2, beta=0.01, log_completions=True, num_completions_to_print=0,
    )  # fmt: skip
    calls.clear()  # of the trial on two rows
    trainer.sampler = NothingFlat(trainer.prompts, trainer.args)
    advantages = trainer.baseline.advantages
    trainer.baseline.advantages = lambda batch: (batches.append(batch), advantages(batch))[1]
    trainer.train()
    assert calls == [8] * 8  # four rounds with two useful groups each, for each of the two steps
    assert all((~constant_groups(batch.groups)).all() for batch in batches)
    assert all(torch.equal(batch.prompts, trainer.prompts.numbers[batch.rows]) for batch in batches)
    assert (trainer.budget.training, trainer.budget.rejected) == (64, 48)
    assert logged(trainer, "num_rollouts") == [32, 64] and logged(trainer, "num_rejected_rollouts") == [24, 48]
    assert logged(trainer, "frac_reward_zero_std") == [0, 0] and all(logged(trainer, "grad_norm"))
    assert trainer.sampler.batches_drawn == 8


def test_accepting_everything_trains_as_without_the_hook(make_trainer):
    class Everything(Uniform):
        rejects = True

    runs = []
    for hooked in (False, True):
        trainer = make_trainer(num_generations=2, per_device_train_batch_size=8, max_steps=2, beta=0.01)
        if hooked:
            trainer.sampler = Everything(trainer.prompts, trainer.args)
        trainer.train()
        names = ("loss", "grad_norm", "reward", "completions/mean_length", "num_rollouts", "num_tokens")
        runs.append([{name: entry.get(name) for name in names} for entry in trainer.state.log_history[:-1]])
        assert trainer.budget.rejected == 0
    assert runs[0] == runs[1]


# ---- What parts owe ----


def test_every_baseline_gives_each_completion_an_advantage_and_resumes():
    prompts = Prompts(torch.arange(8))
    for name, make in BASELINES.items():
        first, second = (make(Resources(options(per_device_train_batch_size=4), prompts)) for _ in range(2))
        for number in range(3):
            rows = torch.tensor([number, number, number + 1, number + 1])
            batch = RolloutBatch(rows, rows, torch.tensor([1.0, 0.0, math.nan, 1.0]), 2)
            first.prepare()
            advantages = first.advantages(batch)
            if advantages is not None:  # TRL computes those of a group
                assert advantages.shape == (4,) and advantages[2] == 0 and advantages.isfinite().all(), name
            first.finish(None)
            assert all(math.isfinite(value) for value in first.metrics().values()) and first.metrics() == {}
        second.load_state_dict(first.state_dict())
        again, before = second.advantages(batch), first.advantages(batch)
        assert again is before is None or torch.equal(again, before), name


@pytest.mark.parametrize(("source", "counted"), [("reference", [0, 1, 4, 5]), ("policy", [3, 7]), (None, [])])
def test_kl_is_of_the_passes_that_it_is_about(source, counted):
    """Windows of two micro-batches, seen twice each: once by the sampling policy, and at last after all updates."""
    args = options(
        num_generations=2, steps_per_generation=2, num_iterations=2, gradient_accumulation_steps=1,
        per_device_train_batch_size=2,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    mask, kl, seen = torch.ones(2, 3), BatchKL(source, args), {}
    for step in range(8):
        sampled, reference, now = -torch.rand(3, 2, 3, generator=generator)
        kl.observe(step, {"old_per_token_logps": sampled, "ref_per_token_logps": reference}, now, mask)
        seen[step] = row_kl(sampled, reference if source == "reference" else now, mask)[0].item() / 2
        if step % 4 == 3:
            window = [seen[s] for s in counted if step - 3 <= s <= step]
            assert kl.finish() == (pytest.approx(sum(window) / len(window)) if window else None)


class Halved(TokenShaping):
    """Takes half of what is negative, and nothing of each second token."""

    def shape(self, advantages, logps, entropies, mask):
        assert advantages.shape == logps.shape == entropies.shape == mask.shape and not entropies.requires_grad
        halved = torch.where(advantages < 0, advantages / 2, advantages)
        return halved * (torch.arange(halved.shape[1]) % 2 == 0)


@pytest.mark.parametrize("steps", [1, 2])  # shaped in the loss's own forward pass, or when the batch is generated
def test_tokens_can_be_given_advantages_of_their_own(make_trainer, monkeypatch, steps):
    from trl import GRPOTrainer

    seen, loss = [], GRPOTrainer._compute_loss

    def watched(self, model, inputs):
        before = inputs["advantages"].clone()
        value = loss(self, model, inputs)
        seen.append((before, inputs["advantages"]))
        return value

    def reward(completion_ids, **kwargs):
        return [float(i % 2) for i in range(len(completion_ids))]

    trainer = make_trainer(
        num_generations=2, per_device_train_batch_size=8, gradient_accumulation_steps=1, max_steps=2, beta=0.0,
        steps_per_generation=steps, reward_funcs=reward,
    )  # fmt: skip
    trainer.shapings = [Halved()]
    monkeypatch.setattr(GRPOTrainer, "_compute_loss", watched)
    trainer.train()
    for before, after in seen:
        if steps == 1:
            expected = torch.where(before < 0, before / 2, before)
            assert torch.equal(after[:, ::2], expected.unsqueeze(1).expand_as(after[:, ::2]))
        assert (after[:, 1::2] == 0).all() and (after[:, ::2] == after[:, :1]).all() and after.any()


def test_what_is_swapped_comes_back():
    class Owner:
        shared = "class"

        def method(self):
            return "method"

        @property
        def guarded(self):
            return self.own * 2

        @guarded.setter
        def guarded(self, value):
            self.own = value[: len(value) // 2]

    owner = Owner()
    owner.own = "mine"
    with pytest.raises(KeyError), swapped(owner, own="other", shared="swapped", method=lambda: "other"):
        assert (owner.own, owner.shared, owner.method()) == ("other", "swapped", "other")
        raise KeyError
    assert vars(owner) == {"own": "mine"} and (owner.shared, owner.method()) == ("class", "method")
    with swapped(owner, guarded="yoursyours"):
        assert owner.own == "yours"
    assert vars(owner) == {"own": "mine"}


def test_rejecting_samplers_refuse_what_they_cannot_replay(make_trainer, monkeypatch):
    from mmr1_trl.rewards import negative_entropy_reward
    from mmr1_trl.trainers.samplers import SAMPLERS

    monkeypatch.setitem(SAMPLERS, "uniform", lambda have: NothingFlat(have.prompts, have.args))
    with pytest.raises(BadInputError, match="before it knows which are trained on"):
        make_trainer(
            RLVRTrainer, RLVRConfig, reward_funcs=negative_entropy_reward, num_generations=2,
            gradient_accumulation_steps=1, steps_per_generation=2,
        )  # fmt: skip
