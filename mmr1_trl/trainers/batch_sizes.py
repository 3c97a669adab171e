# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Whether batch sizes, processes and groups divide each other, and what would."""

import os

from trl import GRPOConfig

from mmr1_trl.errors import BadInputError


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
            "(`mmr1 mssr`), which needs only one rollout per prompt."
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
