# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""TRL's `SFTTrainer` with this package's uploads and card; nothing else is different."""

from trl import SFTTrainer

from mmr1_trl.trainers.cards import CardMixin
from mmr1_trl.trainers.checkpointing import SafePushes


class SupervisedTrainer(CardMixin, SafePushes, SFTTrainer):  # type: ignore[misc]  # TRL's cards take other arguments
    """[`~trl.SFTTrainer`] whose uploads to the Hub are checked first, and never stop the training."""

    _tag_names = ["trl", "mmr1-trl", "sft"]
