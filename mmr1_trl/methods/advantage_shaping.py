# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Token advantages that favor uncertain tokens, without ever turning a bad completion into a good one."""

import torch

from mmr1_trl.errors import BadInputError


def entropy_bonus(
    advantages: torch.Tensor, entropies: torch.Tensor, alpha: float = 0.4, kappa: float = 2.0
) -> torch.Tensor:
    """
    Bonus `min(alpha * H, |A| / kappa)` of every token.

    Sources: MSSR, https://huggingface.co/papers/2512.18215, section on entropy-based advantage shaping, after
    https://huggingface.co/papers/2506.14758. MSSR's text has the values of the two constants swapped, which would flip
    the sign of negative advantages; its code and the earlier paper agree on the form used here.

    Args:
        advantages (`torch.Tensor` of shape `(B,)` or `(B, T)`):
            Advantage of each completion or token.
        entropies (`torch.Tensor` of shape `(B, T)`):
            Token entropies in nats. Rounding may have made them slightly negative; they count as 0 then.
        alpha (`float`, *optional*, defaults to `0.4`):
            Factor of the entropy, not negative.
        kappa (`float`, *optional*, defaults to `2.0`):
            The bonus is at most `|A| / kappa`. Must be above 1.

    Returns:
        `torch.Tensor` of shape `(B, T)`: The bonus, not negative and without gradient.
    """
    if alpha < 0.0:
        raise BadInputError(f"The entropy bonus needs alpha >= 0, got {alpha}. MSSR uses 0.4.")
    if kappa <= 1.0:
        raise BadInputError(f"The entropy bonus needs kappa > 1, or it could flip a sign; got {kappa}. MSSR uses 2.0.")
    scale = _per_token(advantages).detach().abs() / kappa
    return torch.minimum(alpha * entropies.detach().clamp(min=0.0), scale)


def shape_advantages(
    advantages: torch.Tensor, entropies: torch.Tensor, alpha: float = 0.4, kappa: float = 2.0
) -> torch.Tensor:
    """
    Advantages plus [`entropy_bonus`], one per token.

    Args:
        advantages (`torch.Tensor` of shape `(B,)` or `(B, T)`):
            Advantage of each completion or token.
        entropies (`torch.Tensor` of shape `(B, T)`):
            Token entropies in nats.
        alpha (`float`, *optional*, defaults to `0.4`):
            Factor of the entropy.
        kappa (`float`, *optional*, defaults to `2.0`):
            The bonus is at most `|A| / kappa`.

    Returns:
        `torch.Tensor` of shape `(B, T)`: The shaped advantages; each has the sign of the advantage it came from.
    """
    return _per_token(advantages) + entropy_bonus(advantages, entropies, alpha, kappa)


def _per_token(advantages: torch.Tensor) -> torch.Tensor:
    return advantages.unsqueeze(1) if advantages.dim() == 1 else advantages
