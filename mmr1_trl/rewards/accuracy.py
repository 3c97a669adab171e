# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Accuracy and format rewards in TRL's signature."""

from collections.abc import Callable
from typing import Any

from mmr1_trl.data.prompt_style import get_prompt_style
from mmr1_trl.rewards.answers import completion_text
from mmr1_trl.rewards.scoring import score_answer


def accuracy_reward(
    completions: list,
    solution: list[str],
    answer_type: list[str] | None = None,
    options: list[list[str]] | None = None,
    log_extra: Callable[[str, list], None] | None = None,
    log_metric: Callable[[str, float], None] | None = None,
    **kwargs: Any,
) -> list[float | None]:
    """Reward 1.0 for a right final answer, else 0.0."""
    n = len(completions)
    scores = [
        score_answer(*row) for row in zip(completions, solution, answer_type or [None] * n, options or [None] * n)
    ]
    if log_extra is not None:
        log_extra("extracted", [score.extracted or "" for score in scores])
    return [score.correct for score in scores]


def format_reward(completions: list, prompt_style: str | list[str] = "figures", **kwargs: Any) -> list[float | None]:
    """Reward 1.0 for a completion in the shape that the prompt style asks for, else 0.0."""
    names = [prompt_style] * len(completions) if isinstance(prompt_style, str) else prompt_style
    return [float(get_prompt_style(name).is_formatted(completion_text(c))) for c, name in zip(completions, names)]
