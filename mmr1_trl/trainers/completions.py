# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""TRL's tables of completions hold no pictures; a few are added, so that a report can show what was asked."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import PIL.Image


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


def _png(image: PIL.Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return buffer.getvalue()
