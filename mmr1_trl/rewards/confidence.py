# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rewards without labels: how sure the policy was of its own tokens."""

from collections.abc import Sequence
from typing import Any

from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.accuracy import Completions


def negative_entropy_reward(
    completions: Completions, mean_entropy: Sequence[float | None] | None = None, **kwargs: Any
) -> list[float | None]:
    """
    Reward minus the entropy of the sampling policy over the whole vocabulary, averaged over the completion's tokens
    (RENT: Reinforcement Learning via Entropy Minimization, arXiv 2505.22660). The label is not read.

    The entropies are those of the pass over the rollouts that TRL makes for the importance ratio, at the sampling
    temperature. It makes none when a generation batch is used for one update only; the trainer refuses that.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions, plain or conversational.
        mean_entropy (`Sequence[float]`):
            Passed by [`RLVRTrainer`]: mean token entropy of each completion in nats, `None` for an empty one.

    Returns:
        `list[float]`: Rewards, 0 or less; `None` for a completion without a token.

    Raises:
        [`BadInputError`]: There are no entropies: outside the trainer's own batches a text has none.
    """
    known = _known(mean_entropy, "negative_entropy_reward")
    return [None if entropy is None else -entropy for entropy in known]


def self_certainty_reward(
    completions: Completions, mean_self_certainty: Sequence[float | None] | None = None, **kwargs: Any
) -> list[float | None]:
    """
    Reward the KL divergence of the uniform distribution over the vocabulary to the sampling policy's, averaged over
    the completion's tokens: its self-certainty (Intuitor: Learning to Reason without External Rewards, arXiv
    2505.19590). The label is not read. From the same pass as [`negative_entropy_reward`]'s, on the same condition.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions, plain or conversational.
        mean_self_certainty (`Sequence[float]`):
            Passed by [`RLVRTrainer`]: mean self-certainty of each completion in nats, `None` for an empty one.

    Returns:
        `list[float]`: Rewards, 0 or more; `None` for a completion without a token.

    Raises:
        [`BadInputError`]: There is no self-certainty: outside the trainer's own batches a text has none.
    """
    return list(_known(mean_self_certainty, "self_certainty_reward"))


def _known(values: Sequence[float | None] | None, reward: str) -> Sequence[float | None]:
    if values is None:
        raise BadInputError(
            f"{reward} reads the policy's own distributions, which are there only while an RLVRTrainer trains or "
            "evaluates: `mmr1 eval`, `mmr1 score`, vas_refresh='full' or 'subset' and tracker_initial_rollouts cannot "
            "use it."
        )
    return values
