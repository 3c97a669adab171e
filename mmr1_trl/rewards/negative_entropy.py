# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A reward without labels: how sure the policy was of its own tokens."""

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
    if mean_entropy is None:
        raise BadInputError(
            "negative_entropy_reward reads the policy's entropies, which are there only while an RLVRTrainer trains "
            "or evaluates: `mmr1 eval`, `mmr1 score`, vas_refresh='full' or 'subset' and tracker_initial_rollouts "
            "cannot use it."
        )
    return [None if entropy is None else -entropy for entropy in mean_entropy]
