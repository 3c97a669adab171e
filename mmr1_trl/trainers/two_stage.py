# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Two-stage entropy: token entropy is maximized first and minimized at the end, for noisy labels."""

import textwrap
from dataclasses import dataclass, field

from mmr1_trl.trainers.config import RLVRConfig
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

    _tag_names = ["trl", "mmr1-trl", "two-stage-entropy"]
    _name = "Two-stage entropy"
    _paper = {
        "title": "From Exploration to Exploitation: "
        "A Two-Stage Entropy RLVR Approach for Noise-Tolerant MLLM Training",
        "id": "2511.07738",
        "citation": textwrap.dedent("""\
            @article{xu2025twostage,
                title        = {{From Exploration to Exploitation: A Two-Stage Entropy RLVR Approach for Noise-Tolerant MLLM Training}},
                author       = {Donglai Xu and Hongzheng Yang and Yuzhi Zhao and Pingping Zhang and Jinpeng Chen and Wenao Ma and Zhijian Hou and Mengyang Wu and Xiaolei Li and Senkang Hu and Ziyi Guan and Jason Chun Lok Li and Lai Man Po},
                year         = 2025,
                eprint       = {arXiv:2511.07738},
            }"""),  # noqa: E501
    }
    _config_class = TwoStageEntropyConfig
