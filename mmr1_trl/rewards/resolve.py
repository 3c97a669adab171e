# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Reward functions by name."""

import importlib
import os
import sys
from collections.abc import Callable

import mmr1_trl.rewards as own_rewards
from mmr1_trl.errors import BadInputError, did_you_mean


_TRL_REWARDS = ("reasoning_accuracy_reward", "think_format_reward", "get_soft_overlong_punishment")


def resolve_rewards(names: list[str]) -> list[Callable]:
    """
    Turn names into reward functions: ours, TRL's (`think_format_reward`, `reasoning_accuracy_reward`,
    `get_soft_overlong_punishment`), or a dotted path to a function of the user's (`my_package.rewards.brevity`; the
    current directory is searched too).

    Args:
        names (`list[str]`):
            Names from the command line or YAML.

    Returns:
        `list[Callable]`: One function per name, in order.

    Raises:
        BadInputError: When a name is unknown or a dotted path cannot be imported.
    """
    return [_resolve(name) for name in names]


def _resolve(name: str) -> Callable:
    if name in own_rewards.__all__:
        return getattr(own_rewards, name)
    if name in _TRL_REWARDS:
        function = getattr(importlib.import_module("trl.rewards"), name)
        # The one factory among them, with the arguments that TRL's own command line gives it.
        return function(max_completion_len=1280, soft_punish_cache=256) if name.startswith("get_") else function
    if "." not in name:
        known = [*own_rewards.__all__, *_TRL_REWARDS]
        raise BadInputError(
            f"Unknown reward function {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}; "
            "or a dotted path such as my_module.my_reward."
        )
    if not all(word.isidentifier() for word in name.split(".")) or name.endswith(".py"):
        raise BadInputError(
            f"Reward function {name!r} is no dotted path. The function my_reward of a file my_rewards.py in the "
            "current directory is called my_rewards.my_reward."
        )
    module_name, function_name = name.rsplit(".", 1)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BadInputError(f"Reward function {name!r}: cannot import {module_name!r} ({error}).") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        near = did_you_mean(function_name, [name for name, value in vars(module).items() if callable(value)])
        raise BadInputError(f"Reward function {name!r}: {module_name!r} has no function {function_name!r}.{near}")
    return function
