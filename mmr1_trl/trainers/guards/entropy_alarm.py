# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Says when token entropy leaves the band that it should stay in: collapse below, gibberish above."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from mmr1_trl.run_folder import completions_table


logger = logging.get_logger(__name__)


class EntropyAlarm(TrainerCallback):
    """
    Warns at the first log whose mean token entropy lies outside a band, and again after each return into it.

    [`RLVRTrainer`] adds it where `entropy_low` or `entropy_high` is set.

    Args:
        low (`float`, *optional*), high (`float`, *optional*):
            The band in nats, over the full vocabulary and at the sampling temperature; `None` leaves a side open.
        stop (`bool`, *optional*, defaults to `False`):
            Whether to save a checkpoint and stop, too.
        tables (`bool`, *optional*, defaults to `False`):
            Whether TRL writes its tables of completions.
    """

    def __init__(
        self,
        low: float | None = None,
        high: float | None = None,
        stop: bool = False,
        tables: bool = False,
    ) -> None:
        self.low = float("-inf") if low is None else low
        self.high = float("inf") if high is None else high
        self.stop = stop
        self.tables = tables
        self.outside = False

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        entropy = (logs or {}).get("entropy")
        if entropy is None:  # an evaluation, the end of training, or a batch without a token
            return
        was_outside, self.outside = self.outside, not self.low <= entropy <= self.high
        if not self.outside:
            return
        if self.stop:
            control.should_save = True
            control.should_training_stop = True
        if was_outside or not state.is_world_process_zero:
            return
        where = "log_completions=True keeps the completions of such a step"
        if self.tables:
            where = f"its completions are in {completions_table(str(args.output_dir), state.global_step)}"
        then = " A checkpoint is saved and training stops (entropy_alarm='stop')." if self.stop else ""
        logger.warning(
            f"Step {state.global_step}: the token entropy of {entropy:.4g} nats is outside the band from "
            f"{self.low:g} to {self.high:g} (entropy_low, entropy_high); {where}.{then}"
        )
