# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Samplers that draw by a score of each prompt: what they share, and the one that goes by the value tracker.

Every rank makes the same updates of the same tensors, so nothing is broadcast.
"""

from typing import TYPE_CHECKING, Any

import torch

from mmr1_trl.data.prompts import Prompts
from mmr1_trl.methods.value_tracker import ValueTracker
from mmr1_trl.trainers.rollouts import RolloutBatch
from mmr1_trl.trainers.samplers.base import Sampler


if TYPE_CHECKING:
    from mmr1_trl.trainers.config import RLVRConfig

# SPO's floor under the weight of a prompt that is surely solved or surely failed.
UNCERTAINTY_FLOOR = 0.05
# Prompts whose age is brought up to date in one batch (beside those just trained on): bounds the cost of a million.
BLOCK = 65_536


class ScoredSampler(Sampler):
    """
    Draws by a score of each prompt, and logs how. A subclass sets `scores` in `rescore`.

    Args:
        prompts, args:
            As for [`Sampler`].
    """

    mode = "scored"  # what the user is told
    state: tuple[str, ...] = ("scores", "last_draw", "touched")  # names of the tensors and values in a checkpoint

    def __init__(self, prompts: Prompts, args: "RLVRConfig") -> None:
        super().__init__(prompts, args)
        self.scores = torch.zeros(prompts.count, dtype=torch.float64)
        self.last_draw = torch.full((prompts.count,), -1)  # number of the generation batch
        self.touched = torch.empty(0, dtype=torch.long)  # prompts of the last generation batch

    def weights(self, batch_number: int) -> torch.Tensor:
        self.rescore(batch_number, self.in_turns(batch_number))
        return self.scores

    def rescore(self, batch_number: int, turns: list[torch.Tensor | slice]) -> None:
        """Bring the scores up to date for a generation batch; `turns` are the prompts that it should be done for."""

    def in_turns(self, batch_number: int) -> list[torch.Tensor | slice]:
        """The prompts to rescore before a batch: a block of all of them, and those just trained on."""
        blocks = -(-len(self.scores) // BLOCK)
        start = batch_number % blocks * BLOCK
        return [slice(start, start + BLOCK) if batch_number else slice(None), self.touched]

    def observe(self, batch: RolloutBatch) -> None:
        number = self.batches_drawn - 1
        self.last_draw[batch.prompts] = number
        self.touched = batch.prompts.unique()
        weights = self.prompts.per_row(self.scores)
        epoch_start = max(0, number + 1 - self.batches_per_epoch)
        drawn = torch.count_nonzero(self.last_draw >= epoch_start)
        self._logged["vas/score_mean"] = weights.mean().item()
        self._logged["vas/effective_sample_size"] = effective_sample_size(weights)
        self._logged["vas/coverage"] = drawn.item() / len(self.last_draw)
        if batch.group_size > 1:
            constant, by_score = constant_groups(batch.groups).double(), batch.num_weighted
            self._logged["vas/frac_zero_variance_groups"] = constant.mean().item()
            if 0 < by_score < len(constant):
                self._logged["vas/frac_zero_variance_weighted"] = constant[:by_score].mean().item()
                self._logged["vas/frac_zero_variance_uniform"] = constant[by_score:].mean().item()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {name: getattr(self, name) for name in self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for name in self.state:
            value = state[name]
            # A copy: sums over memory that a file is mapped to may differ in the last bit from those over torch's own.
            setattr(self, name, value.clone() if isinstance(value, torch.Tensor) else value)


class Uncertainty(ScoredSampler):
    """
    SPO: by `sqrt(v (1 - v)) + 0.05` of the value tracker.

    Args:
        prompts, args:
            As for [`Sampler`].
        tracker ([`~methods.value_tracker.ValueTracker`]):
            That of the baseline.
    """

    mode = "uncertainty"

    def __init__(self, prompts: Prompts, args: "RLVRConfig", tracker: ValueTracker) -> None:
        super().__init__(prompts, args)
        self.tracker = tracker

    def rescore(self, batch_number: int, turns: list[torch.Tensor | slice]) -> None:
        for prompts in turns:
            a, b = self.tracker.alpha[prompts], self.tracker.beta[prompts]
            value = a / (a + b)
            self.scores[prompts] = (value * (1.0 - value)).sqrt() + UNCERTAINTY_FLOOR


def effective_sample_size(weights: torch.Tensor) -> float:
    """Return `(sum w)^2 / sum w^2`: how many equally weighted rows would be as many; all of them when all are 0."""
    squares = torch.dot(weights, weights)
    return (weights.sum() ** 2 / squares).item() if squares > 0 else float(len(weights))


def constant_groups(rewards: torch.Tensor) -> torch.Tensor:
    """Return which groups of shape `(groups, rollouts)` have equal rewards and so no gradient; NaN does not count."""
    highest = rewards.nan_to_num(nan=-torch.inf).amax(1)
    return highest <= rewards.nan_to_num(nan=torch.inf).amin(1)
