# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Look at every row of a training set before it is trained on: answers, pictures, lengths."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from tqdm.auto import tqdm

from mmr1_trl.data.columns import values_of
from mmr1_trl.data.pictures.images import BadImageError, fit_size, image_counts, open_image, stored_images
from mmr1_trl.data.token_counts import PromptLengths, prompt_lengths
from mmr1_trl.models.processing import ProcessingClass
from mmr1_trl.rewards.scoring import check_gold


@dataclass
class RowsReport:
    """
    What the rows of a training set look like.

    Args:
        num_rows (`int`):
            Number of rows.
        columns (`list[str]`):
            Their columns.
        answer_types (`dict[str, int]`):
            Rows of each answer type, the most frequent first.
        images_per_row (`dict[int, int]`):
            Rows with so many images.
        bad_golds (`dict[int, str]`):
            Rows whose gold answer no completion can be scored against, and why.
        bad_images (`dict[int, str]`):
            Rows with an image that cannot be decoded or that the processor refuses, and why.
        blank_images (`dict[int, str]`):
            Rows with an image of a single color, and which.
        repeated_ids (`list[int]`):
            Rows whose `prompt_id` an earlier row has.
        lengths ([`~mmr1_trl.data.token_counts.PromptLengths`]):
            Tokens of every prompt.
    """

    num_rows: int
    columns: list[str]
    answer_types: dict[str, int]
    images_per_row: dict[int, int]
    bad_golds: dict[int, str]
    bad_images: dict[int, str]
    blank_images: dict[int, str]
    repeated_ids: list[int]
    lengths: PromptLengths

    def usable_rows(self) -> list[int]:
        """Return the rows with a readable gold and readable images."""
        return [row for row in range(self.num_rows) if row not in self.bad_golds and row not in self.bad_images]


def inspect_rows(
    dataset: Dataset,
    processor: ProcessingClass,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    progress: bool = True,
) -> RowsReport:
    """
    Check every row of a prepared training set. All images are decoded, in threads.

    Args:
        dataset ([`~datasets.Dataset`]):
            Training rows, see [`~mmr1_trl.data.prepare.prepare_dataset`].
        processor ([`~transformers.ProcessorMixin`]):
            Processor of the model.
        min_pixels (`int`, *optional*), max_pixels (`int`, *optional*):
            Limits that the trainer applies before the processor.
        progress (`bool`, *optional*, defaults to `True`):
            Whether to show a progress bar.

    Returns:
        [`RowsReport`]
    """
    lengths = prompt_lengths(dataset, processor, min_pixels, max_pixels)
    ids = dataset["prompt_id"][:] if "prompt_id" in dataset.column_names else list(range(len(dataset)))
    first = {key: row for row, key in reversed(list(enumerate(ids)))}
    undecodable, blank = _decode_all(dataset, progress)
    return RowsReport(
        num_rows=len(dataset),
        columns=dataset.column_names,
        answer_types=dict(Counter(map(str, values_of(dataset, "answer_type"))).most_common()),
        images_per_row=dict(sorted(Counter(image_counts(dataset)).items())),
        bad_golds=unreadable_golds(dataset),
        bad_images=dict(sorted((lengths.unreadable | undecodable).items())),
        blank_images=blank,
        repeated_ids=[row for row, key in enumerate(ids) if first[key] != row],
        lengths=lengths,
    )


def unreadable_golds(dataset: Dataset) -> dict[int, str]:
    """
    Find the gold answers that no completion could be compared with.

    Args:
        dataset ([`~datasets.Dataset`]):
            Training rows with `solution`, and `answer_type` and `options` where they have them.

    Returns:
        `dict[int, str]`: Row number to reason.
    """
    columns = [values_of(dataset, name) for name in ("solution", "answer_type", "options")]
    reasons: dict[tuple[Any, ...], str | None] = {}
    bad = {}
    for row, (gold, answer_type, options) in enumerate(zip(*columns)):
        key = (gold, answer_type, tuple(options or ()))
        if key not in reasons:
            reasons[key] = check_gold(gold, answer_type, options)
        if (reason := reasons[key]) is not None:
            bad[row] = reason
    return bad


def unnamed_choices(dataset: Dataset) -> dict[int, str]:
    """
    Find the answers beside choices that name none of them.

    Args:
        dataset ([`~datasets.Dataset`]):
            Training rows.

    Returns:
        `dict[int, str]`: Row number to reason.
    """
    if not {"options", "answer_type", "solution"} <= set(dataset.column_names):
        return {}
    columns = zip(dataset["options"][:], dataset["answer_type"][:], dataset["solution"][:])
    return {
        row: f"{solution[:80]!r} is none of {len(options)} choices"
        for row, (options, answer_type, solution) in enumerate(columns)
        if options and answer_type != "multiple_choice"
    }


def _decode_all(dataset: Dataset, progress: bool) -> tuple[dict[int, str], dict[int, str]]:
    """The rows with a picture that cannot be decoded, and those with one of a single color, and why."""

    def decode(item: tuple[int, list[Any]]) -> tuple[int, str | None, str | None]:
        row, images = item
        blank = None
        try:
            for number, image in enumerate(images):
                extrema: Any = open_image(image, f"row {row}, image {number}").getextrema()
                bands = [extrema] if isinstance(extrema[0], int | float) else extrema
                if all(low == high for low, high in bands):
                    blank = f"image {number}"
        except BadImageError as error:
            return row, str(error), None
        return row, None, blank

    bad: dict[int, str] = {}
    blank: dict[int, str] = {}
    workers = os.cpu_count() or 1
    rows = iter(tqdm(enumerate(stored_images(dataset)), "Images", len(dataset), unit="row", disable=not progress))
    with ThreadPoolExecutor(workers) as pool:
        # In slices, because `map` would read the whole dataset into memory at once.
        while batch := [item for _, item in zip(range(16 * workers), rows)]:
            for row, reason, single in pool.map(decode, batch):
                bad |= {} if reason is None else {row: reason}
                blank |= {} if single is None else {row: single}
    return bad, blank


def summarize_images(
    lengths: PromptLengths, processor: ProcessingClass, min_pixels: int | None, max_pixels: int | None
) -> dict[str, Any]:
    """
    Say what the pixel limits do to the pictures.

    Args:
        lengths ([`~mmr1_trl.data.token_counts.PromptLengths`]):
            With the sizes of the stored pictures.
        processor ([`~transformers.ProcessorMixin`]):
            Processor of the model.
        min_pixels (`int`, *optional*), max_pixels (`int`, *optional*):
            Limits that the trainer applies before the processor.

    Returns:
        `dict`: `count`, `smallest` and `largest` stored size (width, height), `enlarged` and `reduced` (how many
        pictures a limit resizes), and `tokens` (lowest, median and highest number per picture).
    """
    from mmr1_trl.data.token_counts import image_tokens

    by_area = sorted(lengths.sizes, key=lambda size: size[0] * size[1])
    fitted = {size: fit_size(*size, min_pixels, max_pixels) for size in by_area}
    tokens = [(image_tokens(*size, processor, min_pixels, max_pixels), lengths.sizes[size]) for size in by_area]
    spread = np.sort(np.repeat([count for count, _ in tokens], [number for _, number in tokens]))
    return {
        "count": int(len(spread)),
        "smallest": by_area[0],
        "largest": by_area[-1],
        "enlarged": sum(n for size, n in lengths.sizes.items() if fitted[size][0] > size[0]),
        "reduced": sum(n for size, n in lengths.sizes.items() if fitted[size][0] < size[0]),
        "tokens": [int(spread[0]), int(np.median(spread)), int(spread[-1])],
    }


def text_histogram(values: NDArray[np.int64], bins: int = 8, width: int = 40) -> list[str]:
    """
    Draw a histogram with letters.

    Args:
        values (`np.ndarray`):
            Integers.
        bins (`int`, *optional*, defaults to `8`):
            Number of bars.
        width (`int`, *optional*, defaults to `40`):
            Characters of the longest bar.

    Returns:
        `list[str]`: One line per bar: range, bar, count.
    """
    low, high = int(values.min()), int(values.max())
    edges = np.unique(np.linspace(low, high + 1, min(bins, high - low + 1) + 1).astype(np.int64))
    counts = np.histogram(values, edges)[0]
    digits = len(str(high))
    lines = []
    for start, end, count in zip(edges[:-1], edges[1:], counts):
        bar = "█" * max(round(width * count / counts.max()), int(count > 0))
        lines.append(f"{start:>{digits}}-{end - 1:<{digits}} {bar:<{width}} {count}")
    return lines
