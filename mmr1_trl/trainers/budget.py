# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What a run spends: its batches, updates, refreshes and rollouts, planned before it and counted while it trains.

Nothing else in the package counts rollouts. Whether batch sizes, processes and groups divide each other is checked
here too.
"""

import math
import os
from dataclasses import asdict, dataclass
from typing import Any

from datasets import Dataset
from trl import GRPOConfig

from mmr1_trl.errors import BadInputError


@dataclass(frozen=True)
class Plan:
    """
    The arithmetic of a run. Without a single full generation batch its totals are 0.

    Args:
        prompts_per_generation (`int`), rollouts_per_generation (`int`):
            Of one generation batch, over all ranks.
        updates_per_generation (`float`):
            Optimizer steps from one generation to the next.
        generations_per_epoch (`int`):
            Generation batches in one pass over the rows.
        steps (`int`), generations (`int`), epochs (`float`):
            Optimizer steps, generation batches and passes over the rows of the whole run.
        training_rollouts (`int`), initial_rollouts (`int`), scoring_rollouts (`int`), total_rollouts (`int`):
            Rollouts to train on, those before the first step for the value tracker, those for scores alone, and their
            sum; not those of an evaluation, and not those that dynamic sampling throws away.
        refreshes (`int`):
            How often the scores of all prompts are renewed by rollouts.
    """

    prompts_per_generation: int
    rollouts_per_generation: int
    updates_per_generation: float
    generations_per_epoch: int
    steps: int
    generations: int
    epochs: float
    training_rollouts: int
    initial_rollouts: int
    refreshes: int
    scoring_rollouts: int
    total_rollouts: int


def plan_run(config: Any, num_rows: int, num_prompts: int, steps: int | None = None) -> Plan:
    """
    Work out what a run will spend.

    Args:
        config ([`RLVRConfig`]):
            The run's options. Several processes count as one with a larger `per_device_train_batch_size`.
        num_rows (`int`), num_prompts (`int`):
            Training rows, which are walked through, and the distinct prompts in them, which are scored.
        steps (`int`, *optional*):
            Optimizer steps of the run, where they are known. Worked out of `max_steps` or `num_train_epochs` if not.

    Returns:
        [`Plan`]
    """
    prompts, rollouts = config.prompts_per_generation, config.generation_batch_size
    accumulation, window = config.gradient_accumulation_steps, config.window
    per_epoch = num_rows // prompts
    if steps is None:
        of_epochs = math.ceil(config.num_train_epochs * math.ceil(per_epoch * window / accumulation))
        steps = config.max_steps if config.max_steps > 0 else of_epochs
    if per_epoch == 0:
        steps = 0
    generations = math.ceil(steps * accumulation / window)
    initial = config.tracker_initial_rollouts * num_prompts if config.advantage_baseline == "value_tracker" else 0
    refreshes = _refreshes(config, generations)
    scoring = refreshes * rollouts_per_refresh(config, num_prompts)
    return Plan(
        prompts_per_generation=prompts,
        rollouts_per_generation=rollouts,
        updates_per_generation=window / accumulation,
        generations_per_epoch=per_epoch,
        steps=steps,
        generations=generations,
        epochs=round(generations / per_epoch, 2) if per_epoch else 0,
        training_rollouts=generations * rollouts,
        initial_rollouts=initial,
        refreshes=refreshes,
        scoring_rollouts=scoring,
        total_rollouts=generations * rollouts + initial + scoring,
    )


def refresh_is_due(step: int, last: int | None, every: int) -> bool:
    """Whether the scores are renewed before the generation batch at an optimizer step; `last` is when they were."""
    return last is None or step - last >= every


def rollouts_per_refresh(config: Any, num_prompts: int) -> int:
    """Rollouts of one refresh of the scores."""
    return num_prompts * config.vas_rollouts


def _refreshes(config: Any, generations: int) -> int:
    """Count the refreshes of a run: a generation batch is the only moment for one, however many updates it has."""
    if config.prompt_sampling != "variance_aware" or config.vas_refresh != "full":
        return 0
    last = 0 if config.prompt_scores else None  # pass rates from elsewhere stand in for the one before the first step
    refreshes = 0
    for generation in range(generations):
        step = generation * config.window // config.gradient_accumulation_steps
        if refresh_is_due(step, last, config.vas_update_steps):
            refreshes, last = refreshes + 1, step
    return refreshes


def describe_cost(config: Any, plan: Plan, num_prompts: int) -> str:
    """
    Say what drawing prompts by score costs beside training.

    Args:
        config ([`RLVRConfig`]), plan ([`Plan`]):
            The run's options, and what [`plan_run`] made of them.
        num_prompts (`int`):
            Distinct prompts.

    Returns:
        `str`: One line.
    """
    mode = "uncertainty" if config.prompt_sampling == "uncertainty" else config.vas_refresh
    training = f"training makes about {plan.training_rollouts:,}"
    if mode != "full":
        return f"VAS ({mode}): no rollouts for scoring; {training}."
    each = rollouts_per_refresh(config, num_prompts)
    return (
        f"VAS ({mode}): a refresh costs {each // config.vas_rollouts:,} prompts x {config.vas_rollouts} rollouts = "
        f"{each:,} rollouts; about {plan.refreshes} in this run make {plan.scoring_rollouts:,}, and {training}. "
        "vas_refresh='online' needs none."
    )


@dataclass
class Budget:
    """
    What a run has spent so far, over all ranks. Not counted are the rollouts of an evaluation.

    Args:
        training (`int`, *optional*), rejected (`int`, *optional*):
            Rollouts that training has sampled, and how many of them it threw away for a lack of signal.
        initial (`int`, *optional*), scoring (`int`, *optional*):
            Rollouts for the first values of the tracker, and those for scores alone.
        refreshes (`int`, *optional*):
            How often the scores of all prompts were renewed by rollouts.
    """

    training: int = 0
    rejected: int = 0
    initial: int = 0
    scoring: int = 0
    refreshes: int = 0

    @property
    def rollouts(self) -> int:
        """All rollouts that were made."""
        return self.training + self.initial + self.scoring

    def metrics(self, draws_by_score: bool) -> dict[str, float]:
        """Sums since the start of the run, of which the newest counts and not a mean."""
        counts = {"num_rollouts": float(self.rollouts)}
        if self.rejected:
            counts["num_rejected_rollouts"] = float(self.rejected)
        if draws_by_score:
            counts |= {"vas/scoring_rollouts": float(self.scoring), "vas/training_rollouts": float(self.training)}
        return counts

    def state_dict(self) -> dict[str, int]:
        """The counts."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore what [`~Budget.state_dict`] returned."""
        vars(self).update(state)


def check_batch_sizes(args: GRPOConfig, singles: bool) -> None:
    """
    Explain what [`~trl.GRPOConfig`] would only refuse: batches that hold no whole number of groups.

    Args:
        args ([`~trl.GRPOConfig`]):
            Before its own checks.
        singles (`bool`):
            Whether a group may consist of one rollout.

    Raises:
        [`BadInputError`]: The sizes do not fit; the message names the nearest that do.
    """
    group = int(args.num_generations or 0)
    if group < 1 or (group == 1 and not singles):
        raise BadInputError(
            f"num_generations={args.num_generations}: the mean of a group of one is its own reward, so nothing "
            "would be learned. Take num_generations=2 or more, or advantage_baseline='value_tracker' "
            "(`mmr1 mssr`) or 'batch_mean', which need only one rollout per prompt."
        )
    if args.generation_batch_size is not None and args.steps_per_generation is not None:
        return  # GRPOConfig says which of the two to leave out
    for name in ("per_device_train_batch_size", "gradient_accumulation_steps", "num_iterations"):
        if getattr(args, name) < 1:
            raise BadInputError(f"{name}={getattr(args, name)} must be at least 1.")
    processes = int(os.environ.get("WORLD_SIZE", 1))
    micro = args.per_device_train_batch_size * processes
    steps = args.steps_per_generation or args.gradient_accumulation_steps
    batch = args.generation_batch_size or micro * steps
    if batch % micro:
        below, above = max(1, batch // micro) * micro, (batch // micro + 1) * micro
        raise BadInputError(
            f"generation_batch_size={batch} is no multiple of per_device_train_batch_size x processes = "
            f"{args.per_device_train_batch_size} x {processes} = {micro}. Nearest: {below} or {above}."
        )
    if batch % group:
        below, above = max(1, batch // group) * group, (batch // group + 1) * group
        divisors = [n for n in range(1, batch + 1) if batch % n == 0]
        nearest = min((n for n in divisors if n > 1), key=lambda n: abs(n - group), default=1)
        raise BadInputError(
            f"A generation batch holds per_device_train_batch_size x processes x steps_per_generation = "
            f"{args.per_device_train_batch_size} x {processes} x {batch // micro} = {batch} completions, which is "
            f"no multiple of num_generations={group}. Nearest: generation_batch_size={below} or {above}, or "
            f"num_generations={nearest}."
        )


def check_enough_rows(dataset: Dataset, args: Any) -> None:
    """Refuse a training set that does not fill a generation batch ([`BadInputError`])."""
    prompts = args.prompts_per_generation
    if len(dataset) < prompts:
        raise BadInputError(
            f"train_dataset has {len(dataset)} rows, fewer than the {prompts} prompts of one generation batch "
            f"(generation_batch_size {args.generation_batch_size} / num_generations {args.num_generations}), so not a "
            f"single step would be made. Use at least {prompts} rows or a smaller batch."
        )
