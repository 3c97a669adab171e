# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Which prompts are worth a rollout: the Variance Promotion Score and the draw that follows it."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.text_diversity import self_bleu


def outcome_variance(pass_rates: torch.Tensor) -> torch.Tensor:
    """
    Outcome Variance Score `p (1 - p)`, at most 0.25. Source: MMR1, https://huggingface.co/papers/2509.21268 (Sec. 3).

    Args:
        pass_rates (`torch.Tensor` of shape `(P,)`):
            Share of each prompt's rollouts that passed, in [0, 1].

    Returns:
        `torch.Tensor` of shape `(P,)`.
    """
    return pass_rates * (1.0 - pass_rates)


def variance_promotion_score(
    pass_rates: torch.Tensor,
    diversity: torch.Tensor,
    outcome_weight: float = 0.8,
    diversity_weight: float = 0.2,
) -> torch.Tensor:
    """
    Variance Promotion Score `outcome_weight * p (1 - p) + diversity_weight * diversity`.

    Source: MMR1, https://huggingface.co/papers/2509.21268 (Sec. 3). The weights are those of its main run (Sec. 6.1).

    Args:
        pass_rates (`torch.Tensor` of shape `(P,)`):
            Share of each prompt's rollouts that passed, in [0, 1].
        diversity (`torch.Tensor` of shape `(P,)`):
            Trajectory Diversity Score in [0, 1], high for diverse: [`~methods.text_diversity.trajectory_diversity`].
        outcome_weight (`float`, *optional*, defaults to `0.8`):
            Weight of the outcome variance (the paper's alpha).
        diversity_weight (`float`, *optional*, defaults to `0.2`):
            Weight of the diversity (the paper's beta).

    Returns:
        `torch.Tensor` of shape `(P,)`: The scores, not negative.
    """
    return outcome_weight * outcome_variance(pass_rates) + diversity_weight * diversity


def draw_weighted(scores: torch.Tensor, num_draws: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """
    Draw rows with replacement, each with a probability proportional to its score.

    Cumulative sums and a binary search: unlike `torch.multinomial` this takes more than 2 ** 24 rows.

    Args:
        scores (`torch.Tensor` of shape `(P,)`):
            Scores, finite and not negative. A row with score 0 is never drawn, unless all are 0: then all are alike.
        num_draws (`int`):
            Number of rows to draw.
        generator (`torch.Generator`, *optional*):
            Source of randomness, on the CPU.

    Returns:
        `torch.Tensor` of shape `(num_draws,)`: Row numbers, int64.
    """
    if scores.dim() != 1 or scores.numel() == 0:
        raise BadInputError(f"Prompts are drawn by one score each; got scores of shape {tuple(scores.shape)}.")
    weights = scores.detach().to("cpu", torch.float64)
    cumulative = weights.cumsum(0)
    total = cumulative[-1]
    if not torch.isfinite(total) or weights.min() < 0.0:
        row = int(torch.nonzero(~torch.isfinite(weights) | (weights < 0.0))[0])
        raise BadInputError(f"Prompt scores must be finite and not negative; row {row} has {float(weights[row])}.")
    if total == 0.0:
        return torch.randint(len(weights), (num_draws,), generator=generator)
    targets = torch.rand(num_draws, dtype=torch.float64, generator=generator) * total
    rows = torch.searchsorted(cumulative, targets, right=True)
    # Rounding may lift a target to the total itself, past the last row that has a weight.
    return rows.clamp(max=int(torch.searchsorted(cumulative, total)))


def draw_prompts(
    scores: torch.Tensor,
    batch_size: int,
    weighted_fraction: float = 0.5,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """
    Draw a batch: `floor(weighted_fraction * batch_size)` rows by score, the rest uniformly without replacement.

    Source: MMR1, https://huggingface.co/papers/2509.21268 (Sec. 3, Algorithm 1). The two halves are drawn apart, so a
    row can be in both.

    Args:
        scores (`torch.Tensor` of shape `(P,)`):
            Scores, finite and not negative.
        batch_size (`int`):
            Number of prompts in the batch. May exceed `P`: the uniform part then goes through all rows again.
        weighted_fraction (`float`, *optional*, defaults to `0.5`):
            Share drawn by score (the paper's lambda).
        generator (`torch.Generator`, *optional*):
            Source of randomness, on the CPU.

    Returns:
        `torch.Tensor` of shape `(batch_size,)`: Row numbers, int64; the weighted ones come first.
    """
    if not 0.0 <= weighted_fraction <= 1.0:
        raise BadInputError(f"The weighted share of a batch must lie in [0, 1], got {weighted_fraction}.")
    # Without the tolerance 0.29 * 100 = 28.999999999999996 would lose a prompt.
    num_weighted = math.floor(weighted_fraction * batch_size + 1e-9)
    weighted = draw_weighted(scores, num_weighted, generator)
    uniform = _draw_uniform(len(scores), batch_size - num_weighted, generator)
    return torch.cat([weighted, uniform])


def _draw_uniform(num_rows: int, num_draws: int, generator: torch.Generator | None) -> torch.Tensor:
    """Draw rows without replacement; all of them again and again where there are fewer than draws."""
    # NumPy draws a few out of many without shuffling them all, as `torch.randperm` would.
    seed = torch.randint(2**63 - 1, (), generator=generator)
    rng = np.random.default_rng(int(seed))
    sizes = [num_rows] * (num_draws // num_rows) + [num_draws % num_rows]
    return torch.from_numpy(np.concatenate([rng.choice(num_rows, size, replace=False) for size in sizes]))


# The rest is what MMR1's released code does and its paper does not (`vas_variant="released_code"`).


def padded_self_bleu(sequences: Sequence[Sequence[int]], pad_token_id: int, length: int) -> float:
    """
    Self-BLEU of padded rollouts and not inverted, so that a high value means *alike*.

    Args:
        sequences (`list[list[int]]`):
            Token ids of each rollout, without padding.
        pad_token_id (`int`):
            Token that fills every rollout up to `length`.
        length (`int`):
            The common length: the longest completion that sampling allows.

    Returns:
        `float` in [0, 1].
    """
    return self_bleu([[*sequence[:length], *[pad_token_id] * (length - len(sequence))] for sequence in sequences])


def min_max_scale(scores: torch.Tensor) -> torch.Tensor:
    """
    Scale the scores of all prompts to [0, 1]: `(s - min) / (max - min + 1e-8)`. The lowest one gets weight 0.

    Args:
        scores (`torch.Tensor` of shape `(P,)`):
            Scores of all prompts.

    Returns:
        `torch.Tensor` of shape `(P,)`.
    """
    return (scores - scores.min()) / (scores.max() - scores.min() + 1e-8)


def walk_permutation(permutation: torch.Tensor, position: int, count: int) -> tuple[torch.Tensor, int]:
    """
    The uniform part of a batch as a walk through one permutation that is never shuffled again.

    Args:
        permutation (`torch.Tensor` of shape `(P,)`):
            The rows in their fixed order.
        position (`int`):
            Where the walk stands.
        count (`int`):
            Number of rows to take, at most `P`. When fewer are left, the rest is skipped and the walk starts over.

    Returns:
        `tuple[torch.Tensor, int]`: The rows of shape `(count,)` and the next position.
    """
    if count > len(permutation):
        raise BadInputError(f"Cannot take {count} different rows out of {len(permutation)}; use a smaller batch.")
    start = position if position + count <= len(permutation) else 0
    return permutation[start : start + count], start + count
