# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Floating point operations of a run, counted from its line: what groups save where a prompt is encoded once."""

import functools
from typing import TYPE_CHECKING, Any

from mmr1_trl.models import build_tiny_vlm


if TYPE_CHECKING:
    from studies.decisive import Study

PROMPT = 13  # tokens: four of the picture, five of the question, four of the chat template
PATCHES = 16  # of a picture


@functools.cache
def parameters() -> tuple[int, int]:
    """Parameters that each text token goes through (the head included), and each patch of a picture."""
    model, _ = build_tiny_vlm("qwen2_5_vl")
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    vision = sum(size for name, size in sizes.items() if ".visual." in name or name.startswith("visual."))
    words = sum(size for name, size in sizes.items() if "embed_tokens" in name)
    head = model.get_output_embeddings().weight.numel()
    tied = not any(name.startswith("lm_head") for name in sizes)
    return sum(sizes.values()) - vision - words + (head if tied else 0), vision


def batch_flops(rollouts: int, group: int, length: float, updates: int, once: bool) -> float:
    """
    Count the operations of a generation batch: 2 per parameter and token forward, 4 more backward; attention, which
    is small at these lengths, is left out, and the tower is frozen and its pictures encoded once.

    Args:
        rollouts (`int`), group (`int`):
            Completions, and how many of them share a prompt.
        length (`float`):
            Mean tokens of a completion.
        updates (`int`):
            Optimizer steps; from two on there is a forward pass more, over the sampling policy.
        once (`bool`):
            Whether the completions of a group share the work on their prompt.

    Returns:
        `float`: Operations.
    """
    text, vision = parameters()
    prompts = rollouts // group
    tokens = (prompts if once else rollouts) * PROMPT + rollouts * length
    passes = 1 + (1 if updates > 1 else 0) + 3  # generation, sampling policy, loss forward and backward
    return 2.0 * (passes * tokens * text + prompts * PATCHES * vision)


def flops_curve(run: dict[str, Any], study: "Study", once: bool) -> list[tuple[float, float]]:
    """
    Return sampled accuracy over operations.

    Args:
        run (`dict`):
            A line.
        study (`Study`):
            Its study, for the arm's options.
        once (`bool`):
            Whether prompts are worked on once for their group.

    Returns:
        `list[tuple[float, float]]`: Operations and accuracy at each evaluation.
    """
    (arm,) = (arm for arm in study.arms if arm.name == run["arm"])
    options = study.setting.options | arm.options
    group, updates = options["num_generations"], options.get("steps_per_generation", 1)
    rollouts = options["per_device_train_batch_size"] * updates
    spent = [0.0]
    for length in run["log"]["completions/mean_length"]:
        spent.append(spent[-1] + batch_flops(rollouts, group, length, updates, once))
    return [(spent[min(point["rollouts"] // rollouts, len(spent) - 1)], point["sampled"]) for point in run["curve"]]
