# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""TRL's `SFTTrainer` with this package's uploads, card and way of ending; nothing else is different."""

from typing import Any

from trl import SFTTrainer

from mmr1_trl.trainers.cards import CardMixin
from mmr1_trl.trainers.checkpoints.uploads import SafePushes
from mmr1_trl.trainers.guards.preemption import preemptible


class SupervisedTrainer(CardMixin, SafePushes, SFTTrainer):  # type: ignore[misc]  # TRL's cards take other arguments
    """
    [`~trl.SFTTrainer`] whose uploads to the Hub are checked first, and never stop the training; SIGTERM and SIGUSR1
    do, after a checkpoint is saved.
    """

    _tag_names = ["trl", "mmr1-trl", "sft"]

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """
        Train as [`~transformers.Trainer.train`] does.

        Raises:
            [`Preempted`]: SIGTERM or SIGUSR1 came, and a checkpoint was saved.
        """
        with preemptible(self, log=True):
            return super().train(*args, **kwargs)
