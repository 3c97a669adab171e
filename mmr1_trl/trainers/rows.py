# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""From row numbers to rows with decoded pictures, and the checks of a dataset before anything is trained on it."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import torch
from datasets import Dataset, IterableDataset
from transformers.utils import logging

from mmr1_trl.data.pictures.images import BadImageError, fit_pixels, image_counts, open_image, require_shape
from mmr1_trl.data.row_checks import readable_by, without_control_tokens
from mmr1_trl.errors import BadInputError, did_you_mean


if TYPE_CHECKING:
    from mmr1_trl.trainers.config import RLVRConfig


logger = logging.get_logger(__name__)

IMAGE_COLUMNS = ("images", "image")


class RowNumbers(torch.utils.data.Dataset):
    """Stands in for the training set in the dataloader, which then sets the pace and reads nothing."""

    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, row: int) -> dict[str, int]:
        return {"row": row}


def check_rows(dataset: Any, split: str) -> None:
    """
    Refuse a dataset that would fail in the middle of a run.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows with `prompt`, optionally `images` or `image`, and whatever the reward functions read.
        split (`str`):
            What to call the dataset in a message, e.g. `"train_dataset"`.

    Raises:
        [`BadInputError`]: No dataset, a streaming one, no `prompt` column, or a string prompt beside
            images.
    """
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Dataset):
        raise BadInputError(
            f"{split} must be a datasets.Dataset that can be indexed, got {type(dataset).__name__}. Values are kept "
            "per prompt, which a stream does not allow: load it without streaming, or keep a part of it with "
            "`datasets.Dataset.from_list(list(stream.take(n)))`."
        )
    if len(dataset) == 0:
        raise BadInputError(f"{split} has no rows.")
    if "prompt" not in dataset.column_names:
        raise BadInputError(
            f"{split} has no column 'prompt'; its columns are {dataset.column_names}."
            f"{did_you_mean('prompt', dataset.column_names)} mmr1_trl.data.prepare_dataset makes one from a question "
            "column."
        )
    column = next((name for name in IMAGE_COLUMNS if name in dataset.column_names), None)
    if column is None:
        return
    counts = np.asarray(image_counts(dataset))
    if (counts > 0).any():
        first = dataset.select_columns(["prompt"])[0]["prompt"]
        if isinstance(first, str):
            raise BadInputError(
                f"{split}: column {column!r} holds images, so 'prompt' must be a list of messages, but row 0 has the "
                f"string {first[:60]!r}. Write it as [{{'role': 'user', 'content': ...}}]."
            )


def mixes_pictures(dataset: Dataset) -> bool:
    """Whether some rows of a training set have pictures and others have none."""
    column = next((name for name in IMAGE_COLUMNS if name in dataset.column_names), None)
    counts = np.zeros(1) if column is None else np.asarray(image_counts(dataset))
    return bool((counts > 0).any() and (counts == 0).any())


def usable_rows(train: Any, evaluation: Any, processor: Any, on_bad_row: str) -> tuple[Dataset, Any]:
    """
    Check the datasets of a training, and keep text from data text.

    Args:
        train ([`~datasets.Dataset`]), evaluation ([`~datasets.Dataset`] or `dict`, *optional*):
            As the trainer was given them. A stream to evaluate on ([`~datasets.IterableDataset`]) is read to its end.
        processor ([`~transformers.ProcessorMixin`]):
            Of the model.
        on_bad_row (`str`):
            `"error"`, or `"skip"` to leave out the rows whose texts hold control tokens of the model.

    Returns:
        `tuple[Dataset, Dataset | dict | None]`: Both, without such rows.

    Raises:
        [`BadInputError`]: See [`check_rows`] and those of [`~mmr1_trl.data.row_checks`].
    """

    def usable(dataset: Any, split: str) -> Any:
        check_rows(dataset, split)
        dataset = readable_by(processor, dataset, split)
        return without_control_tokens(dataset, processor, on_bad_row, split)

    train, evaluation = usable(train, "train_dataset"), _at_hand(evaluation)
    if isinstance(evaluation, dict):
        return train, {name: usable(part, f"eval_dataset {name}") for name, part in evaluation.items()}
    return train, None if evaluation is None else usable(evaluation, "eval_dataset")


def _at_hand(evaluation: Any) -> Any:
    """Read streams to their end, which every evaluation does; then their rows can be checked before the training."""
    if isinstance(evaluation, dict):
        return {name: _at_hand(part) for name, part in evaluation.items()}
    if not isinstance(evaluation, IterableDataset):
        return evaluation
    return Dataset.from_list(list(evaluation.decode(False)), features=evaluation.features)


def check_enough_rows(dataset: Dataset, args: "RLVRConfig") -> None:
    """Refuse a training set that does not fill a generation batch ([`BadInputError`])."""
    prompts = args.prompts_per_generation
    if len(dataset) < prompts:
        raise BadInputError(
            f"train_dataset has {len(dataset)} rows, fewer than the {prompts} prompts of one generation batch "
            f"(generation_batch_size {args.generation_batch_size} / num_generations {args.num_generations}), so not a "
            f"single step would be made. Use at least {prompts} rows or a smaller batch."
        )


def prompt_slots(dataset: Dataset) -> torch.Tensor:
    """
    Number the distinct prompts.

    Args:
        dataset ([`~datasets.Dataset`]):
            Training rows. A `prompt_id` column (integers or strings) says which rows are the same prompt and survives
            shuffling and splitting; without it each row is a prompt of its own.

    Returns:
        `torch.Tensor` of shape `(num_rows,)`: The slot of each row, from 0 to the number of distinct prompts - 1.
    """
    if "prompt_id" not in dataset.column_names:
        return torch.arange(len(dataset))
    ids = np.asarray(dataset["prompt_id"][:])
    return torch.from_numpy(np.unique(ids, return_inverse=True)[1].astype(np.int64))


def fingerprint(dataset: Dataset) -> str:
    """
    Hash what a checkpoint depends on: the prompts, their answers and their order (not the bytes of the pictures).

    Args:
        dataset ([`~datasets.Dataset`]):
            Training rows.

    Returns:
        `str`: 32 hexadecimal digits.
    """
    columns = [
        name for name in ("prompt", "solution", "prompt_id", "accepted_answers") if name in dataset.column_names
    ]
    digest = hashlib.blake2b(digest_size=16)
    for row in dataset.select_columns(columns):
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def row_digests(dataset: Dataset) -> list[str]:
    """
    Hash each row's prompt and answer (not the bytes of the pictures), whatever its place in the dataset.

    Args:
        dataset ([`~datasets.Dataset`]):
            Training rows.

    Returns:
        `list[str]`: 16 hexadecimal digits per row.
    """
    columns = [name for name in ("prompt", "solution") if name in dataset.column_names]
    return [
        hashlib.blake2b(json.dumps(row, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()
        for row in dataset.select_columns(columns)
    ]


class RowReader:
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
