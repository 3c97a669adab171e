# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""SIGTERM and SIGUSR1, by which clusters announce the end of a job, save a checkpoint before the run ends."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from accelerate import Accelerator
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler
from transformers.utils import logging

from mmr1_trl.errors import Preempted
from mmr1_trl.run_folder import checkpoint_of


logger = logging.get_logger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    """
    Let `handler` answer SIGTERM and SIGUSR1 for a while. With `signal.SIG_IGN` nothing does: for a last save, which
    takes a moment, must be whole, and is followed by the end of the process anyway.
    """
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers only there
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class Preemption(TrainerCallback):
    """
    Saves and stops at the end of the optimizer step in which a signal arrives, on whichever rank.

    That is the first moment at which a checkpoint resumes exactly: within a step there are gradients and random
    numbers that no checkpoint holds. Whoever kills the process has to wait for one step and one save.

    Args:
        accelerator ([`~accelerate.Accelerator`]):
            Of the trainer: the ranks agree on the step.
        log (`bool`):
            Whether to log before, which a trainer needs whose checkpoints do not hold what was summed up for its next
            entry of the log.
    """

    def __init__(self, accelerator: Accelerator, log: bool) -> None:
        self.accelerator = accelerator
        self.log = log
        self.received = 0  # by this process
        self.agreed = 0  # by all
        self.step = self.steps_left = 0
        self._time = 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the signals; afterwards they do again what they did before."""
        with handled_by(self._receive):
            yield

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # A launcher and a scheduler may both send one, so a second signal is no reason to hurry.
        if not self.received:
            self.received, self._time = number, time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        received = torch.tensor([self.received], device=self.accelerator.device)
        self.agreed = int(self.accelerator.gather(received).max())
        self.step, self.steps_left = state.global_step, state.max_steps - state.global_step
        if self.agreed:
            control.should_log |= self.log
            control.should_save = True
            control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if self.agreed and state.is_world_process_zero:
            after = f" {time.monotonic() - self._time:.1f} s after it" if self.received else ""
            name = signal.Signals(self.agreed).name
            logger.warning(f"{name}: saved a checkpoint of step {state.global_step}{after}.")


@contextmanager
def preemptible(
    callbacks: CallbackHandler, accelerator: Accelerator, run_dir: Path, log: bool = False
) -> Iterator[None]:
    """
    Around [`~transformers.Trainer.train`]: a signal ends it after a checkpoint is saved.

    Args:
        callbacks ([`~transformers.trainer_callback.CallbackHandler`]), accelerator ([`~accelerate.Accelerator`]):
            Of what trains.
        run_dir (`Path`):
            Folder of the run.
        log (`bool`, *optional*, defaults to `False`):
            Whether to log before the checkpoint; see [`Preemption`].

    Raises:
        [`Preempted`]: SIGTERM or SIGUSR1 came before the last step.
    """
    preemption = Preemption(accelerator, log)
    callbacks.add_callback(preemption)
    try:
        with preemption.listening():
            yield
    finally:
        callbacks.remove_callback(preemption)
    if preemption.agreed and preemption.steps_left:
        raise Preempted(preemption.agreed, str(checkpoint_of(run_dir, preemption.step)))
