# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Two-stage entropy: token entropy is maximized first and minimized at the end, for noisy labels."""

from dataclasses import dataclass, field

from mmr1_trl.trainers.config import RLVRConfig
from mmr1_trl.trainers.method_table import METHODS
from mmr1_trl.trainers.trainer import RLVRTrainer


@dataclass
class TwoStageEntropyConfig(RLVRConfig):
    r"""
    Configuration class for the [`TwoStageEntropyTrainer`]: [`RLVRConfig`] with the schedule of
    [two-stage entropy RLVR](https://huggingface.co/papers/2511.07738).

    > [!NOTE]
    > This parameter has a default value different from [`RLVRConfig`]: `entropy_schedule`: `"two_stage"`. The paper
    > publishes neither coefficients nor learning rate; those are TRL's and ours.
    """

    entropy_schedule: str = field(
        default="two_stage",
        metadata={
            "help": "Schedule of the token entropy term: 'none', 'two_stage', 'maximize', 'minimize', "
            "'minimize_then_maximize', or with known wrong labels 'maximize_noisy' or 'minimize_noisy'."
        },
    )


class TwoStageEntropyTrainer(RLVRTrainer):
    """
    Trainer for [two-stage entropy RLVR](https://huggingface.co/papers/2511.07738): an [`RLVRTrainer`] with its
    schedule.

    Args:
        args ([`TwoStageEntropyConfig`], *optional*):
            Configuration of the run.
        model, reward_funcs, train_dataset, eval_dataset, processing_class, **kwargs:
            As in [`RLVRTrainer`].
    """

    _tag_names = METHODS["two-stage"].tags
    _name = METHODS["two-stage"].title
    _paper = METHODS["two-stage"].paper
    _config_class = TwoStageEntropyConfig
