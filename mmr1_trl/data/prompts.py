# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The distinct prompts of a training set: a row is a line of the dataset, and several rows can hold one prompt."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from datasets import Dataset


@dataclass
class Prompts:
    """
    Which rows hold which prompt.

    Args:
        numbers (`torch.Tensor` of shape `(num_rows,)`):
            Number of the prompt of each row, from 0 to the number of distinct prompts - 1.
        rows ([`~datasets.Dataset`], *optional*):
            The rows. Needed for their digests and for reading what is known of them.
    """

    numbers: torch.Tensor
    rows: Dataset | None = None

    @classmethod
    def of(cls, rows: Dataset) -> "Prompts":
        """
        Number the distinct prompts of a dataset.

        Args:
            rows ([`~datasets.Dataset`]):
                Training rows. A `prompt_id` column (integers or strings) says which rows are the same prompt and
                survives shuffling and splitting; without it each row is a prompt of its own.
        """
        if "prompt_id" not in rows.column_names:
            return cls(torch.arange(len(rows)), rows)
        ids = np.asarray(rows["prompt_id"][:])
        return cls(torch.from_numpy(np.unique(ids, return_inverse=True)[1].astype(np.int64)), rows)

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.numbers)

    @cached_property
    def count(self) -> int:
        """How many distinct prompts there are."""
        return int(self.numbers.max()) + 1 if len(self.numbers) else 0

    @cached_property
    def first_rows(self) -> torch.Tensor:
        """The first row of each prompt, of shape `(count,)`."""
        every = torch.arange(self.num_rows)
        return torch.full((self.count,), self.num_rows).scatter_reduce(0, self.numbers, every, "amin")

    @cached_property
    def one_row_each(self) -> bool:
        """Whether every row is a prompt of its own, in their order."""
        return torch.equal(self.numbers, torch.arange(self.num_rows))

    def per_row(self, values: torch.Tensor) -> torch.Tensor:
        """Return, of shape `(num_rows,)`, what `values` of shape `(count,)` says of the prompt of each row."""
        return values if self.one_row_each else values[self.numbers]

    @cached_property
    def digests(self) -> list[str]:
        """Of each row, what [`row_digests`] makes of it."""
        return row_digests(self.require_rows())

    @cached_property
    def fingerprint(self) -> str:
        """What [`fingerprint`] makes of the rows."""
        return fingerprint(self.require_rows())

    def require_rows(self) -> Dataset:
        """Return the rows (`ValueError` where the prompts were numbered without them)."""
        if self.rows is None:
            raise ValueError("These prompts were numbered without their rows.")
        return self.rows


def fingerprint(dataset: Dataset) -> str:
    """
    Hash what a checkpoint depends on: the prompts, their answers and their order (not the bytes of the pictures).

    Args:
        dataset ([`~datasets.Dataset`]):
            Training rows.

    Returns:
        `str`: 32 hexadecimal digits.
    """
    names = ("prompt", "solution", "prompt_id", "accepted_answers")
    digest = hashlib.blake2b(digest_size=16)
    for row in _as_texts(dataset, names):
        digest.update(row)
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
    return [hashlib.blake2b(row, digest_size=8).hexdigest() for row in _as_texts(dataset, ("prompt", "solution"))]


def _as_texts(dataset: Dataset, names: Sequence[str]) -> Iterator[bytes]:
    columns = [name for name in names if name in dataset.column_names]
    for row in dataset.select_columns(columns):
        yield json.dumps(row, sort_keys=True, default=str).encode()
