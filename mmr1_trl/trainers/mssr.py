# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""MSSR: one rollout per prompt, a tracked pass rate as its baseline, entropy-shaped advantages."""

from dataclasses import dataclass, field

from mmr1_trl.trainers.config import RLVRConfig
from mmr1_trl.trainers.method_table import METHODS
from mmr1_trl.trainers.trainer import RLVRTrainer


@dataclass
class MSSRConfig(RLVRConfig):
    r"""
    Configuration class for the [`MSSRTrainer`]: [`RLVRConfig`] with the defaults of
    [MSSR](https://huggingface.co/papers/2512.18215).

    MVSR, the paper's unshaped baseline, is `entropy_shaping=False`. Its other stabilizers are `entropy_coef=0.01`
    (entropy loss), `epsilon_high` (0.3 is clip-higher, 0.2 switches it off) and `beta` (reference KL; 0 switches it
    off, and then `tracker_kl_source` or `tracker_forgetting` has to change).

    > [!NOTE]
    > These parameters have default values different from [`RLVRConfig`]:
    > - `num_generations`: `1`, `advantage_baseline`: `"value_tracker"`, `entropy_shaping`: `True`
    > - `beta`: `0.01`, `epsilon_high`: `0.3`, `delta`: `3.0`, `max_grad_norm`: `0.5`
    > - `weight_decay`: `0.01`, `lr_scheduler_type`: `"constant"`
    """

    num_generations: int | None = field(
        default=1, metadata={"help": "Number of rollouts per prompt. MSSR needs one; more are counted one by one."}
    )
    advantage_baseline: str = field(
        default="value_tracker",
        metadata={"help": "What a reward is compared with: 'value_tracker' (MSSR) or 'group' (as GRPO)."},
    )
    entropy_shaping: bool = field(
        default=True,
        metadata={"help": "Whether to add min(alpha * H, |A| / kappa) to each token's advantage; False is MVSR."},
    )
    beta: float = field(default=0.01, metadata={"help": "Coefficient of the KL to the reference model."})
    epsilon: float = field(default=0.2, metadata={"help": "Lower clip range."})
    epsilon_high: float | None = field(default=0.3, metadata={"help": "Upper clip range (0.2: no clip-higher)."})
    delta: float | None = field(
        default=3.0, metadata={"help": "Upper bound of the ratio for negative advantages (dual clip)."}
    )
    max_grad_norm: float = field(default=0.5, metadata={"help": "Maximum gradient norm."})
    weight_decay: float = field(default=0.01, metadata={"help": "Weight decay of AdamW."})
    lr_scheduler_type: str = field(default="constant", metadata={"help": "Learning rate schedule."})


class MSSRTrainer(RLVRTrainer):
    """
    Trainer for [MSSR](https://huggingface.co/papers/2512.18215): an [`RLVRTrainer`] with the paper's defaults.

    Args:
        args ([`MSSRConfig`], *optional*):
            Configuration of the run.
        model, reward_funcs, train_dataset, eval_dataset, processing_class, **kwargs:
            As in [`RLVRTrainer`].

    Example:

    ```python
    from mmr1_trl import MSSRConfig, MSSRTrainer
    from mmr1_trl.data.figures import load_figures
    from mmr1_trl.models import build_tiny_vlm
    from mmr1_trl.rewards import accuracy_reward

    model, processor = build_tiny_vlm()
    trainer = MSSRTrainer(
        model=model,
        reward_funcs=accuracy_reward,
        args=MSSRConfig(output_dir="runs/mssr", tracker_forgetting="fixed", beta=0.0),
        train_dataset=load_figures(num_rows=512),
        processing_class=processor,
    )
    trainer.train()
    ```
    """

    _tag_names = METHODS["mssr"].tags
    _name = METHODS["mssr"].title
    _paper = METHODS["mssr"].paper
    _config_class = MSSRConfig
