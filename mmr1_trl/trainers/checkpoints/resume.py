# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Checkpoints that really resume; `state.py` says what they consist of, `run_folder` whether they are whole."""

import os
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState
from trl import GRPOTrainer

from mmr1_trl.errors import BadInputError, TrainingStopped
from mmr1_trl.run_folder import (
    STATE_JSON,
    STATE_TENSORS,
    TRAINER_STATE,
    rank_files,
)
from mmr1_trl.trainers.checkpoints.earlier import brought_up_to_date
from mmr1_trl.trainers.checkpoints.run_card import CardMixin
from mmr1_trl.trainers.checkpoints.state import (
    check_resumable,
    give_back,
    load_rank_state,
    load_shared_state,
    reading,
    require_like,
    save_rank_state,
    save_shared_state,
    state_of,
)
from mmr1_trl.trainers.checkpoints.whole import WholeCheckpoints
from mmr1_trl.trainers.guards.exhaustion import out_of_memory_advice, saving
from mmr1_trl.trainers.guards.preemption import preemptible


REFERENCE = "reference."  # before the names of a moved reference model's weights


class ResumableTrainer(CardMixin, WholeCheckpoints, GRPOTrainer):  # type: ignore[misc]  # TRL's cards take other arguments
    """
    [`~trl.GRPOTrainer`] with checkpoints that resume exactly, in the middle of a generation batch too.

    A subclass with state of its own names the parts that have it in `shared_parts` (the same on all ranks), says the
    rest in `rank_state` and takes it back in `load_rank_state`, and tells in `run_identity` what its checkpoints
    depend on.
    """

    args: Any
    model: Any
    train_dataset: Any
    ref_model: Any
    sharing: Any
    engine: Any = None  # vLLM, where that samples
    _buffered_inputs: Any
    _tr_loss: torch.Tensor
    _total_loss_scalar: float
    _globalstep_last_logged: int
    # Sums over the steps since the last entry of the log, which transformers and TRL forget at a resume.
    _resumed_sums: dict[str, Any] | None = None

    def run_identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to continue this run, as plain values with readable names."""
        return {"rows": len(self.train_dataset), "processes": self.accelerator.num_processes}

    def shared_parts(self) -> dict[str, Any]:
        """Whatever has a `state_dict` and a `load_state_dict` that is the same on all ranks, by name."""
        return {}

    def rank_state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Plain values and tensors of this rank."""
        return {}, {}

    def load_rank_state(self, plain: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Take back what `rank_state` returned."""

    def advice_on(self, error: torch.OutOfMemoryError) -> str:
        """What to say when the accelerator's memory is full."""
        spread = self.is_deepspeed_enabled or self.is_fsdp_enabled
        return out_of_memory_advice(
            error, self.args, self.state.global_step,
            batch=self._buffered_inputs[0] if self._buffered_inputs else None,
            tokens=self.sharing.last,
            may_spread=self.accelerator.num_processes > 1 and not spread,
        )  # fmt: skip

    @property
    def at_window_end(self) -> bool:
        """Whether the next step generates anew."""
        return self._step % (self.args.steps_per_generation * self.num_iterations) == 0

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """
        Train, or go on training.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*):
                A checkpoint folder, or `True` for the newest complete one in `output_dir`. Half-written checkpoints
                are named and passed over; one of another run is refused. The resumed run equals the uninterrupted one.
            *args, **kwargs:
                As in [`~transformers.Trainer.train`].

        Raises:
            [`BadInputError`]: There is no checkpoint to resume, it does not fit this run, or nothing is left to train.
            [`TrainingStopped`]: The accelerator's memory or the disk is full, or a step is not finite.
            [`Preempted`]: SIGTERM or SIGUSR1 came, and a checkpoint was saved.
        """
        run_dir = Path(str(self.args.output_dir))
        with self.training_in(run_dir):
            checkpoint = self.whole_checkpoint(resume_from_checkpoint)
            if checkpoint is not None:
                check_resumable(Path(checkpoint), self.run_identity())
                with reading(Path(checkpoint), TRAINER_STATE):
                    done = TrainerState.load_from_json(os.path.join(checkpoint, TRAINER_STATE)).global_step
                if 0 < self.args.max_steps <= done:  # transformers would train one step more
                    raise BadInputError(
                        f"{checkpoint} is at step {done} and max_steps is {self.args.max_steps}: nothing is left to "
                        "train. To go on give a larger max_steps."
                    )
            try:
                with (
                    preemptible(self.callback_handler, self.accelerator, run_dir),
                    saving("A file of the run", run_dir, run_dir),
                ):
                    return super().train(checkpoint, *args, **kwargs)
            except torch.OutOfMemoryError as error:
                raise TrainingStopped(self.advice_on(error)) from error

    def save_own_state(self, folder: Path) -> None:
        plain, tensors = self.rank_state()
        buffered = [] if self.at_window_end or self._buffered_inputs is None else self._buffered_inputs
        sums = {"loss": self._tr_loss.item(), "since": self._globalstep_last_logged, "metrics": self._metrics["train"]}
        plain = plain | {"sums_for_log": sums}
        save_rank_state(folder, self.accelerator.process_index, buffered, tensors, plain)
        if self.args.should_save:
            plain, tensors = state_of(self.shared_parts())
            plain |= {"identity": self.run_identity(), "step": self._step}
            save_shared_state(folder, plain, tensors | self._moved_reference())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        fresh = state_of(self.shared_parts())[1]
        with reading(folder, STATE_JSON):
            plain, tensors = brought_up_to_date(*load_shared_state(folder), fresh, self.args)
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith(REFERENCE)}
        require_like(folder, STATE_TENSORS, own, fresh)
        with reading(folder, STATE_JSON):
            self._step = plain["step"]
            give_back(self.shared_parts(), plain, tensors)
        with reading(folder, STATE_TENSORS):
            self._restore_reference(folder, tensors)
        rank, device = self.accelerator.process_index, self.accelerator.device
        batches, tensors, plain = load_rank_state(folder, rank, device)
        self._buffered_inputs = batches or None
        self._resumed_sums = plain.get("sums_for_log")  # absent from checkpoints of earlier versions
        with reading(folder, " or ".join(rank_files(rank))):
            self.load_rank_state(plain, tensors)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self._resumed_sums is not None:
            sums, self._resumed_sums = self._resumed_sums, None
            self._tr_loss += sums["loss"]
            self._total_loss_scalar -= sums["loss"]  # `train_loss` is the mean over the steps after the resume
            self._globalstep_last_logged = sums["since"]
            self._metrics["train"].update(sums["metrics"])
        super()._run_epoch(*args, **kwargs)

    def _moved_reference(self) -> dict[str, torch.Tensor]:
        """The weights of a reference model that follows the policy; a sharded one is in no checkpoint."""
        if not self.args.sync_ref_model or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return {}
        weights = self.accelerator.unwrap_model(self.ref_model).state_dict()
        return {f"{REFERENCE}{name}": tensor for name, tensor in weights.items()}

    def _restore_reference(self, folder: Path, tensors: dict[str, torch.Tensor]) -> None:
        if not self.args.sync_ref_model:
            return
        weights = {name.removeprefix(REFERENCE): t for name, t in tensors.items() if name.startswith(REFERENCE)}
        if not weights:
            raise BadInputError(
                f"{folder} does not hold the reference model, which sync_ref_model has moved, so this run cannot be "
                "resumed. With FSDP or DeepSpeed it is never saved: start anew, or set sync_ref_model=False."
            )
        self.accelerator.unwrap_model(self.ref_model).load_state_dict(weights)
