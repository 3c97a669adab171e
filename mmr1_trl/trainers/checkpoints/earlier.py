# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Checkpoints of earlier versions, read as if this one had written them."""

from typing import Any

import torch


def brought_up_to_date(
    plain: dict[str, Any], tensors: dict[str, torch.Tensor], fresh: dict[str, torch.Tensor], args: Any
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """
    Give the shared state of a checkpoint the form that this version has.

    Up to 0.1.0.dev the scores, the tracker and the counts of rollouts had names of their own side by side; now each
    part of a trainer keeps its state under its name.

    Args:
        plain (`dict`), tensors (`dict[str, torch.Tensor]`):
            What was read.
        fresh (`dict[str, torch.Tensor]`):
            The tensors of this run's parts: of what else an earlier version kept, nothing is needed any more.
        args ([`RLVRConfig`]):
            The run's options.

    Returns:
        `tuple[dict, dict[str, torch.Tensor]]`: Both; as they are where this version wrote them.
    """
    if "parts" in plain:
        return plain, tensors
    scores = plain.get("scores", {})
    batches, tracker_prompts = plain["batches_drawn"], len(tensors.get("clock_at_visit", ()))
    initial = args.tracker_initial_rollouts * tracker_prompts if plain["initialized"] else 0
    parts = {
        "sampler": {"batches_drawn": batches, **scores},
        "baseline": {"initialized": plain["initialized"]},
        "budget": {
            "training": batches * args.generation_batch_size,
            "initial": initial,
            "scoring": scores.get("scoring_rollouts", 0),
            "refreshes": scores.get("refreshes", 0),
        },
    }
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith("scores."):
            new = f"sampler.{name.removeprefix('scores.')}"
        elif name.startswith("reference."):
            new = name
        else:
            new = f"baseline.{'pending_prompts' if name == 'pending_slots' else name}"
        if new in fresh or new.startswith("reference."):
            renamed[new] = tensor
    return plain | {"parts": parts}, renamed
