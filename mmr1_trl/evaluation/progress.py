# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Finished batches of an evaluation on disk, so that an interrupted evaluation goes on where it was."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import Dataset

from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.generation import Completion
from mmr1_trl.run_folder import Journal, journal_of_rank, journals_of_ranks


class BatchLog:
    """
    One JSON line per finished batch, after a first line that says which evaluation it belongs to.

    Every process appends to a file of its own and reads those of all, so that an interrupted evaluation goes on with
    any number of processes.

    Args:
        path (`str` or `Path`, *optional*):
            The file; process 2 writes `<name>.2<suffix>` beside it. `None` keeps nothing.
        settings (`dict`):
            Everything that the completions depend on.
        rank (`int`, *optional*, defaults to `0`):
            Number of this process.

    Raises:
        `BadInputError`: If a file belongs to an evaluation with other settings.
    """

    def __init__(self, path: str | Path | None, settings: dict[str, Any], rank: int = 0) -> None:
        self.path = None if path is None else Path(path)
        self._batches: dict[tuple[str, int], dict[str, Any]] = {}
        if self.path is None:
            return
        for file in self._files():
            journal = Journal(file, settings)
            if differences := journal.differences():
                changed = [difference.split(" was ")[0] for difference in differences]
                raise BadInputError(
                    f"{file} holds an unfinished evaluation with another {', '.join(changed)}. Finish it with the "
                    "same options, delete the file, or choose another output folder."
                )
            self._batches |= {(entry["kind"], entry["index"]): entry for entry in journal.pieces()}
        self._own = Journal(journal_of_rank(self.path, rank), settings)
        self._own.resume()

    def __len__(self) -> int:
        return len(self._batches)

    def get(self, kind: str, index: int) -> tuple[dict[int, list[Completion]], dict[int, str]] | None:
        """Completions and left-out rows of batch `index` of the pass `kind`, or `None` when it is not finished."""
        entry = self._batches.get((kind, index))
        if entry is None:
            return None
        completions = {int(row): [Completion(**one) for one in many] for row, many in entry["completions"].items()}
        return completions, {int(row): reason for row, reason in entry["skipped"].items()}

    def add(self, kind: str, index: int, completions: dict[int, list[Completion]], skipped: dict[int, str]) -> None:
        """Write down a finished batch."""
        if self.path is None:
            return
        written = {row: [asdict(one) for one in many] for row, many in completions.items()}
        self._own.append({"kind": kind, "index": index, "completions": written, "skipped": skipped})

    def remove(self) -> None:
        """Delete the files of all processes, when the evaluation is complete."""
        for file in self._files():
            file.unlink()

    def _files(self) -> list[Path]:
        return [] if self.path is None else journals_of_ranks(self.path)


def data_fingerprint(dataset: Dataset) -> str:
    """A short hash of the prompts and solutions, in order."""
    digest = hashlib.sha256()
    for row in dataset.select_columns(["prompt", "solution"]):
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:16]
