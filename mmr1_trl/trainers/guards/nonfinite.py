# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Stops or skips an optimizer step whose loss, log-ratios or gradient are not finite, and names its prompts."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from mmr1_trl.data.mixture import SOURCE, SOURCE_ROW
from mmr1_trl.errors import BadInputError, TrainingStopped
from mmr1_trl.trainers.rollouts import sum_over_ranks


logger = logging.get_logger(__name__)

MAX_SKIPPED = 10  # in a row: then it is not the batch but the weights
MAX_NAMED = 8
PARTS = ("log-ratio", "loss", "gradient")


class NonFiniteGuard(TrainerCallback):
    """
    Looks at what every optimizer step is about to apply. Added by [`RLVRTrainer`].

    The flags of all ranks are summed before anything is decided, so all ranks decide the same.

    Args:
        args ([`RLVRConfig`]):
            The run's options: with `on_nonfinite="error"` it raises before the weights change; with `"skip"` it drops
            the gradient, so that weights and optimizer stay as they are, and goes on with the next batch.
        dataset ([`~datasets.Dataset`]):
            The training rows, to name prompts.
        deepspeed (`bool`):
            Whether DeepSpeed updates the weights within the backward pass.
    """

    def __init__(self, args: Any, dataset: Any, deepspeed: bool) -> None:
        if args.on_nonfinite == "skip" and deepspeed:
            raise BadInputError(
                "on_nonfinite='skip' does not work with DeepSpeed, which updates the weights within the backward "
                "pass. Take on_nonfinite='error', or FSDP (--accelerate_config fsdp2)."
            )
        self.args, self.dataset, self.deepspeed = args, dataset, deepspeed
        self.skip = args.on_nonfinite == "skip"
        self.skipped_in_a_row = 0
        self._found: list[str] = []
        self._forget()

    def _forget(self) -> None:
        self._rows: list[tuple[torch.Tensor, torch.Tensor]] = []  # of each micro-batch: row numbers, which are bad
        self._losses: list[torch.Tensor] = []

    def watch(self, inputs: dict[str, Any], logps: torch.Tensor) -> None:
        """
        Note which completions of a micro-batch hold values that are not finite, without waiting for the device.

        Args:
            inputs (`dict`):
                The micro-batch, as the loss gets it.
            logps (`torch.Tensor` of shape `(B, T)`):
                Log-probs of its completions under the policy, detached.
        """
        ratio = torch.exp(logps - inputs.get("old_per_token_logps", logps))  # overflows where the loss does
        others = ("advantages", "ref_per_token_logps", "importance_sampling_ratio")
        values = [ratio, *(inputs.get(name) for name in others)]
        bad = torch.zeros(len(logps), dtype=torch.bool, device=logps.device)
        for value in values:
            if value is not None:
                bad |= ~torch.isfinite(value).reshape(len(logps), -1).all(dim=1)
        rows = inputs.get("rows")
        self._rows.append((torch.full_like(bad, -1, dtype=torch.long) if rows is None else rows, bad))

    def watch_loss(self, loss: torch.Tensor) -> None:
        """Note the loss of a micro-batch."""
        self._losses.append(loss.detach().reshape(()))

    def check(self, grad_norm: Any, metrics: dict[str, list[float]]) -> Any:
        """
        Decide, together with the other ranks, whether the step can be made.

        Args:
            grad_norm (`torch.Tensor` or `float`):
                Norm of the gradient before clipping.
            metrics (`dict[str, list[float]]`):
                Where to log `guard/skipped_steps`.

        Returns:
            `grad_norm`.
        """
        bad_rows = any(bool(bad.any()) for _, bad in self._rows)
        bad_loss = any(not bool(torch.isfinite(loss)) for loss in self._losses)
        # With fp16 the gradient scaler tries scales that overflow, and passes over such steps by itself.
        bad_gradient = not self.args.fp16 and not math.isfinite(float(grad_norm))
        flags = sum_over_ranks(torch.tensor([bad_rows, bad_loss, bad_gradient], dtype=torch.float32))
        self._found = [name for name, flag in zip(PARTS, flags.tolist()) if flag]
        if self.skip:
            metrics["guard/skipped_steps"].append(float(bool(self._found)))
        return grad_norm

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self._found:
            self.skipped_in_a_row = 0
        else:
            what = f"Step {state.global_step + 1}: the {' and the '.join(self._found)} is not finite. {self._blame()}"
            self.skipped_in_a_row += 1
            if not self.skip:
                weights = "have been updated already" if self.deepspeed else "were not updated"
                raise TrainingStopped(
                    f"{what} The weights {weights}, and the checkpoints in {args.output_dir} are from before. "
                    "Resume with a lower learning_rate or max_grad_norm, or with on_nonfinite='skip' "
                    "(--on_nonfinite skip) to pass over such batches."
                )
            if self.skipped_in_a_row >= MAX_SKIPPED:
                raise TrainingStopped(
                    f"{what} It is the {MAX_SKIPPED}th step in a row that is skipped, so it is not the batch. Resume "
                    f"from a checkpoint in {args.output_dir} with a lower learning_rate or max_grad_norm."
                )
            if state.is_world_process_zero:
                logger.warning(f"{what} The batch is skipped (on_nonfinite='skip').")
            kwargs["model"].zero_grad(set_to_none=True)  # parameters without a gradient are left alone by optimizers
        self._forget()

    def _blame(self) -> str:
        """Name the prompts; called on all ranks."""
        pairs = [(int(row), bool(flag)) for rows, bad in self._rows for row, flag in zip(rows, bad)]
        pairs = gather_object(pairs)
        bad = sorted({row for row, flag in pairs if flag and row >= 0})
        if bad:
            return f"Found in the completions of {names(self.dataset, bad)}."
        rows = sorted({row for row, _ in pairs if row >= 0})
        return f"No completion stands out; the step was on {names(self.dataset, rows)}."


def names(dataset: Any, rows: Sequence[int]) -> str:
    """
    Name the prompts of rows of a training set.

    Args:
        dataset ([`~datasets.Dataset`]):
            The training set.
        rows (`Sequence[int]`):
            Row numbers; beyond the first eight only their number is given.
    """
    named = rows[:MAX_NAMED]
    if "prompt_id" in dataset.column_names:
        ids = dataset.select_columns(["prompt_id"])
        texts = [f"{ids[row]['prompt_id']} (row {row})" for row in named]
    else:
        texts = [f"row {row}" for row in named]
    if SOURCE_ROW in dataset.column_names:
        parts = dataset.select_columns([SOURCE, SOURCE_ROW])[list(named)]
        texts = [f"{text}: row {parts[SOURCE_ROW][i]} of {parts[SOURCE][i]}" for i, text in enumerate(texts)]
    more = f" and {len(rows) - len(named)} more" if len(rows) > len(named) else ""
    return f"prompt{'s' * (len(rows) != 1)} {', '.join(texts)}{more}"
