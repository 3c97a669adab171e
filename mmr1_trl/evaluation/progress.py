# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Finished batches of an evaluation on disk, so that an interrupted evaluation goes on where it was."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel

from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.generation import Completion


class BatchLog:
    """
    One JSON line per finished batch, after a first line that says which evaluation it belongs to.

    Args:
        path (`str` or `Path`, *optional*):
            The file. `None` keeps nothing.
        settings (`dict`):
            Everything that the completions depend on.

    Raises:
        `BadInputError`: If the file belongs to an evaluation with other settings.
    """

    def __init__(self, path: str | Path | None, settings: dict[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self._batches: dict[tuple[str, int], dict[str, Any]] = {}
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self._whole_lines()
        if not lines:
            self.path.write_text(json.dumps(settings) + "\n", encoding="utf-8")
            return
        changed = [name for name, value in settings.items() if lines[0].get(name) != value]
        if changed:
            raise BadInputError(
                f"{self.path} holds an unfinished evaluation with another {', '.join(changed)}. Finish it with the "
                "same options, delete the file, or choose another output folder."
            )
        self._batches = {(entry["kind"], entry["index"]): entry for entry in lines[1:]}

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
        entry = {"kind": kind, "index": index, "completions": written, "skipped": skipped}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def remove(self) -> None:
        """Delete the file, when the evaluation is complete."""
        if self.path is not None:
            self.path.unlink()

    def _whole_lines(self) -> list[dict[str, Any]]:
        """The lines of the file; one that was cut off by a kill is removed from it."""
        if not self.path or not self.path.is_file():
            return []
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.path.write_text(whole, encoding="utf-8")
        return [json.loads(line) for line in whole.splitlines()]


def data_fingerprint(dataset: Dataset) -> str:
    """A short hash of the prompts and solutions, in order."""
    digest = hashlib.sha256()
    for row in dataset.select_columns(["prompt", "solution"]):
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:16]


def weights_fingerprint(model: PreTrainedModel) -> str:
    """A short hash of the first numbers of every parameter: changes with any step of training, costs nothing."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(str(parameter.detach().flatten()[:8].tolist()).encode())
    return digest.hexdigest()[:16]
