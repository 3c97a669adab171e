# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""VAS: prompts whose outcome is uncertain, and whose rollouts differ, are drawn more often."""

import textwrap
from dataclasses import dataclass, field

from mmr1_trl.trainers.config import RLVRConfig
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

    _tag_names = ["trl", "mmr1-trl", "vas"]
    _name = "VAS"
    _paper = {
        "title": "MMR1: Enhancing Multimodal Reasoning with Variance-Aware Sampling and Open Resources",
        "id": "2509.21268",
        "citation": textwrap.dedent("""\
            @article{leng2025mmr1,
                title        = {{MMR1: Enhancing Multimodal Reasoning with Variance-Aware Sampling and Open Resources}},
                author       = {Sicong Leng and Jing Wang and Jiaxi Li and Hao Zhang and Zhiqiang Hu and Boqiang Zhang and Yuming Jiang and Hang Zhang and Xin Li and Lidong Bing and Deli Zhao and Wei Lu and Yu Rong and Aixin Sun and Shijian Lu},
                year         = 2025,
                eprint       = {arXiv:2509.21268},
            }"""),  # noqa: E501
    }
    _config_class = VASConfig
