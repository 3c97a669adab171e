# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Which checkpoint counts as the best one: by the reward of the evaluations, unless another metric was named."""

from collections.abc import Iterable, Sequence
from typing import Any

from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.rewards.calling import is_ours


# What TRL and transformers log of every evaluation.
METRICS = (
    "loss", "reward", "reward_std", "frac_reward_zero_std", "entropy", "kl", "num_tokens", "runtime",
    "samples_per_second", "steps_per_second", "completions/mean_length", "completions/min_length",
    "completions/max_length", "completions/clipped_ratio", "completions/mean_terminated_length",
    "completions/min_terminated_length", "completions/max_terminated_length", "clip_ratio/low_mean",
    "clip_ratio/low_min", "clip_ratio/high_mean", "clip_ratio/high_max", "clip_ratio/region_mean",
)  # fmt: skip
# What the reward functions of this package log beside their means.
OF_REWARDS = {
    "accuracy_reward": (
        "rewards/bad_gold_frac", "rewards/timeout_frac", "rewards/unparsed_frac", "rewards/accuracy_given_format",
        "rewards/clean_accuracy",
    ),
    "majority_vote_reward": ("rewards/majority_frac",),
}  # fmt: skip


def choose_metric(args: Any) -> None:
    """
    Set `metric_for_best_model` of a run that keeps its best checkpoint and says no metric: to the reward, of which
    more is better. transformers' own default is the loss, which in these trainers is near 0 whatever the policy does.

    Args:
        args ([`RLVRConfig`]):
            Before its own checks.
    """
    if (args.load_best_model_at_end or args.save_strategy == "best") and args.metric_for_best_model is None:
        args.metric_for_best_model = "reward"
        if args.greater_is_better is None:
            args.greater_is_better = True


def check_metric(args: Any, reward_funcs: Sequence[Any], parts: Iterable[str] = ()) -> None:
    """
    Refuse a `metric_for_best_model` that no evaluation will log.

    Args:
        args ([`RLVRConfig`]):
            The run's options.
        reward_funcs (`Sequence`):
            The reward functions. Those of the user's own may log whatever they like, so that with them only the first
            evaluation tells.
        parts (`Iterable[str]`, *optional*):
            Names of the evaluation sets, when there are several.

    Raises:
        [`BadInputError`]: With the metrics that there are.
    """
    if args.metric_for_best_model is None or args.eval_strategy == "no":
        return
    if not all(map(is_ours, reward_funcs)):
        return
    reward_names = [function.__name__ for function in reward_funcs]
    known = [*METRICS, *(f"rewards/{name}/{kind}" for name in reward_names for kind in ("mean", "std"))]
    known += [metric for name in reward_names for metric in OF_REWARDS.get(name, ())]
    known = [f"{part}_{metric}" for part in parts for metric in known] or known
    name = str(args.metric_for_best_model).removeprefix("eval_")
    if name not in known:
        raise BadInputError(
            f"metric_for_best_model={args.metric_for_best_model!r} is not among the metrics of an evaluation."
            f"{did_you_mean(name, known)} There are: {', '.join(known)}."
        )
