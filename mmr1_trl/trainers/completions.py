# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What is known of completions beside their text: pictures for TRL's tables, means over tokens for rewards."""

import io
from collections.abc import Sequence
from typing import Any

import pandas as pd
import PIL.Image
import torch

from mmr1_trl.run_folder import completions_table, replacing


KEPT_PICTURES = 16
# Columns that reward functions may ask for, and what they are means of.
MEANS = {"mean_entropy": "entropies", "mean_self_certainty": "self_certainty"}
MAX_SIDE = 256  # pixels; these are for looking at, not for training


def add_pictures(output_dir: str, step: int, images: Sequence[Sequence[PIL.Image.Image] | None]) -> None:
    """
    Add a column `picture` with the first picture of some rows, as PNG bytes, to a table of completions.

    Args:
        output_dir (`str`), step (`int`):
            Folder of the run, and the step whose table it is, with one row per completion.
        images (`Sequence`):
            Pictures of each completion's prompt. Rows spread evenly over the table keep theirs, the others hold null.
    """
    path = completions_table(output_dir, step)
    table = pd.read_parquet(path)
    if len(table) != len(images):
        return  # TRL has dropped rows of an earlier batch from one of the two
    kept = set(range(0, len(images), max(1, len(images) // KEPT_PICTURES)))
    table["picture"] = [_png(pictures[0]) if i in kept and pictures else None for i, pictures in enumerate(images)]
    with replacing(path) as temporary:
        table.to_parquet(temporary)


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


def _png(image: PIL.Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return buffer.getvalue()
