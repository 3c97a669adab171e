# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""VAS: prompts whose outcome is uncertain, and whose rollouts differ, are drawn more often."""

from dataclasses import dataclass, field

from mmr1_trl.trainers.config import RLVRConfig
from mmr1_trl.trainers.method_table import METHODS
from mmr1_trl.trainers.trainer import RLVRTrainer


@dataclass
class VASConfig(RLVRConfig):
    r"""
    Configuration class for the [`VASTrainer`]: [`RLVRConfig`] with the defaults of
    [MMR1](https://huggingface.co/papers/2509.21268).

    The `vas_*` options have the values of its main run. `vas_refresh="full"` is the paper's procedure, which makes
    `vas_rollouts` rollouts for every prompt at each refresh; the default `"online"` is ours and makes none.

    > [!NOTE]
    > These parameters have default values different from [`RLVRConfig`]: `prompt_sampling`: `"variance_aware"`,
    > `beta`: `0.01`, `weight_decay`: `0.01`.
    """

    prompt_sampling: str = field(
        default="variance_aware",
        metadata={"help": "How prompts are drawn: 'variance_aware' (VAS), 'uniform' or 'uncertainty' (SPO)."},
    )
    beta: float = field(default=0.01, metadata={"help": "Coefficient of the KL to the reference model."})
    weight_decay: float = field(default=0.01, metadata={"help": "Weight decay of AdamW."})


class VASTrainer(RLVRTrainer):
    """
    Trainer for [MMR1](https://huggingface.co/papers/2509.21268)'s variance-aware sampling: an [`RLVRTrainer`] with the
    paper's defaults.

    Args:
        args ([`VASConfig`], *optional*):
            Configuration of the run.
        model, reward_funcs, train_dataset, eval_dataset, processing_class, **kwargs:
            As in [`RLVRTrainer`].
    """

    _tag_names = METHODS["vas"].tags
    _name = METHODS["vas"].title
    _paper = METHODS["vas"].paper
    _config_class = VASConfig
