# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""TRL's `SFTTrainer` with this package's uploads, card and way of ending; nothing else is different."""

from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import SFTTrainer

from mmr1_trl.data.checks.row_checks import readable_by, without_control_tokens
from mmr1_trl.trainers.checkpoints.run_card import CardMixin
from mmr1_trl.trainers.checkpoints.whole import WholeCheckpoints
from mmr1_trl.trainers.guards.exhaustion import saving
from mmr1_trl.trainers.guards.preemption import preemptible


class SupervisedTrainer(CardMixin, WholeCheckpoints, SFTTrainer):  # type: ignore[misc]  # TRL's cards take other arguments
    """
    [`~trl.SFTTrainer`] whose checkpoints are whole or refused, and whose uploads to the Hub are checked first, and
    never stop the training; SIGTERM and SIGUSR1 do, after a checkpoint is saved.
    """

    _tag_names = ["trl", "mmr1-trl", "sft"]
    engine = None  # nothing is sampled

    def __init__(
        self,
        model: Any,
        args: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        **kwargs: Any,
    ) -> None:
        # Text from data is text, in answers to imitate as well. TRL loads a missing processor; of that one it is not
        # known here what it reads as more than text.
        for name, dataset in (("train_dataset", train_dataset), ("eval_dataset", eval_dataset)):
            if processing_class is not None and isinstance(dataset, Dataset):
                readable_by(processing_class, dataset, name)
                without_control_tokens(dataset, processing_class, None, name)
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            **kwargs,
        )

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
            with (
                preemptible(self.callback_handler, self.accelerator, run_dir, log=True),
                saving("A file of the run", run_dir, run_dir),
            ):
                return super().train(checkpoint, *args, **kwargs)
