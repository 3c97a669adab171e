# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""How pass rates are spread over all prompts: what to believe of a prompt before, or long after, its own rollouts."""

import torch

from mmr1_trl.errors import BadInputError


# Share of the newest batch in the running moments: a memory of some ten batches, since the policy moves.
STEP = 0.1
# Bounds of the prior's strength, in rollouts: pass rates that are all 0 or 1, and pass rates that are all alike.
WEAKEST, STRONGEST = 0.05, 50.0


def expected_outcome_variance(successes: torch.Tensor, failures: torch.Tensor) -> torch.Tensor:
    """
    Expectation of the outcome variance `p (1 - p)` when `p` follows Beta(successes, failures).

    Unlike `p (1 - p)` at the mean it tells a prompt that is often half right from one that nothing is known about.

    Args:
        successes (`torch.Tensor` of shape `(P,)`), failures (`torch.Tensor` of shape `(P,)`):
            Parameters of the Beta distributions, positive.

    Returns:
        `torch.Tensor` of shape `(P,)`: `a b / ((a + b) (a + b + 1))`, at most 0.25.
    """
    total = successes + failures
    return successes * failures / (total * (total + 1.0))


class OutcomePopulation:
    """
    A Beta distribution fitted to the pass rates of all prompts, by the moments of groups drawn uniformly (ours).

    With `m` the mean reward and `u` the mean of the unbiased variance within groups, which estimates the mean of
    `p (1 - p)`, the Beta distribution with mean `m` and strength `u / (m (1 - m) - u)` has these moments. Where most
    prompts are always right or always wrong, the strength is small, and a single group tells what a prompt is like;
    where all prompts are alike it is large, and a group says little.

    Both moments are running means, so that the population follows the policy.

    Args:
        mean (`float`, *optional*, defaults to `0.5`):
            Mean pass rate to start from.
        strength (`float`, *optional*, defaults to `2.0`):
            Strength to start from, in rollouts; with groups of one rollout it stays as it is.
    """

    def __init__(self, mean: float = 0.5, strength: float = 2.0) -> None:
        if not 0.0 <= mean <= 1.0 or strength <= 0.0:
            raise BadInputError(f"A mean pass rate lies in [0, 1] and a strength above 0; got {mean} and {strength}.")
        self.mean = mean
        self.variance = mean * (1.0 - mean) * strength / (strength + 1.0)  # mean of p (1 - p)

    def observe(self, outcomes: torch.Tensor) -> None:
        """
        Take in one batch of groups.

        Args:
            outcomes (`torch.Tensor` of shape `(groups, rollouts)`):
                1 for a success, 0 for a failure; a group with a NaN is left out.
        """
        groups = outcomes[~outcomes.isnan().any(dim=1)].double()
        if len(groups) == 0:
            return
        strength = self.strength
        self.mean += STEP * (groups.mean().item() - self.mean)
        if outcomes.shape[1] > 1:
            self.variance += STEP * (groups.var(dim=1, correction=1).mean().item() - self.variance)
        else:
            self.variance = self.mean * (1.0 - self.mean) * strength / (strength + 1.0)

    @property
    def strength(self) -> float:
        """Sum of the two parameters of the Beta distribution, in rollouts."""
        spread = self.mean * (1.0 - self.mean)
        between = spread - self.variance
        if between <= 0.0:
            return STRONGEST
        return min(max(self.variance / between, WEAKEST), STRONGEST)

    @property
    def prior(self) -> tuple[float, float]:
        """Parameters of the Beta distribution: pseudo-successes and pseudo-failures."""
        # A population that has never failed, or never succeeded, may still hold a prompt that does.
        mean = min(max(self.mean, 0.01), 0.99)
        return mean * self.strength, (1.0 - mean) * self.strength
