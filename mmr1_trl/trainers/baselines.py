# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Baselines: what a reward is compared with. `Baseline` says what such a class is."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from mmr1_trl.data.prompts import Prompts
from mmr1_trl.data.score_table import PromptTable
from mmr1_trl.methods import value_tracker
from mmr1_trl.trainers.budget import Budget
from mmr1_trl.trainers.rollouts import Resources, RolloutBatch, Rollouts, initial_pass_rates, sum_over_ranks


if TYPE_CHECKING:
    from mmr1_trl.trainers.config import RLVRConfig

# Bounds of the k3 estimator in the released code of MSSR: the log-ratio and the estimate itself.
MAX_LOG_RATIO = 20.0
MAX_KL = 10.0


class Baseline:
    """
    Turns the rewards of a generation batch into advantages. A method is a subclass of `advantages`, and of `finish`
    where it learns once the batch has been trained on. What it keeps goes into `state_dict` and back.
    """

    # Whether `advantages` reads the token ids of the completions, which are gathered for that.
    needs_completions = False
    # KL that `finish` gets: of the sampling policy to the "reference" model or to the "policy" of the last update.
    needs_kl: str | None = None
    # The tracker, where the baseline is one: samplers may draw by it.
    tracker: value_tracker.ValueTracker | None = None

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def prepare(self) -> None:
        """Called before each draw of a generation batch."""

    def advantages(self, batch: RolloutBatch) -> torch.Tensor | None:
        """
        Compare the rewards of a generation batch.

        Args:
            batch ([`~trainers.rollouts.RolloutBatch`]):
                Those that are trained on.

        Returns:
            `torch.Tensor` of shape `(N,)`: 0 for completions without a reward. `None`: TRL's own stay.
        """
        return None

    def finish(self, kl: float | None) -> None:
        """
        Called after the last update on a generation batch.

        Args:
            kl (`float`, *optional*):
                The batch's mean KL of the kind that the class `needs_kl` says, `None` when none was observed.
        """

    def metrics(self) -> dict[str, float]:
        """Return what there is to log since the last call."""
        logged, self._logged = self._logged, {}
        return logged

    def state_dict(self) -> dict[str, Any]:
        """What the next batches depend on: tensors and plain values, the same on all ranks."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what [`~Baseline.state_dict`] returned."""


class GroupMean(Baseline):
    """The mean of the prompt's own rollouts, as in GRPO: TRL computes these advantages, by `scale_rewards`."""


class ValueTracker(Baseline):
    """
    MSSR: the tracked pass rate of the prompt, which works with one rollout per prompt.

    The value of a prompt is read before its new outcome is counted. The outcome is counted at the end of the
    generation batch's updates, because the forgetting factor includes this batch's own KL, which is known only then.

    Args:
        prompts ([`~mmr1_trl.data.prompts.Prompts`]):
            The training set.
        args ([`RLVRConfig`]):
            The `tracker_*` options.
        score (`Callable[[torch.Tensor], Rollouts]`, *optional*):
            Samples and scores a completion for each row that it is given, for `tracker_initial_rollouts`.
        budget ([`~trainers.budget.Budget`], *optional*):
            Where these are counted.
        table ([`PromptTable`], *optional*):
            What `prompt_scores` says, to begin with.
    """

    def __init__(
        self,
        prompts: Prompts,
        args: "RLVRConfig",
        score: Callable[[torch.Tensor], Rollouts] | None = None,
        budget: Budget | None = None,
        table: PromptTable | None = None,
    ) -> None:
        super().__init__()
        self.tracker: value_tracker.ValueTracker = value_tracker.ValueTracker(
            prompts.count,
            rho_min=args.tracker_rho_min,
            rho_max=args.tracker_rho_max,
            forgetting=args.tracker_forgetting,
            target_kl=args.tracker_target_kl,
            kl_window=args.tracker_kl_window,
            initial_value=args.tracker_initial_value,
        )
        if table is not None:
            self.tracker.initialize(torch.arange(prompts.count), table.pass_rates)
        if args.tracker_forgetting != "fixed":
            self.needs_kl = args.tracker_kl_source
        self.prompts, self.args, self.score = prompts, args, score
        self.budget = Budget() if budget is None else budget
        self.initialized = args.tracker_initial_rollouts == 0
        self._pending_prompts = torch.empty(0, dtype=torch.long)
        self._pending_outcomes = torch.empty(0)
        # SPO asks how far the policy moved since a prompt's last visit. The clock adds up the policy's KL per batch.
        self._clock = torch.zeros((), dtype=torch.float64)
        self._clock_at_visit = torch.full((prompts.count,), math.nan, dtype=torch.float64)

    def prepare(self) -> None:
        if self.initialized:
            return
        assert self.score is not None
        self.initialized = True
        rates = initial_pass_rates(self.score, self.prompts, self.args)
        self.tracker.initialize(torch.arange(len(rates)), rates)
        self.budget.initial += self.args.tracker_initial_rollouts * len(rates)

    def advantages(self, batch: RolloutBatch) -> torch.Tensor:
        rewards, values = batch.rewards.float(), self.tracker.values(batch.prompts)
        scorable = ~torch.isnan(rewards)
        advantages = torch.where(scorable, rewards - values, torch.zeros_like(rewards))
        self._pending_prompts = batch.prompts
        outcomes = (rewards > self.args.tracker_success_threshold).float()
        self._pending_outcomes = torch.where(scorable, outcomes, torch.full_like(outcomes, math.nan))
        if self.args.scale_rewards != "none":
            advantages = normalize_advantages(advantages, scorable)
        self._logged["mssr/value_mean"] = values.mean().item()
        self._logged["mssr/frac_unseen"] = self.tracker.frac_unseen
        self._logged["mssr/advantage_std"] = advantages.std(correction=0).item()
        return advantages

    def finish(self, kl: float | None) -> None:
        if kl is not None:
            self.tracker.observe_kl(kl)
            self._logged["mssr/kl"] = kl
        numbers = self._pending_prompts
        # The clock still stands where it stood when this batch was sampled: the batch's own KL comes after.
        divergence = self._clock - self._clock_at_visit[numbers] if self.tracker.forgetting == "per_prompt" else None
        self.tracker.update(numbers, self._pending_outcomes, divergence=divergence)
        self._clock_at_visit[numbers] = self._clock
        self._clock = self._clock + (kl or 0.0)
        self._pending_prompts, self._pending_outcomes = numbers[:0], self._pending_outcomes[:0]
        self._logged["mssr/rho"] = self.tracker.rho

    def state_dict(self) -> dict[str, Any]:
        own = {
            "initialized": self.initialized,
            "pending_prompts": self._pending_prompts,
            "pending_outcomes": self._pending_outcomes,
            "clock": self._clock,
            "clock_at_visit": self._clock_at_visit,
        }
        return own | {f"tracker.{name}": value for name, value in self.tracker.state_dict().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        prefix = "tracker."
        self.tracker.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        self.initialized = state["initialized"]
        self._pending_prompts = state["pending_prompts"]
        self._pending_outcomes = state["pending_outcomes"]
        self._clock = state["clock"]
        self._clock_at_visit = state["clock_at_visit"]


class BatchMean(Baseline):
    """
    The mean over the whole generation batch, which works with one rollout per prompt; divided by the batch's standard
    deviation unless `scale_rewards="none"`. REINFORCE++ (https://huggingface.co/papers/2501.03262) without its KL
    inside the reward, and over completions where it whitens over tokens.

    Args:
        args ([`RLVRConfig`]):
            The run's options.
    """

    def __init__(self, args: "RLVRConfig") -> None:
        super().__init__()
        self.args = args

    def advantages(self, batch: RolloutBatch) -> torch.Tensor:
        rewards = batch.rewards.float()
        scorable = ~rewards.isnan()
        if self.args.scale_rewards != "none":
            return normalize_advantages(rewards, scorable)
        return torch.where(scorable, rewards - rewards.nanmean(), torch.zeros_like(rewards))


class LeaveOneOut(Baseline):
    """
    RLOO (https://huggingface.co/papers/2402.14740): the mean of the prompt's other rollouts, which is
    `n / (n - 1) * (r - mean)`, never divided by a standard deviation.
    """

    def advantages(self, batch: RolloutBatch) -> torch.Tensor:
        groups = batch.groups.float()
        known = ~groups.isnan()
        others = known.sum(1, keepdim=True) - 1
        means = (groups.nansum(1, keepdim=True) - groups) / others.clamp(min=1)
        return torch.where(known & (others > 0), groups - means, torch.zeros_like(groups)).flatten()


# The values of `advantage_baseline` that need no group, and work with one rollout per prompt.
SINGLES = ("value_tracker", "batch_mean")
# The values of `advantage_baseline`, and what makes a baseline of each with what a run has.
BASELINES: dict[str, Callable[[Resources], Baseline]] = {
    "group": lambda have: GroupMean(),
    "batch_mean": lambda have: BatchMean(have.args),
    "leave_one_out": lambda have: LeaveOneOut(),
    "value_tracker": lambda have: ValueTracker(have.prompts, have.args, have.sample, have.budget, have.table),
}


class BatchKL:
    """
    Mean KL over the completions of a generation batch, from the forward passes that its loss makes anyway.

    Args:
        source (`str`, *optional*):
            What a baseline `needs_kl` of; nothing is observed without.
        args ([`RLVRConfig`]):
            The run's options.
    """

    def __init__(self, source: str | None, args: "RLVRConfig") -> None:
        self.source = source
        steps = args.steps_per_generation or 1
        # Micro-steps of a window that count: each completion once, by the policy that sampled it against the reference
        # model, or by the policy before its last update.
        first, last = range(steps), range(args.window - args.gradient_accumulation_steps, args.window)
        self.counted = {"reference": first, "policy": last}.get(source or "", range(0))
        self.window = args.window
        self.sums = torch.zeros(2, dtype=torch.float64)  # sum over completions, number of completions

    def observe(self, micro_step: int, batch: dict[str, Any], logps: torch.Tensor, mask: torch.Tensor) -> None:
        """
        Look at a forward pass of the loss.

        Args:
            micro_step (`int`):
                How many micro-steps the run has made.
            batch (`dict`):
                The micro-batch as TRL has it.
            logps (`torch.Tensor` of shape `(B, T)`), mask (`torch.Tensor` of shape `(B, T)`):
                Log-probs of the pass, and 1 for tokens that the policy sampled.
        """
        if micro_step % self.window in self.counted:
            sampled = batch.get("old_per_token_logps", logps)
            other = batch["ref_per_token_logps"] if self.source == "reference" else logps
            kl_sum, count = row_kl(sampled, other, mask)
            self.sums += torch.stack([kl_sum.detach(), count]).cpu().double()

    def finish(self) -> float | None:
        """Return the batch's mean over all ranks, `None` when none was observed, and begin anew."""
        if self.source is None:
            return None
        total, count = sum_over_ranks(self.sums).tolist()
        self.sums = torch.zeros(2, dtype=torch.float64)
        return total / count if count and math.isfinite(total) else None  # a skipped step may have none


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
