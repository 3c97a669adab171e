# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Samplers that look for groups whose rewards differ: before sampling (MoPPS, skip lists) and after it (DAPO)."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmr1_trl.data.prompts import Prompts
from mmr1_trl.trainers.rollouts import RolloutBatch
from mmr1_trl.trainers.samplers.base import Sampler
from mmr1_trl.trainers.samplers.scored import constant_groups


if TYPE_CHECKING:
    from mmr1_trl.trainers.config import RLVRConfig


class Posterior(Sampler):
    """
    MoPPS, https://huggingface.co/papers/2507.04632: each prompt's pass rate has a Beta posterior; a batch takes, of
    more candidates, those of which a draw from the posterior comes closest to one half.

    After a visit with `k` successes in `n` rollouts, `alpha <- f * alpha + (1 - f) + k` and
    `beta <- f * beta + (1 - f) + n - k`, from Beta(1, 1). (The released code sets both to 8 whenever `n` is 1, by a
    slip in operator precedence; here one rollout counts as one.)

    Args:
        prompts, args:
            As for [`Sampler`].
    """

    candidates = 8  # times the batch, and
    forgetting = 0.5  # the `f` above: as the released code has them for its multimodal task

    def __init__(self, prompts: Prompts, args: "RLVRConfig") -> None:
        super().__init__(prompts, args)
        self.alpha = torch.ones(prompts.count, dtype=torch.float64)
        self.beta = torch.ones(prompts.count, dtype=torch.float64)

    def draw(self, size: int, generator: torch.Generator) -> tuple[torch.Tensor, int]:
        rows = torch.randperm(self.prompts.num_rows, generator=generator)[: self.candidates * size]
        numbers = self.prompts.numbers[rows]
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        rates = torch.from_numpy(rng.beta(self.alpha[numbers].numpy(), self.beta[numbers].numpy()))
        return rows[(rates - 0.5).square().argsort(stable=True)[:size]], 0

    def observe(self, batch: RolloutBatch) -> None:
        scorable = ~batch.rewards.isnan()
        numbers, where = batch.prompts[scorable].unique(return_inverse=True)
        right = (batch.rewards[scorable] > self.args.tracker_success_threshold).double()
        for counts, outcomes in ((self.alpha, right), (self.beta, 1 - right)):
            seen = torch.zeros(len(numbers), dtype=torch.float64).index_add_(0, where, outcomes)
            counts[numbers] = self.forgetting * counts[numbers] + (1 - self.forgetting) + seen
        if batch.group_size > 1:
            self._logged["sampler/frac_zero_variance_groups"] = constant_groups(batch.groups).double().mean().item()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"alpha": self.alpha, "beta": self.beta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.alpha, self.beta = state["alpha"].clone(), state["beta"].clone()


class SkipList(Sampler):
    """
    GRESO, https://huggingface.co/papers/2506.02177: the rows come as in uniform sampling, but one that was all right,
    or all wrong, at its last `z` visits is passed over with probability `1 - max(p^z, 0.01)`.

    There is a `p` for either kind, 0.5 at first; after each batch from the second epoch on it falls by 0.01 where that
    kind's share of the groups is at least its target (1/12 all right, 1/6 all wrong), and rises by 0.01 otherwise,
    within 0.05 and 0.95. The released code rejects remaining groups without a signal after sampling; here they stay.

    Args:
        prompts, args:
            As for [`Sampler`].
    """

    least, step, bounds = 0.01, 0.01, (0.05, 0.95)
    targets = torch.tensor([0.25 / 3, 0.25 * 2 / 3], dtype=torch.float64)

    def __init__(self, prompts: Prompts, args: "RLVRConfig") -> None:
        super().__init__(prompts, args)
        self.runs = torch.zeros(2, prompts.count, dtype=torch.long)  # the z of either kind; one of them is 0
        self.keep = torch.full((2,), 0.5, dtype=torch.float64)  # the p of either kind
        self.strides = 0  # of the walk
        self.waiting = torch.empty(0, dtype=torch.long)  # rows that were let through and not needed yet

    def draw(self, size: int, generator: torch.Generator) -> tuple[torch.Tensor, int]:
        passed = 0
        chosen, skipped = [self.waiting], []
        while sum(map(len, chosen)) < size and passed < self.prompts.num_rows:
            rows = self.walk.rows(self.strides, size)
            self.strides += 1
            passed += size
            runs = self.runs[:, self.prompts.numbers[rows]].double()
            stays = (self.keep.unsqueeze(1) ** runs).amin(0).clamp(min=self.least)
            through = torch.rand(size, generator=generator, dtype=torch.float64) < stays
            chosen.append(rows[through])
            skipped.append(rows[~through])
        # One pass over the data without enough rows: those passed over fill up the batch.
        drawn = torch.cat([*chosen, *(skipped if passed >= self.prompts.num_rows else ())])
        self.waiting = torch.cat(chosen)[size:]
        self._logged["sampler/passed_over"] = sum(map(len, skipped)) / max(passed, 1)
        return drawn[:size], 0

    def observe(self, batch: RolloutBatch) -> None:
        numbers = batch.prompts.view(-1, batch.group_size)[:, 0]
        right = batch.groups > self.args.tracker_success_threshold
        constant = torch.stack([right.all(1), (~right).all(1)]) & ~batch.groups.isnan().any(1)
        for kind in range(2):  # a prompt that is there several times counts once for each
            for number, is_constant in zip(numbers.tolist(), constant[kind].tolist()):
                self.runs[kind, number] = self.runs[kind, number] + 1 if is_constant else 0
        if self.batches_drawn > self.batches_per_epoch:
            direction = torch.where(constant.double().mean(1) >= self.targets, -self.step, self.step)
            self.keep = (self.keep + direction).clamp(*self.bounds)
        self._logged |= {"sampler/keep_right": self.keep[0].item(), "sampler/keep_wrong": self.keep[1].item()}

    def state_dict(self) -> dict[str, Any]:
        own = {"runs": self.runs, "keep": self.keep, "strides": self.strides, "waiting": self.waiting}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.runs, self.keep, self.waiting = (state[name].clone() for name in ("runs", "keep", "waiting"))
        self.strides = state["strides"]


class Dynamic(Sampler):
    """
    DAPO's dynamic sampling, https://huggingface.co/papers/2503.14476: rows come as in uniform sampling; groups whose
    rewards are all equal are thrown away and others sampled in their place, up to `most_rounds` generation batches.
    All of them count as rollouts.
    """

    rejects = True

    def accept(self, batch: RolloutBatch) -> torch.Tensor:
        signal = ~constant_groups(batch.groups)
        self._logged["sampler/rejected"] = 1 - signal.double().mean().item()
        return signal
