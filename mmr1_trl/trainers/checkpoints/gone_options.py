# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Options that are no more: what to say to who still writes them, and their defaults, which say nothing."""

from collections.abc import Mapping
from typing import Any

from mmr1_trl.errors import BadInputError


# name -> its default, and what to do instead
GONE: dict[str, tuple[float, str]] = {
    "vas_subset_fraction": (0.125, "Take vas_refresh='online', which makes no rollouts of its own, or 'full'."),
    "vas_momentum": (0.0, "Scores are those of the newest refresh, as in the paper and in the released YAML."),
    "ramp_steps": (0, "The schedule turns at switch_fraction in one step, as in the paper."),
}


def without_gone(values: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return options without those that are no more, where these have their old default.

    Args:
        values (`Mapping[str, Any]`):
            Options by name, as a config file, a command line or the settings of an old run have them.

    Raises:
        [`BadInputError`]: One has another value, and so had an effect.
    """
    for name in GONE.keys() & values.keys():
        try:
            harmless = float(values[name]) == GONE[name][0]
        except (TypeError, ValueError):
            harmless = False
        if not harmless:
            refuse_gone({name: values[name]})
    return {name: value for name, value in values.items() if name not in GONE}


def refuse_gone(values: Mapping[str, Any]) -> None:
    """
    Refuse options that are no more, whatever their value.

    Raises:
        [`BadInputError`]: With what to do instead.
    """
    for name in GONE.keys() & values.keys():
        raise BadInputError(f"{name}={values[name]!r}: the option {name} is gone. {GONE[name][1]}")
