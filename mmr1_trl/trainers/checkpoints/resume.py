# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Checkpoints that really resume; `state.py` says what they consist of."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_model
from transformers import PreTrainedModel, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints
from transformers.utils import SAFE_WEIGHTS_NAME, logging
from trl import GRPOTrainer

from mmr1_trl.errors import BadInputError, TrainingStopped
from mmr1_trl.trainers.cards import CardMixin
from mmr1_trl.trainers.checkpoints.state import (
    check_resumable,
    load_rank_state,
    load_shared_state,
    mark_complete,
    newest_complete_checkpoint,
    prepare_folder,
    save_rank_state,
    save_shared_state,
)
from mmr1_trl.trainers.checkpoints.uploads import SafePushes
from mmr1_trl.trainers.guards.exhaustion import out_of_memory_advice, saving
from mmr1_trl.trainers.guards.preemption import preemptible


logger = logging.get_logger(__name__)

REFERENCE = "reference."  # before the names of a moved reference model's weights


@contextlib.contextmanager
def on_disk(model: "str | PreTrainedModel") -> Iterator[None]:
    """TRL loads the reference model from where the policy came from; give a model built in memory such a place."""
    if isinstance(model, str) or model.config._name_or_path:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        # On every rank, and in a place of its own: `save_pretrained` leaves the folder of all but the first one empty.
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(folder)
        save_model(model, os.path.join(folder, SAFE_WEIGHTS_NAME), metadata={"format": "pt"})
        model.config._name_or_path = folder
        try:
            yield
        finally:
            model.config._name_or_path = ""


def reload_weights(model: PreTrainedModel, folder: Path) -> None:
    """
    Load the weights of a checkpoint into a model, all of them or none.

    transformers saves several vision-language families under the names of the Hub's files and reads a checkpoint back
    with `load_state_dict(strict=False)`, which matches nothing for them and only warns. `from_pretrained` converts the
    names, so the weights make the detour through a fresh model on the CPU.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            Model to fill, unwrapped.
        folder (`Path`):
            Folder with `config.json` and weights.

    Raises:
        `RuntimeError`: A tensor is missing, unexpected or of another shape.
    """
    # Not `dtype="auto"`: the checkpoint's tensors go into this model's, whatever precision it trains in.
    fresh = type(model).from_pretrained(folder, dtype=next(model.parameters()).dtype, config=model.config)
    model.load_state_dict(fresh.state_dict())


class ResumableTrainer(CardMixin, SafePushes, GRPOTrainer):  # type: ignore[misc]  # TRL's cards take other arguments
    """
    [`~trl.GRPOTrainer`] with checkpoints that resume exactly, in the middle of a generation batch too.

    A subclass with state of its own says so in `shared_state` (the same on all ranks) and `rank_state`, takes it back
    in `load_shared_state` and `load_rank_state`, and tells in `run_identity` what its checkpoints depend on.
    """

    args: Any
    model: Any
    train_dataset: Any
    ref_model: Any
    _buffered_inputs: Any
    _tr_loss: torch.Tensor
    _total_loss_scalar: float
    _globalstep_last_logged: int
    # Sums over the steps since the last entry of the log, which transformers and TRL forget at a resume.
    _resumed_sums: dict[str, Any] | None = None

    def run_identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to continue this run, as plain values with readable names."""
        return {"rows": len(self.train_dataset), "processes": self.accelerator.num_processes}

    def shared_state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Plain values and tensors that are the same on all ranks."""
        return {}, {}

    def load_shared_state(self, plain: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Take back what `shared_state` returned."""

    def rank_state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Plain values and tensors of this rank."""
        return {}, {}

    def load_rank_state(self, plain: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Take back what `rank_state` returned."""

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
        if resume_from_checkpoint is True:
            newest, skipped = newest_complete_checkpoint(str(self.args.output_dir))
            for path in skipped:
                logger.warning(f"{path.name} is half-written and was passed over; resuming from {newest.name}.")
            resume_from_checkpoint = str(newest)
        if resume_from_checkpoint:
            check_resumable(Path(resume_from_checkpoint), self.run_identity())
            done = TrainerState.load_from_json(str(Path(resume_from_checkpoint) / TRAINER_STATE_NAME)).global_step
            if 0 < self.args.max_steps <= done:  # transformers would train one step more
                raise BadInputError(
                    f"{resume_from_checkpoint} is at step {done} and max_steps is {self.args.max_steps}: nothing is "
                    "left to train. To go on give a larger max_steps."
                )
        run_dir = Path(str(self.args.output_dir))
        try:
            with preemptible(self), saving("A file of the run", run_dir, run_dir):
                return super().train(resume_from_checkpoint or None, *args, **kwargs)
        except torch.OutOfMemoryError as error:
            batch = self._buffered_inputs[0] if self._buffered_inputs else None
            raise TrainingStopped(out_of_memory_advice(self, error, batch)) from error

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run_dir = Path(self._get_output_dir(trial=trial))
        folder = run_dir / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        with saving(f"The checkpoint of step {self.state.global_step}", folder, run_dir):
            self._save_all(model, trial, run_dir, folder)

    def _save_all(self, model: Any, trial: Any, run_dir: Path, folder: Path) -> None:
        if self.args.should_save:
            prepare_folder(folder)
        self.accelerator.wait_for_everyone()
        plain, tensors = self.rank_state()
        buffered = [] if self.at_window_end or self._buffered_inputs is None else self._buffered_inputs
        sums = {"loss": self._tr_loss.item(), "since": self._globalstep_last_logged, "metrics": self._metrics["train"]}
        plain = plain | {"sums_for_log": sums}
        save_rank_state(folder, self.accelerator.process_index, buffered, tensors, plain)
        if self.args.should_save:
            plain, tensors = self.shared_state()
            plain |= {"identity": self.run_identity(), "step": self._step}
            save_shared_state(folder, plain, tensors | self._moved_reference())
        # transformers uploads the checkpoint and deletes old ones as the last acts of saving; ours must be complete
        # before that.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        push, self.args.push_to_hub = self.args.push_to_hub, False
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit, self.args.push_to_hub = limit, push
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            mark_complete(folder, self.state.global_step)
        if push:
            self._push_from_checkpoint(str(folder))
        if self.args.should_save:
            rotate_checkpoints(
                output_dir=str(run_dir),
                save_total_limit=limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=True,
            )
        self.accelerator.wait_for_everyone()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        plain, tensors = load_shared_state(Path(checkpoint))
        self._step = plain["step"]
        self.load_shared_state(plain, tensors)
        self._restore_reference(Path(checkpoint), tensors)
        rank, device = self.accelerator.process_index, self.accelerator.device
        batches, tensors, plain = load_rank_state(Path(checkpoint), rank, device)
        self._buffered_inputs = batches or None
        self._resumed_sums = plain.get("sums_for_log")  # absent from checkpoints of earlier versions
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

    def _reload(self, folder: str, model: Any, otherwise: Callable[[], None]) -> None:
        unwrapped = self.accelerator.unwrap_model(model if model is not None else self.model)
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        # Adapters are saved and loaded under their own names, sharded models by their engines.
        if sharded or not isinstance(unwrapped, PreTrainedModel):
            return otherwise()
        reload_weights(unwrapped, Path(folder))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load = super()._load_from_checkpoint
        self._reload(resume_from_checkpoint, model, lambda: load(resume_from_checkpoint, model))

    def _load_best_model(self) -> None:
        self._reload(str(self.state.best_model_checkpoint), None, super()._load_best_model)
