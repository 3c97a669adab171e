# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""From row numbers to rows with decoded pictures."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import PIL.Image
from datasets import Dataset
from transformers.utils import logging
from trl.data_utils import prepare_multimodal_messages

from mmr1_trl.data.pictures.images import IMAGE_COLUMNS, BadImageError, fit_pixels, open_image, require_shape
from mmr1_trl.errors import BadInputError


logger = logging.get_logger(__name__)


class RowDecoder:
    """
    Reads rows and decodes their pictures in a thread pool, each distinct row once.

    Args:
        dataset ([`~datasets.Dataset`]):
            Training rows.
        min_pixels (`int`, *optional*), max_pixels (`int`, *optional*):
            Pictures outside these limits are resized, keeping their aspect ratio.
        on_bad_row (`str`, *optional*, defaults to `"error"`):
            `"error"` raises for a picture that cannot be read; `"skip"` takes the next readable row of the dataset
            instead, which is the same on every rank, names the bad row once and counts it.
    """

    def __init__(
        self,
        dataset: Dataset,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        on_bad_row: str = "error",
    ) -> None:
        self.dataset = dataset
        self.min_pixels = min_pixels
        self.max_pixels = max_pixels
        self.on_bad_row = on_bad_row
        self.bad_rows: set[int] = set()
        self.decoded = 0
        self._pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="decode")

        # Through Arrow a picture stays encoded, at the cost of its bytes; a user's own transform has to be respected.
        images = [name for name in IMAGE_COLUMNS if name in dataset.column_names]
        self._images = images if dataset.format["type"] != "custom" else []
        self._encoded = dataset.select_columns(self._images).with_format("arrow") if self._images else None
        self._others = dataset.remove_columns(self._images)

    def _fetch(self, rows: list[int]) -> list[dict[str, Any]]:
        columns = self._others[rows] if self._others.column_names else {}
        if self._encoded is not None:
            columns = columns | self._encoded[rows].to_pydict()
        return [{name: values[i] for name, values in columns.items()} for i in range(len(rows))]

    def decode(self, record: dict[str, Any], where: str) -> dict[str, Any]:
        """
        Decode the pictures of one row.

        Args:
            record (`dict`):
                A row; `image` and `images` may hold PIL images, encoded bytes or paths.
            where (`str`):
                What to call the row in a message.

        Returns:
            `dict`: The row with RGB `PIL.Image.Image`s.

        Raises:
            [`BadInputError`]: A picture cannot be read.
        """

        def picture(encoded: Any) -> PIL.Image.Image:
            image = open_image(encoded, where)
            require_shape(*image.size, where)
            return fit_pixels(image, self.min_pixels, self.max_pixels)

        record = dict(record)
        for name in IMAGE_COLUMNS:
            value = record.get(name)
            if value is None:
                continue
            if name == "image":
                record[name] = picture(value)
            else:
                record[name] = [picture(each) for each in value]
        return record

    def decode_evaluation(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """
        Decode the pictures of an evaluation batch. With `on_bad_row="skip"` the next readable row of the batch, or its
        first one, takes the place of a bad row.

        Args:
            records (`Sequence[dict]`):
                Rows of an evaluation set, with repetitions.

        Returns:
            `list[dict]`: As many rows.
        """
        decoded: list[dict[str, Any] | None] = []
        for record in records:
            where = f"eval_dataset, prompt_id {record['prompt_id']!r}" if "prompt_id" in record else "eval_dataset"
            try:
                decoded.append(self.decode(record, where))
            except BadImageError as error:
                if self.on_bad_row == "error":
                    raise BadInputError(
                        f"{error} Pass on_bad_row='skip' (--on_bad_row skip) to pass over it."
                    ) from error
                logger.warning_once(f"{error} Skipped: the next readable row of its batch takes its place.")
                decoded.append(None)
        for i in reversed(range(-len(decoded), len(decoded))):  # twice, so that the last row finds the first one
            decoded[i] = decoded[i] or decoded[(i + 1) % len(decoded)]
        if decoded[0] is None:
            raise BadInputError("No row of an evaluation batch has a readable picture.")
        return [dict(record) for record in decoded if record is not None]

    def _decode_row(self, row: int, record: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return self.decode(record, where=f"train_dataset row {row}")
        except BadImageError as error:
            if self.on_bad_row == "error":
                raise BadInputError(
                    f"{error} Pass on_bad_row='skip' (--on_bad_row skip) to train on without such rows."
                ) from error
            if row not in self.bad_rows:
                logger.warning(f"{error} Skipped: the next readable row takes its place.")
            self.bad_rows.add(row)
            return None

    def read(self, rows: Sequence[int]) -> tuple[list[int], list[dict[str, Any]]]:
        """
        Read rows; copies of the same row share their decoded pictures.

        Args:
            rows (`Sequence[int]`):
                Row numbers, with repetitions.

        Returns:
            `tuple[list[int], list[dict]]`: The rows really read (they differ from `rows` where a bad row was
            replaced), and their records.
        """
        replaced = {row: row for row in rows}
        records: dict[int, dict[str, Any]] = {}
        todo = list(replaced)
        while todo:
            decoded = list(self._pool.map(self._decode_row, todo, self._fetch(todo)))
            self.decoded += len(todo)
            records.update((row, record) for row, record in zip(todo, decoded) if record is not None)
            todo = []
            for row, instead in replaced.items():
                while instead in self.bad_rows:
                    instead = (instead + 1) % len(self.dataset)
                    if instead == row:
                        raise BadInputError("No row of train_dataset has a readable picture.")
                replaced[row] = instead
                if instead not in records and instead not in todo:
                    todo.append(instead)
        return [replaced[row] for row in rows], [dict(records[replaced[row]]) for row in rows]


def as_conversation(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the prompt of a decoded row as messages with its pictures in them."""
    images = record.get("images") or ([record["image"]] if record.get("image") is not None else [])
    return prepare_multimodal_messages(record["prompt"], images=images)
