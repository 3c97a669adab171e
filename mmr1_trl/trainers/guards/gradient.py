# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Says when a run trains on nothing: rewards that do not vary, or a gradient of nothing although they do."""

import math
from collections.abc import Callable
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from mmr1_trl.trainers.rollouts import sum_over_ranks


logger = logging.get_logger(__name__)

PATIENCE = 3  # batches or updates in a row
NOTHING = 1e-4  # of the mean |advantage|: gradients that teach something are 100 times as large and more


class GradientGuard(TrainerCallback):
    """
    Warns after `PATIENCE` generation batches whose rewards do not differ, or updates without a gradient, in a row;
    again each time that their number has doubled; and at the end of training, if it was most of it.

    Args:
        group_size (`int`, *optional*):
            Completions of a prompt that are compared with each other; `None` where each is compared with what a
            baseline knows of other batches.
        step (`Callable[[], int]`):
            Says how many optimizer steps were made.
    """

    def __init__(self, group_size: int | None, step: Callable[[], int]) -> None:
        self.group_size, self.step = group_size, step
        self.flat = self.lost = 0  # in a row: generation batches, updates
        self.updates = self.empty = 0  # since the start or the resume: all, and those that changed nothing
        self._advantage = 0.0
        self._differ = False  # whether rewards do
        self._rewards = ""

    def generated(self, advantages: torch.Tensor, rewards: torch.Tensor) -> None:
        """
        Look at a generation batch.

        Args:
            advantages (`torch.Tensor` of shape `(B,)` or `(B, T)`):
                Of this rank's completions.
            rewards (`torch.Tensor` of shape `(N,)`):
                Of the completions of all ranks, NaN where none could be given.
        """
        sums = torch.tensor([advantages.abs().sum().item(), advantages.numel()], dtype=torch.float64)
        total, number = sum_over_ranks(sums).tolist()
        self._advantage = total / number
        groups = rewards.view(-1, self.group_size or len(rewards))
        low, high = groups.nan_to_num(math.inf).amin(dim=1), groups.nan_to_num(-math.inf).amax(dim=1)
        self._differ = bool((high > low).any())
        scored = bool((high >= low).any())
        self._rewards = f"rewards from {low.min():.3g} to {high.max():.3g}" if scored else "no rewards at all"
        self.flat = 0 if self._differ else self.flat + 1
        if _is_time(self.flat):
            within = "of a batch" if self.group_size is None else "of a prompt"
            self._warn(
                f"nothing could be learned from {self.flat} generation batches in a row: {self._rewards}, the same "
                f"for all completions {within}. `mmr1 check` shows what the rewards make of a few completions; easier "
                "prompts, a higher temperature or more num_generations make them differ."
            )

    def check(self, grad_norm: Any) -> None:
        """
        Look at an update.

        Args:
            grad_norm (`torch.Tensor` or `float`):
                Norm of its gradient before clipping.
        """
        norm = float(grad_norm)
        if not math.isfinite(norm):
            return
        self.updates += 1
        nothing = norm <= NOTHING * self._advantage
        self.empty += nothing
        self.lost = self.lost + 1 if nothing and self._differ else 0
        if _is_time(self.lost):
            self._warn(
                f"the gradient has been nothing for {self.lost} updates, {norm:.2g} at last, although the advantages "
                f"are not ({self._advantage:.2g} on average, {self._rewards}). Something takes the completions out of "
                "the loss: an importance ratio near 0 (sampling/importance_sampling_ratio/mean), "
                "mask_truncated_completions, clipping; or nothing that trains is left."
            )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if self.empty > self.updates / 2:
            self._warn(
                f"{self.empty} of {self.updates} updates had no gradient ({self._rewards} in the last generation "
                "batch): this run has trained on next to nothing."
            )

    def _warn(self, message: str) -> None:
        if PartialState().is_main_process:
            logger.warning(f"Step {self.step()}: {message}")


def _is_time(count: int) -> bool:
    """Whether `count` is `PATIENCE` times a power of two."""
    times, rest = divmod(count, PATIENCE)
    return rest == 0 and times > 0 and times & (times - 1) == 0
