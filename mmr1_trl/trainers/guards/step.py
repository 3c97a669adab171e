# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The guards of a training step, each asked at its moment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, TrainerCallback

from mmr1_trl.models.processing import ProcessingClass
from mmr1_trl.trainers.guards.agreement import AgreementGuard
from mmr1_trl.trainers.guards.exhaustion import last_checkpoint
from mmr1_trl.trainers.guards.gradient import GradientGuard
from mmr1_trl.trainers.guards.nonfinite import MAX_NAMED, NonFiniteGuard
from mmr1_trl.trainers.guards.placeholders import PictureTokenGuard


class StepGuards:
    """
    What [`RLVRTrainer`] tells its guards, in the order of a generation batch. Each method may end the run.

    Args:
        args ([`RLVRConfig`]), dataset ([`~datasets.Dataset`]):
            The run's options and its training rows.
        config ([`~transformers.PreTrainedConfig`]), processing_class ([`ProcessingClass`]):
            Of the model.
        group_size (`int`, *optional*):
            Completions that are compared with each other, `None` where they are compared with other batches.
        step (`Callable[[], int]`):
            Says how many optimizer steps were made.
        deepspeed (`bool`):
            Whether DeepSpeed updates the weights.
    """

    def __init__(
        self,
        args: Any,
        dataset: Any,
        config: PreTrainedConfig,
        processing_class: ProcessingClass,
        group_size: int | None,
        step: Callable[[], int],
        deepspeed: bool,
    ) -> None:
        self.step, self.run_dir = step, Path(str(args.output_dir))
        self.nonfinite = NonFiniteGuard(args, dataset, deepspeed)
        self.agreement = AgreementGuard(args, step)
        self.gradient = GradientGuard(group_size, step)
        self.picture_tokens = PictureTokenGuard(config, processing_class, dataset, step, self.run_dir)
        self.callbacks: list[TrainerCallback] = [self.nonfinite, self.gradient]

    def rewarding(self, records: list[dict[str, Any]]) -> str:
        """Say at what step a reward function met which prompts, and what is safe."""
        texts = [r["prompt"] if isinstance(r["prompt"], str) else str(r["prompt"][-1]["content"]) for r in records]
        some = [str(record.get("prompt_id", repr(text[:60]))) for record, text in zip(records, texts)]
        some = [*dict.fromkeys(some)]
        more = f" and {len(some) - MAX_NAMED} more" if len(some) > MAX_NAMED else ""
        return (
            f"That was after step {self.step()}, on the prompts {', '.join(some[:MAX_NAMED])}{more}. "
            f"{last_checkpoint(self.run_dir)}"
        )

    def batch(self, batch: dict[str, Any], rewards: torch.Tensor, metrics: dict[str, list[float]]) -> None:
        """Look at a generation batch of training, with the rewards of all ranks."""
        self.agreement.check(batch, metrics)
        self.gradient.generated(batch["advantages"], rewards)

    def forward(
        self, inputs: dict[str, Any], logps: torch.Tensor, metrics: dict[str, list[float]], last: bool
    ) -> None:
        """Look at a forward pass of the loss; `last` says whether it is the last one on its generation batch."""
        self.agreement.watch(inputs, logps, metrics, last)
        self.nonfinite.watch(inputs, logps)

    def update(self, grad_norm: Any, metrics: dict[str, list[float]]) -> Any:
        """Look at the gradient that is about to be applied; return its norm."""
        self.gradient.check(grad_norm)
        return self.nonfinite.check(grad_norm, metrics)
