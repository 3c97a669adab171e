# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Pictures for TRL's tables of completions."""

import io
from collections.abc import Sequence

import pandas as pd
import PIL.Image

from mmr1_trl.run_folder import completions_table, replacing


KEPT_PICTURES = 16
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


def _png(image: PIL.Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return buffer.getvalue()
