# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Reward functions in TRL's signature, for training and evaluation alike."""

from mmr1_trl.rewards.accuracy import accuracy_reward, format_reward


REWARD_FUNCTIONS = ("accuracy_reward", "format_reward")

__all__ = ["REWARD_FUNCTIONS", *REWARD_FUNCTIONS]
