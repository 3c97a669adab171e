# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What is known of completions beside their text: pictures for TRL's tables, mean entropies for rewards."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import PIL.Image
import torch


KEPT_PICTURES = 16
MAX_SIDE = 256  # pixels; these are for looking at, not for training


def add_pictures(path: Path, images: Sequence[Sequence[PIL.Image.Image] | None]) -> None:
    """
    Add a column `picture` with the first picture of some rows, as PNG bytes, to a table of completions.

    Args:
        path (`Path`):
            Parquet file with one row per completion.
        images (`Sequence`):
            Pictures of each completion's prompt. Rows spread evenly over the table keep theirs, the others hold null.
    """
    table = pd.read_parquet(path)
    if len(table) != len(images):
        return  # TRL has dropped rows of an earlier batch from one of the two
    kept = set(range(0, len(images), max(1, len(images) // KEPT_PICTURES)))
    table["picture"] = [_png(pictures[0]) if i in kept and pictures else None for i, pictures in enumerate(images)]
    temporary = path.with_suffix(".tmp")
    table.to_parquet(temporary)
    os.replace(temporary, path)


def add_mean_entropies(
    records: Sequence[dict[str, Any]], entropies: torch.Tensor, completion_ids: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """
    Add `mean_entropy` to the rows of a batch, where reward functions find it among the columns.

    Args:
        records (`Sequence[dict]`):
            One row per completion.
        entropies (`torch.Tensor` of shape `(B, T)`):
            Token entropies in nats; completions are padded on their right.
        completion_ids (`Sequence[Sequence[int]]`):
            Token ids of each completion, unpadded.

    Returns:
        `list[dict]`: Copies of the rows; the mean of a completion without a token is `None`.
    """
    means = [row[: len(ids)].mean().item() if ids else None for row, ids in zip(entropies, completion_ids)]
    return [record | {"mean_entropy": mean} for record, mean in zip(records, means, strict=True)]


def _png(image: PIL.Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return buffer.getvalue()
