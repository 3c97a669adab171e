# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""TRL's `SFTTrainer` with this package's uploads, card and way of ending; nothing else is different."""

from pathlib import Path
from typing import Any

from trl import SFTTrainer

from mmr1_trl.trainers.cards import CardMixin
from mmr1_trl.trainers.checkpoints.whole import WholeCheckpoints
from mmr1_trl.trainers.guards.exhaustion import saving
from mmr1_trl.trainers.guards.preemption import preemptible


class SupervisedTrainer(CardMixin, WholeCheckpoints, SFTTrainer):  # type: ignore[misc]  # TRL's cards take other arguments
    """
    [`~trl.SFTTrainer`] whose checkpoints are whole or refused, and whose uploads to the Hub are checked first, and
    never stop the training; SIGTERM and SIGUSR1 do, after a checkpoint is saved.
    """

    _tag_names = ["trl", "mmr1-trl", "sft"]

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """
        Train as [`~transformers.Trainer.train`] does.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*):
                A checkpoint folder, or `True` for the newest complete one in `output_dir`.
            *args, **kwargs:
                As there.

        Raises:
            [`BadInputError`]: The checkpoint is half-written or damaged, or another process trains in `output_dir`.
            [`TrainingStopped`]: The disk is full.
            [`Preempted`]: SIGTERM or SIGUSR1 came, and a checkpoint was saved.
        """
        run_dir = Path(str(self.args.output_dir))
        with self.training_in(run_dir):
            checkpoint = self.whole_checkpoint(resume_from_checkpoint)
            with preemptible(self, log=True), saving("A file of the run", run_dir, run_dir):
                return super().train(checkpoint, *args, **kwargs)
