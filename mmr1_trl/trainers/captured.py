# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What is kept of a step while TRL's methods make it: they hand each other more than they return."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch


# Columns that reward functions may ask for, and what they are means of.
MEANS = {"mean_entropy": "entropies", "mean_self_certainty": "self_certainty"}


@contextmanager
def swapped(owner: Any, **attributes: Any) -> Iterator[None]:
    """
    Give an object other attributes for a while.

    Args:
        owner (`Any`):
            The object. What it has of its own, or by a property, is put back; what it has of its class shows again.
        **attributes:
            Their values for the length of the `with`.
    """
    kept = {name for name in attributes if isinstance(getattr(type(owner), name, None), property)} | vars(owner).keys()
    own = {name: getattr(owner, name) for name in attributes if name in kept}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name in attributes:
            if name in own:
                setattr(owner, name, own[name])
            else:
                delattr(owner, name)


@dataclass
class Captured:
    """
    What passed by in a step.

    Args:
        phase (`str`, *optional*, defaults to `"idle"`):
            `"sampling"` until the first pass over sampled completions, which is the sampling policy's, has been read;
            `"loss"` while a loss is computed.
        rewards (`torch.Tensor` of shape `(N, reward functions)`, *optional*):
            The newest ones, of all ranks.
        completion_ids (`list[list[int]]`):
            The token ids that they are of, of this rank.
        tokens (`dict[str, torch.Tensor]`, each of shape `(B, T)`):
            `logps`, `entropies` and maybe `self_certainty` of the sampling policy.
        micro_batch (`dict`):
            What the loss is computed of.
        entropies (`torch.Tensor` of shape `(B, T)`, *optional*):
            Those of the loss's forward pass, with gradient.
    """

    phase: Literal["idle", "sampling", "loss"] = "idle"
    rewards: torch.Tensor | None = None
    completion_ids: list[list[int]] = field(default_factory=list)
    tokens: dict[str, torch.Tensor] = field(default_factory=dict)
    micro_batch: dict[str, Any] = field(default_factory=dict)
    entropies: torch.Tensor | None = None

    @contextmanager
    def during(self, phase: Literal["idle", "sampling", "loss"]) -> Iterator[None]:
        """Be in a phase; what was captured in it stays until it is taken."""
        self.phase, self.tokens, self.entropies = phase, {}, None
        try:
            yield
        finally:
            self.phase, self.micro_batch = "idle", {}

    def take_tokens(self) -> dict[str, torch.Tensor]:
        """Return `tokens` and forget them."""
        tokens, self.tokens = self.tokens, {}
        return tokens

    def weighted_rewards(self, weights: torch.Tensor) -> torch.Tensor:
        """Weighted sum over reward functions of the completions of all ranks, NaN where none could score."""
        assert self.rewards is not None
        rewards = (self.rewards * weights.to(self.rewards.device)).nansum(dim=1)
        rewards[torch.isnan(self.rewards).all(dim=1)] = torch.nan
        return rewards


def add_means(
    records: Sequence[dict[str, Any]], values: dict[str, torch.Tensor], completion_ids: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """
    Add means over each completion's tokens to the rows of a batch, where reward functions find them among the columns.

    Args:
        records (`Sequence[dict]`):
            One row per completion.
        values (`dict[str, torch.Tensor]`, each of shape `(B, T)`):
            What is known of the tokens: those of `MEANS` are read. Completions are padded on their right.
        completion_ids (`Sequence[Sequence[int]]`):
            Token ids of each completion, unpadded.

    Returns:
        `list[dict]`: Copies of the rows; the mean of a completion without a token is `None`.
    """
    rows = list(records)
    for column, name in MEANS.items():
        if name in values:
            means = [row[: len(ids)].mean().item() if ids else None for row, ids in zip(values[name], completion_ids)]
            rows = [row | {column: mean} for row, mean in zip(rows, means, strict=True)]
    return rows


def own_tokens(batch: dict[str, Any]) -> torch.Tensor:
    """Return the mask of the tokens that the policy sampled: completions without what tools have answered."""
    return batch["completion_mask"] * batch.get("tool_mask", 1)
