# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The value tracker at work: advantages now, the update once the batch's KL is known."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from mmr1_trl.methods.value_tracker import ValueTracker


if TYPE_CHECKING:
    from mmr1_trl.trainers.config import RLVRConfig

# Bounds of the k3 estimator in the released code of MSSR: the log-ratio and the estimate itself.
MAX_LOG_RATIO = 20.0
MAX_KL = 10.0


def normalize_advantages(advantages: torch.Tensor, scorable: torch.Tensor) -> torch.Tensor:
    """
    Normalize over the generation batch: zero mean, unit (biased) variance with a floor of 1e-6.

    Args:
        advantages (`torch.Tensor` of shape `(B,)`):
            Rewards minus baselines of all ranks.
        scorable (`torch.Tensor` of shape `(B,)`):
            Completions with a reward. The others do not count and get 0.

    Returns:
        `torch.Tensor` of shape `(B,)`. Source: MSSR, section on the group-free advantage, and its released code.
    """
    if not scorable.any():
        return torch.zeros_like(advantages)
    kept = advantages[scorable]
    scale = kept.var(correction=0).clamp(min=1e-6).sqrt()
    return torch.where(scorable, (advantages - kept.mean()) / scale, torch.zeros_like(advantages))


def row_kl(logps: torch.Tensor, other_logps: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Estimate KL(policy || other) of each completion by k3, from the log-probs of tokens that the policy sampled.

    Args:
        logps (`torch.Tensor` of shape `(B, T)`), other_logps (`torch.Tensor` of shape `(B, T)`):
            Log-probs of the sampled tokens under the sampling policy and under the other one.
        mask (`torch.Tensor` of shape `(B, T)`):
            1 for completion tokens.

    Returns:
        `tuple` of two scalars: the sum over completions of their token means, and the number of completions with at
        least one token.
    """
    log_ratio = (other_logps - logps).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    k3 = (torch.exp(log_ratio) - log_ratio - 1).clamp(max=MAX_KL)
    lengths = mask.sum(-1)
    return ((k3 * mask).sum(-1) / lengths.clamp(min=1)).sum(), (lengths > 0).sum()


class TrackerBaseline:
    """
    A [`~methods.value_tracker.ValueTracker`] between rollouts and updates.

    The value of a prompt is read before its new outcome is counted. The outcome is counted at the end of the
    generation batch's updates, because the forgetting factor includes this batch's own KL, which is known only then.

    Args:
        num_prompts (`int`):
            Distinct prompts.
        args ([`RLVRConfig`]):
            The `tracker_*` options.
    """

    def __init__(self, num_prompts: int, args: "RLVRConfig") -> None:
        self.tracker = ValueTracker(
            num_prompts,
            rho_min=args.tracker_rho_min,
            rho_max=args.tracker_rho_max,
            forgetting=args.tracker_forgetting,
            target_kl=args.tracker_target_kl,
            kl_window=args.tracker_kl_window,
            initial_value=args.tracker_initial_value,
        )
        self.threshold = args.tracker_success_threshold
        self.normalize = args.scale_rewards != "none"
        self._pending_slots = torch.empty(0, dtype=torch.long)
        self._pending_outcomes = torch.empty(0)
        self._kl_sum = torch.zeros(2, dtype=torch.float64)  # sum over completions, number of completions
        # SPO asks how far the policy moved since a prompt's last visit. The clock adds up the policy's KL per batch.
        self._clock = torch.zeros((), dtype=torch.float64)
        self._clock_at_visit = torch.full((num_prompts,), math.nan, dtype=torch.float64)

    def advantages(self, slots: torch.Tensor, rewards: torch.Tensor) -> torch.Tensor:
        """
        Advantages of a generation batch, and note its outcomes for [`~TrackerBaseline.finish_batch`].

        Args:
            slots (`torch.Tensor` of shape `(B,)`):
                Prompt of each completion, over all ranks.
            rewards (`torch.Tensor` of shape `(B,)`):
                Weighted rewards, NaN where no reward function could score.

        Returns:
            `torch.Tensor` of shape `(B,)`: `reward - value`, normalized over the batch unless `scale_rewards="none"`;
            0 for unscorable completions.
        """
        slots, rewards = slots.cpu(), rewards.cpu().float()
        scorable = ~torch.isnan(rewards)
        advantages = torch.where(scorable, rewards - self.tracker.values(slots), torch.zeros_like(rewards))
        self._pending_slots = slots
        outcomes = (rewards > self.threshold).float()
        self._pending_outcomes = torch.where(scorable, outcomes, torch.full_like(outcomes, math.nan))
        return normalize_advantages(advantages, scorable) if self.normalize else advantages

    def observe_kl(self, kl_sum: torch.Tensor, count: torch.Tensor) -> None:
        """Add the KL of one micro-batch, as returned by [`row_kl`]."""
        self._kl_sum += torch.stack([kl_sum.detach(), count]).cpu().double()

    def finish_batch(self, reduce: Callable[[torch.Tensor], torch.Tensor]) -> float | None:
        """
        Count the outcomes of the generation batch.

        Args:
            reduce (`Callable`):
                Sums a tensor over ranks.

        Returns:
            `float` or `None`: The batch's mean KL, `None` when none was observed.
        """
        total, count = reduce(self._kl_sum).tolist()
        self._kl_sum = torch.zeros(2, dtype=torch.float64)
        kl = total / count if count and math.isfinite(total) else None  # a skipped step may have none
        if kl is not None:
            self.tracker.observe_kl(kl)
        slots = self._pending_slots
        # The clock still stands where it stood when this batch was sampled: the batch's own KL comes after.
        divergence = self._clock - self._clock_at_visit[slots] if self.tracker.forgetting == "per_prompt" else None
        self.tracker.update(slots, self._pending_outcomes, divergence=divergence)
        self._clock_at_visit[slots] = self._clock
        self._clock = self._clock + (kl or 0.0)
        self._pending_slots, self._pending_outcomes = slots[:0], self._pending_outcomes[:0]
        return kl

    def rank_state_dict(self) -> dict[str, torch.Tensor]:
        """The part of the state that differs between ranks in the middle of a batch."""
        return {"kl_sum": self._kl_sum}

    def load_rank_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what [`~TrackerBaseline.rank_state_dict`] returned."""
        self._kl_sum = state["kl_sum"]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The part of the state that is the same on all ranks, as tensors."""
        own = {
            "pending_slots": self._pending_slots,
            "pending_outcomes": self._pending_outcomes,
            "clock": self._clock,
            "clock_at_visit": self._clock_at_visit,
        }
        return own | {f"tracker.{name}": value for name, value in self.tracker.state_dict().items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what [`~TrackerBaseline.state_dict`] returned."""
        prefix = "tracker."
        self.tracker.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        self._pending_slots = state["pending_slots"]
        self._pending_outcomes = state["pending_outcomes"]
        self._clock = state["clock"]
        self._clock_at_visit = state["clock_at_visit"]
