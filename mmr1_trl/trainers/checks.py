# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Every refusal of a run before its model loads: options that cannot train, and rows and rewards that do not fit.

The configs call `check_before` and `check_after` around TRL's own checks; the trainers, `mmr1 check`, and the command
line before it builds or downloads a model, call `check_run`. What transformers and TRL take as it is, and fail on (or
train to NaN with) once the model is loaded, is refused here.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from transformers import PreTrainedConfig, TrainerState

from mmr1_trl.data.answers.noise import apply_label_noise
from mmr1_trl.data.checks.row_checks import check_rows
from mmr1_trl.data.decoding import RowDecoder
from mmr1_trl.data.prompts import Prompts
from mmr1_trl.data.score_table import PromptTable, read_prompt_table
from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.methods.entropy_schedule import EntropySchedule
from mmr1_trl.methods.text_diversity import DIVERSITY_METRICS
from mmr1_trl.rewards.calling import is_ours, try_rewards
from mmr1_trl.rewards.grounding.boxes import COORDINATES
from mmr1_trl.rewards.label_free import negative_entropy_reward, self_certainty_reward
from mmr1_trl.trainers.baselines import BASELINES, SINGLES
from mmr1_trl.trainers.budget import check_batch_sizes, check_enough_rows
from mmr1_trl.trainers.captured import MEANS
from mmr1_trl.trainers.checkpoints.best import check_metric
from mmr1_trl.trainers.checkpoints.gone_options import GONE
from mmr1_trl.trainers.entropy import NEGATIVES
from mmr1_trl.trainers.samplers import SAMPLERS


CHOICES: dict[str, Collection[str]] = {
    "advantage_baseline": BASELINES,
    "tracker_forgetting": ("paper", "monotone", "fixed", "per_prompt"),
    "tracker_kl_source": ("reference", "policy"),
    "negatives": ("full", *NEGATIVES),
    "entropy_source": ("full", "sampled_token"),
    "prompt_sampling": SAMPLERS,
    "vas_refresh": ("online", "full", "off"),
    "vas_diversity_metric": DIVERSITY_METRICS,
    "vas_variant": ("paper", "released_code"),
    "entropy_schedule": (
        "none",
        "two_stage",
        "maximize",
        "minimize",
        "minimize_then_maximize",
        "maximize_noisy",
        "minimize_noisy",
    ),
    "entropy_alarm": ("warn", "stop"),
    "coordinates": ("auto", *COORDINATES),
    "share_prompts": ("auto", "off"),
    "on_bad_row": ("error", "skip"),
    "on_nonfinite": ("error", "skip"),
    "on_mismatch": ("error", "warn"),
}
# Those of GRPOConfig's options that TRL looks at only in the middle of the first batch.
UPSTREAM_CHOICES: dict[str, Collection[str]] = {
    "loss_type": ("grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "scale_rewards": ("group", "batch", "none"),
    "importance_sampling_level": ("token", "sequence"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
}

ANY, POSITIVE, BELOW_ONE = -math.inf, math.ulp(0.0), math.nextafter(1.0, 0.0)
SEED = (0, 2**32 - 1)  # what NumPy takes
# Smallest and largest value of each number; all of them finite. An option that is `None` is in range.
TRAINING: dict[str, tuple[float, float]] = {
    "seed": SEED, "data_seed": SEED, "learning_rate": (0.0, math.inf), "weight_decay": (0.0, math.inf),
    "adam_beta1": (0.0, BELOW_ONE), "adam_beta2": (0.0, BELOW_ONE), "adam_epsilon": (0.0, math.inf),
    "max_grad_norm": (0.0, math.inf), "warmup_steps": (0.0, math.inf), "num_train_epochs": (ANY, math.inf),
    "per_device_train_batch_size": (1, math.inf), "per_device_eval_batch_size": (1, math.inf),
    "gradient_accumulation_steps": (1, math.inf), "dataloader_num_workers": (0, math.inf),
}  # fmt: skip
SAMPLING = TRAINING | {
    "steps_per_generation": (1, math.inf), "generation_batch_size": (1, math.inf), "num_iterations": (1, math.inf),
    "num_generations_eval": (1, math.inf), "max_completion_length": (1, math.inf),
    "temperature": (POSITIVE, math.inf), "top_p": (POSITIVE, 1.0), "min_p": (0.0, 1.0),
    "repetition_penalty": (POSITIVE, math.inf), "beta": (0.0, math.inf), "epsilon": (0.0, math.inf),
    "epsilon_high": (0.0, math.inf), "delta": (0.0, math.inf), "entropy_coef": (ANY, math.inf),
    "top_entropy_quantile": (0.0, 1.0), "ref_model_mixup_alpha": (0.0, 1.0), "ref_model_sync_steps": (1, math.inf),
    "min_pixels": (0, math.inf), "max_pixels": (1, math.inf),
    "tracker_target_kl": (0.0, math.inf), "tracker_kl_window": (1, math.inf), "tracker_initial_value": (0.0, 1.0),
    "tracker_initial_rollouts": (0, math.inf), "tracker_success_threshold": (ANY, math.inf),
    "shaping_alpha": (0.0, math.inf), "explore_coef": (0.0, math.inf), "exploit_coef": (0.0, math.inf),
    "switch_fraction": (0.0, 1.0), "entropy_low": (ANY, math.inf), "entropy_high": (ANY, math.inf),
    "label_noise": (0.0, 1.0), "label_noise_seed": SEED,
}  # fmt: skip
VAS = {
    "vas_weighted_fraction": (0.0, 1.0),
    "vas_outcome_weight": (0.0, math.inf), "vas_diversity_weight": (0.0, math.inf),
    "vas_update_steps": (1, math.inf), "vas_rollouts": (2, math.inf),
}  # fmt: skip


def check_training(args: Any) -> None:
    """
    Refuse numbers that no trainer can train with, and a training of no step.

    Args:
        args ([`~transformers.TrainingArguments`]):
            Before or after its own checks.

    Raises:
        [`BadInputError`]: With the range.
    """
    _check_numbers(args, TRAINING)
    # With max_steps=0 transformers makes one step. Any negative number leaves the length to num_train_epochs.
    if args.max_steps == 0 or (args.max_steps < 0 and args.num_train_epochs <= 0):
        raise BadInputError(
            f"max_steps={args.max_steps} and num_train_epochs={args.num_train_epochs:g} leave nothing to train: set "
            "max_steps to 1 or more, or leave it out for num_train_epochs=1 or more."
        )


def check_before(args: Any) -> None:
    """
    Refuse options of an [`RLVRConfig`] that TRL would refuse in other words, or not at all; before its own checks.

    Raises:
        [`BadInputError`]: With the valid values.
    """
    if args.vas_refresh == "subset":
        raise BadInputError(f"vas_refresh='subset' is gone. {GONE['vas_subset_fraction'][1]}")
    _check_choices(args, CHOICES)
    check_training(args)
    # To vLLM -1 is a top_k of all tokens; transformers has 0 for that and fails on -1.
    _check_numbers(args, SAMPLING | {"top_k": (-1 if args.use_vllm else 0, math.inf)})
    if not 0 < args.tracker_rho_min <= args.tracker_rho_max < 1:
        raise BadInputError(
            f"tracker_rho_min={args.tracker_rho_min} and tracker_rho_max={args.tracker_rho_max} must satisfy "
            "0 < tracker_rho_min <= tracker_rho_max < 1 (MSSR: 0.875 and 0.96)."
        )
    if not 1 < args.shaping_kappa < math.inf:
        raise BadInputError(
            f"shaping_kappa={args.shaping_kappa} must be above 1 and finite, or the bonus turns bad completions into "
            "good ones. MSSR's alpha = 0.4 and kappa = 2.0 are swapped in its text."
        )
    EntropySchedule(  # says what is wrong with the coefficients
        args.entropy_schedule, args.explore_coef, args.exploit_coef, args.switch_fraction
    )
    low, high = args.entropy_low, args.entropy_high
    if low is not None and high is not None and low >= high:
        raise BadInputError(f"entropy_low={low} must be below entropy_high={high}.")
    if args.entropy_alarm == "stop" and low is None and high is None:
        raise BadInputError("entropy_alarm='stop' has no effect without entropy_low or entropy_high.")
    if args.freeze_merger and not args.freeze_vision_tower:
        raise BadInputError("freeze_merger has no effect without freeze_vision_tower: set both, or neither.")
    if args.min_pixels and args.max_pixels and args.min_pixels > args.max_pixels:
        raise BadInputError(f"min_pixels={args.min_pixels} is larger than max_pixels={args.max_pixels}.")
    weights = args.reward_weights
    if weights is not None and (not all(map(math.isfinite, weights)) or not any(weights)):
        raise BadInputError(f"reward_weights={weights}: each must be finite, and one of them other than 0.")
    check_batch_sizes(args, singles=args.advantage_baseline in SINGLES)


def check_after(args: Any) -> None:
    """
    Refuse options of an [`RLVRConfig`] that do not go together; after TRL's own checks have filled in its defaults.

    Raises:
        [`BadInputError`]: With what to change.
    """
    _check_choices(args, UPSTREAM_CHOICES)  # now that True and False of scale_rewards have their names
    _check_tracker(args)
    _check_sampling(args)


def _check_choices(args: Any, table: dict[str, Collection[str]]) -> None:
    for name, choices in table.items():
        if (value := getattr(args, name)) not in choices:
            raise BadInputError(
                f"{name}={value!r} is not one of {', '.join(choices)}.{did_you_mean(str(value), choices)}"
            )


def _check_numbers(args: Any, ranges: dict[str, tuple[float, float]]) -> None:
    for name, (low, high) in ranges.items():
        value = getattr(args, name, None)  # a few of them only some trainers have
        if value is None or (low <= value <= high and math.isfinite(value)):
            continue
        least = {ANY: "a number", POSITIVE: "above 0"}.get(low, f"at least {low:g}")
        most = {math.inf: "finite", BELOW_ONE: "below 1"}.get(high, f"at most {high:.10g}")
        raise BadInputError(f"{name}={value} is out of range: it must be {least} and {most}.")


def _check_tracker(args: Any) -> None:
    if args.advantage_baseline != "group" and args.multi_objective_aggregation == "normalize_then_sum":
        raise BadInputError(
            "multi_objective_aggregation='normalize_then_sum' normalizes each reward within its group, and "
            f"advantage_baseline={args.advantage_baseline!r} compares the weighted sum. Take 'sum_then_normalize', or "
            "advantage_baseline='group'."
        )
    if args.advantage_baseline != "value_tracker":
        return
    updates = args.window / args.gradient_accumulation_steps
    if args.tracker_forgetting in ("paper", "monotone") and args.tracker_kl_source == "reference":
        if args.beta == 0:
            raise BadInputError(
                "tracker_kl_source='reference' needs a reference model, and beta=0 has none. Set beta=0.01 "
                "(MSSR), or tracker_kl_source='policy', or tracker_forgetting='fixed'."
            )
    elif args.tracker_forgetting != "fixed" and updates < 2:
        raise BadInputError(
            f"tracker_kl_source='policy' measures how far the updates of one generation batch move the policy, "
            f"and there is only {updates:g} (steps_per_generation x num_iterations / gradient_accumulation_steps "
            f"= {args.steps_per_generation} x {args.num_iterations} / {args.gradient_accumulation_steps}). Set "
            f"gradient_accumulation_steps={max(1, args.window // 2)} or less, "
            "or tracker_forgetting='fixed'."
        )
    if args.tracker_forgetting == "per_prompt" and args.tracker_kl_source != "policy":
        raise BadInputError("tracker_forgetting='per_prompt' needs tracker_kl_source='policy'.")
    if args.prompt_scores and args.tracker_initial_rollouts:
        raise BadInputError("prompt_scores and tracker_initial_rollouts both set the initial values: give one.")


def _check_sampling(args: Any) -> None:
    if args.prompt_sampling not in ("variance_aware", "uncertainty"):
        if args.prompt_sampling == "dynamic" and args.num_generations == 1:
            raise BadInputError(
                "prompt_sampling='dynamic' keeps groups whose rewards differ, and a group of num_generations=1 has "
                "one reward. Take 2 or more, or prompt_sampling='posterior'."
            )
        if args.vas_refresh != "online" or args.vas_variant != "paper":
            raise BadInputError(
                f"vas_refresh={args.vas_refresh!r} and vas_variant={args.vas_variant!r} have no effect with "
                f"prompt_sampling={args.prompt_sampling!r}. Set prompt_sampling='variance_aware' (`mmr1 vas`)."
            )
        if args.prompt_scores and args.advantage_baseline != "value_tracker":
            raise BadInputError(
                f"prompt_scores has no effect with prompt_sampling={args.prompt_sampling!r} and "
                f"advantage_baseline={args.advantage_baseline!r}. Set "
                "prompt_sampling='variance_aware' (`mmr1 vas`) or advantage_baseline='value_tracker' "
                "(`mmr1 mssr`)."
            )
        return
    if args.prompt_sampling == "uncertainty":
        if args.advantage_baseline != "value_tracker" or args.vas_refresh != "online":
            raise BadInputError(
                "prompt_sampling='uncertainty' draws by the value tracker: it needs "
                "advantage_baseline='value_tracker' and vas_refresh='online'. Without a tracker take "
                "prompt_sampling='variance_aware'."
            )
    _check_numbers(args, VAS)
    if args.vas_outcome_weight + args.vas_diversity_weight == 0:
        raise BadInputError("vas_outcome_weight and vas_diversity_weight are both 0, so all scores would be.")
    if 0 < args.vas_weighted_fraction * args.prompts_per_generation < 1:
        raise BadInputError(
            f"A generation batch holds {args.prompts_per_generation} prompts, so vas_weighted_fraction="
            f"{args.vas_weighted_fraction} would draw none of them by score. Use at least "
            f"{1 / args.vas_weighted_fraction:.3g} prompts, or vas_weighted_fraction=1."
        )
    if args.vas_refresh == "off" and not args.prompt_scores:
        raise BadInputError("vas_refresh='off' needs prompt_scores: `mmr1 score` makes them.")
    if args.vas_variant == "released_code" and args.vas_refresh != "full":
        raise BadInputError(
            f"vas_variant='released_code' re-scores every prompt: set vas_refresh='full', not {args.vas_refresh!r}."
        )
    if args.use_vllm and args.vas_refresh == "full" and args.vas_rollouts % int(args.num_generations or 1):
        raise BadInputError(
            f"With vLLM the rollouts of a prompt come in groups of num_generations: vas_rollouts="
            f"{args.vas_rollouts} is no multiple of {args.num_generations}."
        )


def check_experts(config: PreTrainedConfig) -> None:
    """
    Refuse a mixture of experts whose load TRL is to balance and cannot.

    Args:
        config ([`~transformers.PreTrainedConfig`]):
            Of the text part.

    Raises:
        [`BadInputError`]: With how to train without that part of the loss.
    """
    if getattr(config, "num_experts", None) is None:
        raise BadInputError(
            f"TRL adds a loss that spreads tokens over experts, and does not find the number of experts of "
            f"{config.model_type} (num_experts). Train without it: router_aux_loss_coef=0."
        )


@dataclass
class CheckedRun:
    """
    What is known of a run that may begin.

    Args:
        rows ([`~datasets.Dataset`]):
            The training rows, with label noise where that was asked for.
        prompts ([`~mmr1_trl.data.prompts.Prompts`]):
            Which rows hold which prompt.
        table ([`~mmr1_trl.data.score_table.PromptTable`], *optional*):
            What `prompt_scores` says about the prompts.
    """

    rows: Dataset
    prompts: Prompts
    table: PromptTable | None


def check_run(
    args: Any,
    reward_funcs: Any,
    train_dataset: Any,
    eval_dataset: Any = None,
    enough_rows: Callable[[Dataset, Any], None] = check_enough_rows,
    environments: bool = False,
) -> CheckedRun:
    """
    Refuse rows, rewards and options that do not fit together.

    Args:
        args ([`RLVRConfig`]):
            The options.
        reward_funcs (`Callable` or `list`):
            As for the trainer. Functions of the user's own are called on two rows.
        train_dataset ([`~datasets.Dataset`]), eval_dataset ([`~datasets.Dataset`] or `dict`, *optional*):
            The rows.
        enough_rows (`Callable`, *optional*):
            Refuses training sets that are too small.
        environments (`bool`, *optional*, defaults to `False`):
            Whether rewards also get environments, without which they cannot be tried.

    Returns:
        [`CheckedRun`]

    Raises:
        [`BadInputError`]: With what does not fit, and what would.
    """
    check_rows(train_dataset, "train_dataset")
    for name, part in eval_dataset.items() if isinstance(eval_dataset, dict) else [("", eval_dataset)]:
        if part is not None:
            check_rows(part, f"eval_dataset {name}".strip())
    enough_rows(train_dataset, args)
    functions = list(reward_funcs) if isinstance(reward_funcs, list | tuple) else [reward_funcs]
    check_metric(args, functions, eval_dataset if isinstance(eval_dataset, dict) else ())
    _check_rewards(args, functions, [] if environments else _two_rows(args, functions, train_dataset))
    if args.label_noise:
        train_dataset = apply_label_noise(train_dataset, args.label_noise, args.label_noise_seed)
    if args.entropy_schedule.endswith("_noisy") and "is_noisy" not in train_dataset.column_names:
        raise BadInputError(
            f"entropy_schedule={args.entropy_schedule!r} has to know which labels are wrong: train_dataset has no "
            "column 'is_noisy'. label_noise adds one; otherwise take 'two_stage'."
        )
    prompts = Prompts.of(train_dataset)
    table = None
    if args.prompt_scores:
        needs_pass_rates = args.advantage_baseline == "value_tracker" or args.vas_refresh != "off"
        table = read_prompt_table(args.prompt_scores, prompts, needs_pass_rates)
    return CheckedRun(train_dataset, prompts, table)


def _check_rewards(args: Any, functions: Sequence[Any], rows: list[dict[str, Any]]) -> None:
    if args.reward_weights is not None and len(args.reward_weights) != len(functions):
        raise BadInputError(
            f"There are {len(args.reward_weights)} reward_weights for {len(functions)} reward functions. Give one for "
            "each, in their order."
        )
    reads_policy = [f for f in functions if f in (negative_entropy_reward, self_certainty_reward)]
    if reads_policy and not args.computes_old_logps:
        raise BadInputError("negative_entropy_reward and self_certainty_reward need num_iterations=2 or more.")
    if rows:
        if reads_policy:
            rows = [row | dict.fromkeys(MEANS, 1.0) for row in rows]
        try_rewards(functions, rows, TrainerState())


def _two_rows(args: Any, functions: Sequence[Any], dataset: Dataset) -> list[dict[str, Any]]:
    """Return the first and the last row as the rewards will see them; none if there is nothing to try on them."""
    if not any(callable(function) and not is_ours(function) for function in functions):
        return []
    reader = RowDecoder(dataset, args.min_pixels, args.max_pixels, args.on_bad_row)
    return reader.read([0, len(dataset) - 1])[1]
