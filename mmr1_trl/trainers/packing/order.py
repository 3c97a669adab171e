# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Brings the rollouts of a prompt into the same micro-batch, where they share it.

TRL shuffles the rows of a generation batch and cuts them into micro-batches, so that a prompt's rollouts rarely meet.
Here its shuffle decides which rows an update sees, as before; within an update, whose gradient is a sum over rows, the
rows of a prompt are put side by side.
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import torch
from trl.trainer import grpo_trainer


def coherent_order(
    permutation: torch.Tensor, prompts: torch.Tensor, rows_per_update: int, whole_groups: bool = False
) -> torch.Tensor:
    """
    Put rows of the same prompt side by side.

    Args:
        permutation (`torch.Tensor` of shape `(B,)`):
            A shuffle of the rows.
        prompts (`torch.Tensor` of shape `(B,)`):
            The prompt of each row.
        rows_per_update (`int`):
            Rows that each update sees; the permutation says which,
        whole_groups (`bool`, *optional*, defaults to `False`):
            unless prompts are to be shuffled instead of rows.

    Returns:
        `torch.Tensor` of shape `(B,)`: A permutation. Prompts are in the order in which the given one meets them.
    """
    ordered: list[int] = []
    for part in [permutation] if whole_groups else permutation.split(rows_per_update):
        groups: dict[int, list[int]] = {}
        for row in part.tolist():
            groups.setdefault(int(prompts[row]), []).append(row)
        ordered += [row for group in groups.values() for row in group]
    return torch.tensor(ordered)


def _rows_per_update(args: Any, num_rows: int) -> int | None:
    """Rows of this rank that one update sees, or `None` where updates and micro-batches do not fall into line."""
    steps, accumulation = args.steps_per_generation, args.gradient_accumulation_steps
    if accumulation % steps == 0:
        return num_rows
    return num_rows * accumulation // steps if steps % accumulation == 0 else None


def _depends_on_micro_batches(args: Any) -> bool:
    """Whether a loss is normalized, or tokens are chosen, within micro-batches: then it matters which rows meet."""
    own_entropy_term = args.entropy_coef != 0 or args.use_adaptive_entropy
    return args.loss_type == "bnpo" or args.top_entropy_quantile < 1.0 or own_entropy_term


@contextlib.contextmanager
def coherent_shuffle(args: Any, shares: bool) -> Iterator[None]:
    """
    Let TRL cut its generation batches into micro-batches of whole prompts, as far as they go.

    Args:
        args ([`RLVRConfig`]):
            With `group_coherent` prompts are shuffled instead of rows. Otherwise each update sees the rows that it
            would see anyway, and nothing is changed where no prompts are shared or where it would change the loss.
        shares (`bool`):
            Whether prompts are shared.
    """
    if not args.group_coherent and (not shares or _depends_on_micro_batches(args)):
        yield
        return

    def shuffle(batch: dict[str, Any]) -> dict[str, Any]:
        prompts = batch["rows"]
        rows_per_update = _rows_per_update(args, len(prompts))
        permutation = torch.randperm(len(prompts))  # the draw that TRL makes
        if rows_per_update is not None:
            permutation = coherent_order(permutation, prompts, rows_per_update, args.group_coherent)
        return {name: _reorder(values, permutation) for name, values in batch.items()}

    with patch.object(grpo_trainer, "shuffle_sequence_dict", shuffle):
        yield


def _reorder(values: Any, order: torch.Tensor) -> Any:
    if values is None or (isinstance(values, torch.Tensor) and values.ndim == 0):
        return values  # a number of the whole batch
    if isinstance(values, torch.Tensor):
        return values[order.to(values.device)]
    return [values[row] for row in order.tolist()]
