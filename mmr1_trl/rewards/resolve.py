# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Reward functions by name."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import mmr1_trl.rewards as own_rewards
from mmr1_trl.data.prompt_style import get_prompt_style
from mmr1_trl.errors import BadInputError, did_you_mean


_TRL_REWARDS = ("reasoning_accuracy_reward", "think_format_reward", "get_soft_overlong_punishment")


class StyledReward:
    """
    A reward function with the run's prompt style filled in. A class rather than a closure, so that it can be pickled.

    Args:
        function (`Callable`):
            A reward function that takes `prompt_style`.
        prompt_style (`str`):
            Name of the style. A dataset column `prompt_style` goes before it.
    """

    def __init__(self, function: Callable, prompt_style: str):
        self.function, self.prompt_style = function, prompt_style
        self.__name__ = function.__name__

    def __call__(self, **kwargs: Any) -> list[float | None]:
        return self.function(**({"prompt_style": self.prompt_style} | kwargs))


def resolve_rewards(names: list[str], prompt_style: str | None = None) -> list[Callable]:
    """
    Turn names into reward functions: ours, TRL's (`think_format_reward`, `reasoning_accuracy_reward`,
    `get_soft_overlong_punishment`), or a dotted path to a function of the user's (`my_package.rewards.brevity`; the
    current directory is searched too).

    Args:
        names (`list[str]`):
            Names from the command line or YAML.
        prompt_style (`str`, *optional*):
            Style that [`format_reward`] and [`accuracy_reward`] go by. Defaults to their own default.

    Returns:
        `list[Callable]`: One function per name, in order.

    Raises:
        BadInputError: When a name is unknown or a dotted path cannot be imported.
    """
    if prompt_style is None:
        return [_resolve(name) for name in names]
    get_prompt_style(prompt_style)
    styled = ("accuracy_reward", "format_reward")
    return [StyledReward(_resolve(name), prompt_style) if name in styled else _resolve(name) for name in names]


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
    module_name, function_name = name.rsplit(".", 1)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BadInputError(f"Reward function {name!r}: cannot import {module_name!r} ({error}).") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        near = did_you_mean(function_name, vars(module))
        raise BadInputError(f"Reward function {name!r}: {module_name!r} has no function {function_name!r}.{near}")
    return function
