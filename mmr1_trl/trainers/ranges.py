# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Numbers that transformers and TRL take as they are, and fail on (or train to NaN with) once the model is loaded."""

import math

from transformers import TrainingArguments

from mmr1_trl.errors import BadInputError


_POSITIVE = math.ulp(0.0)  # the smallest number above 0
TRAINING = {"learning_rate": (0.0, math.inf)}
SAMPLING = TRAINING | {
    "steps_per_generation": (1, math.inf),
    "temperature": (_POSITIVE, math.inf),
    "top_p": (_POSITIVE, 1.0),
    "max_completion_length": (1, math.inf),
    "beta": (0.0, math.inf),
    "epsilon": (0.0, math.inf),
    "min_pixels": (0, math.inf),
    "max_pixels": (1, math.inf),
}


def check_ranges(args: TrainingArguments, ranges: dict[str, tuple[float, float]]) -> None:
    """
    Refuse numbers out of range, and a training of no step.

    Args:
        args ([`~transformers.TrainingArguments`]):
            Before or after its own checks.
        ranges (`dict[str, tuple[float, float]]`):
            Smallest and largest value of options, `TRAINING` or `SAMPLING`. An option that is `None` is in range.

    Raises:
        [`BadInputError`]: With the range.
    """
    for name, (low, high) in ranges.items():
        value = getattr(args, name)
        if value is None or (low <= value <= high and math.isfinite(value)):
            continue
        least = "above 0" if low == _POSITIVE else f"at least {low:g}"
        most = "finite" if high == math.inf else f"at most {high:g}"
        raise BadInputError(f"{name}={value} is out of range: it must be {least} and {most}.")
    # With max_steps=0 transformers makes one step. Any negative number leaves the length to num_train_epochs.
    if args.max_steps == 0 or (args.max_steps < 0 and args.num_train_epochs <= 0):
        raise BadInputError(
            f"max_steps={args.max_steps} and num_train_epochs={args.num_train_epochs:g} leave nothing to train: set "
            "max_steps to 1 or more, or leave it out for num_train_epochs=1 or more."
        )
