# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What an evaluation was of: `evaluation.json` beside its `summary.json`, so that a model card can name it."""

from pathlib import Path
from typing import Any

from mmr1_trl.run_folder import RECORD, TRAINER_STATE, read_json, write_json


def write_record(folder: str | Path, model: str, dataset: str, split: str | None) -> None:
    """
    Write down what was evaluated.

    Args:
        folder (`str` or `Path`):
            Folder of the evaluation.
        model (`str`):
            The model as the user names it. Of a folder the last part is kept, and the step that its training had
            reached, by which a later card knows whether the numbers still hold.
        dataset (`str`), split (`str`, *optional*):
            What was evaluated on: a benchmark, which has its own split, or `"figures"`, a Hub id or a file.
    """
    place, data = Path(model), Path(dataset)
    step = None
    if (place / TRAINER_STATE).is_file():
        step = read_json(place / TRAINER_STATE).get("global_step")
    record = {
        "model": place.resolve().name if place.is_dir() else model,
        "step": step,
        "dataset": data.name if data.exists() else dataset,
        "split": split,
    }
    write_json(Path(folder, RECORD), record)


def read_record(folder: str | Path) -> dict[str, Any]:
    """Return what [`write_record`] wrote; of an older evaluation, the name of its folder as the dataset."""
    path = Path(folder, RECORD)
    if not path.is_file():
        return {"model": None, "step": None, "dataset": Path(folder).resolve().name, "split": None}
    return read_json(path)
