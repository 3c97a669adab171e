# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Checkpoints that are whole or refused, in a folder in which one run trains at a time."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate.optimizer import AcceleratedOptimizer
from accelerate.scheduler import AcceleratedScheduler
from accelerate.utils import gather_object
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel
from transformers.utils import logging

from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder import (
    OPTIMIZER,
    SCHEDULER,
    checkpoint_of,
    describe_files,
    find_damage,
    locked,
    newest_complete,
    require_whole,
    rotate,
    seal,
)
from mmr1_trl.trainers.captured import swapped
from mmr1_trl.trainers.checkpoints.state import prepare_folder, reading
from mmr1_trl.trainers.checkpoints.uploads import SafePushes
from mmr1_trl.trainers.checkpoints.weights import (
    ADAPTER_WEIGHTS,
    reload_weights,
    require_own_adapter,
    require_own_moments,
)
from mmr1_trl.trainers.guards.exhaustion import saving


logger = logging.get_logger(__name__)


class WholeCheckpoints(SafePushes):
    """
    Checkpoints of a [`~transformers.Trainer`] that are whole or refused, in a folder that nobody else trains in.

    Each is sealed with the digests of its files before it is uploaded and before older ones are deleted, and read
    against them before anything is loaded.
    """

    lr_scheduler: Any
    optimizer: Any

    def save_own_state(self, folder: Path) -> None:
        """Write, on all ranks, what a checkpoint holds beside transformers' files."""

    def training_in(self, run_dir: Path) -> contextlib.AbstractContextManager[None]:
        """Be the only run in a folder; one process holds the lock for all."""
        return locked(run_dir) if self.args.process_index == 0 else contextlib.nullcontext()

    def whole_checkpoint(self, checkpoint: str | bool | None) -> str | None:
        """
        Return the folder to go on from: the newest one for `True`.

        Raises:
            [`BadInputError`]: There is none, or it is half-written or damaged.
        """
        if checkpoint is True:
            newest, skipped = newest_complete(str(self.args.output_dir))
            for path in skipped:
                logger.warning(f"{path.name} is half-written and was passed over; resuming from {newest.name}.")
            checkpoint = str(newest)
        if not checkpoint:
            return None
        require_whole(Path(checkpoint), self._find_damage)
        return str(checkpoint)

    def _find_damage(self, checkpoint: Path) -> str | None:
        """Look at a checkpoint with all ranks, each at a share of it."""
        ranks = 1 if self.args.save_on_each_node else self.accelerator.num_processes
        found = find_damage(checkpoint, self.accelerator.process_index if ranks > 1 else 0, ranks)
        return next((one for one in gather_object([found]) if one), None)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run_dir = Path(self._get_output_dir(trial=trial))
        folder = checkpoint_of(run_dir, self.state.global_step)
        with saving(f"The checkpoint of step {self.state.global_step}", folder, run_dir):
            self._save_all(model, trial, run_dir, folder)

    def _save_all(self, model: Any, trial: Any, run_dir: Path, folder: Path) -> None:
        if self.args.should_save:
            prepare_folder(folder)
        self.accelerator.wait_for_everyone()
        self.save_own_state(folder)
        # transformers uploads the checkpoint and deletes old ones as the last acts of saving; ours must be complete
        # before that.
        push, limit = self.args.push_to_hub, self.args.save_total_limit
        with swapped(self.args, save_total_limit=None, push_to_hub=False):
            super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        self._seal(folder)
        if push:
            self._push_from_checkpoint(str(folder))
        if self.args.should_save:
            rotate(run_dir, limit, folder, self.state.best_model_checkpoint)
        self.accelerator.wait_for_everyone()

    def _seal(self, folder: Path) -> None:
        if self.args.save_on_each_node:  # each node has files of its own
            files = describe_files(folder) if self.args.should_save else {}
        else:
            shares = gather_object(
                [describe_files(folder, self.accelerator.process_index, self.accelerator.num_processes)]
            )
            files = {name: facts for share in shares for name, facts in share.items()}
        if self.args.should_save:
            seal(folder, self.state.global_step, files)

    def _reload(self, folder: str, model: Any, otherwise: Callable[[], None]) -> None:
        unwrapped = self.accelerator.unwrap_model(model if model is not None else self.model)
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:  # sharded models are loaded by their engines
            return otherwise()
        if isinstance(unwrapped, PreTrainedModel):
            return reload_weights(unwrapped, Path(folder))
        require_own_adapter(unwrapped, Path(folder))
        with reading(Path(folder), ADAPTER_WEIGHTS):
            otherwise()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load = super()._load_from_checkpoint
        self._reload(resume_from_checkpoint, model, lambda: load(resume_from_checkpoint, model))

    def _load_best_model(self) -> None:
        best = str(self.state.best_model_checkpoint)
        require_whole(Path(best), self._find_damage)
        self._reload(best, None, super()._load_best_model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return super()._load_optimizer_and_scheduler(checkpoint)
        with reading(Path(checkpoint), f"{OPTIMIZER} or {SCHEDULER}"):
            super()._load_optimizer_and_scheduler(checkpoint)
        if self.is_deepspeed_enabled:
            return
        if not self.is_fsdp_enabled:
            inner = self.optimizer.optimizer if isinstance(self.optimizer, AcceleratedOptimizer) else self.optimizer
            require_own_moments(inner, Path(checkpoint))
        self._set_rates()

    def _set_rates(self) -> None:
        """
        Take the next step's learning rate from this run's schedule. The optimizer comes back with the one that the
        schedule of its own run had for it, which is 0 where that run ended.
        """
        wrapped = isinstance(self.lr_scheduler, AcceleratedScheduler)
        scheduler = self.lr_scheduler.scheduler if wrapped else self.lr_scheduler
        if not isinstance(scheduler, LambdaLR):
            return
        rates = [base * rate(scheduler.last_epoch) for base, rate in zip(scheduler.base_lrs, scheduler.lr_lambdas)]
        for group, rate in zip(scheduler.optimizer.param_groups, rates):
            group["lr"] = rate
        scheduler._last_lr = rates

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        try:
            return super()._determine_best_metric(metrics, trial)
        except KeyError as error:
            raise BadInputError(
                f"metric_for_best_model={self.args.metric_for_best_model!r} is not among the metrics of the "
                f"evaluation: {', '.join(name.removeprefix('eval_') for name in metrics)}."
            ) from error

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return super()._load_rng_state(checkpoint)
        with reading(Path(checkpoint), "rng_state*.pth"):
            super()._load_rng_state(checkpoint)
