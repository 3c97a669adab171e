# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Reward functions in TRL's signature, for training and evaluation alike. Importing them does not import torch."""

from mmr1_trl.rewards.functions import (
    accuracy_reward,
    class_label_reward,
    format_reward,
    length_penalty,
    repetition_penalty,
)
from mmr1_trl.rewards.grounding.functions import detection_reward, iou_reward, point_in_box_reward
from mmr1_trl.rewards.label_free import majority_vote_reward, negative_entropy_reward, self_certainty_reward


__all__ = [
    "accuracy_reward",
    "class_label_reward",
    "detection_reward",
    "format_reward",
    "iou_reward",
    "length_penalty",
    "majority_vote_reward",
    "negative_entropy_reward",
    "point_in_box_reward",
    "repetition_penalty",
    "self_certainty_reward",
]
