# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The checkpoints of a run: their order, which of them are complete, and which are deleted."""

import os
import re
import shutil
from pathlib import Path

from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder.files import CHECKPOINT, COMPLETE, STATE_JSON, TRAINER_STATE


def step_of(checkpoint: Path) -> int:
    """Return the step in the name of a checkpoint folder, -1 for any other name."""
    match = re.fullmatch(rf"{CHECKPOINT}(\d+)", checkpoint.name)
    return int(match[1]) if match else -1


def list_checkpoints(folder: str | Path) -> list[Path]:
    """Return the checkpoint folders of a run, whole or not, by step and whatever their times say."""
    folder = Path(folder)
    found = [path for path in folder.iterdir() if step_of(path) >= 0] if folder.is_dir() else []
    return sorted(found, key=step_of)


def is_complete(checkpoint: Path) -> bool:
    """
    Whether a checkpoint was written to its end. Supervised runs of earlier versions wrote no mark, but transformers'
    state as the last file.
    """
    if (checkpoint / COMPLETE).is_file():
        return True
    return (checkpoint / TRAINER_STATE).is_file() and not (checkpoint / STATE_JSON).is_file()


def complete_checkpoints(folder: str | Path) -> list[Path]:
    """Return the checkpoints of a run that were written to their end, by step."""
    return [path for path in list_checkpoints(folder) if is_complete(path)]


def newest_complete(folder: str | Path) -> tuple[Path, list[Path]]:
    """
    Find the checkpoint to go on from.

    Args:
        folder (`str` or `Path`):
            Folder of the run.

    Returns:
        `tuple[Path, list[Path]]`: The complete checkpoint of the highest step, and the later, half-written ones.

    Raises:
        [`BadInputError`]: There is none.
    """
    there, complete = list_checkpoints(folder), complete_checkpoints(folder)
    if complete:
        return complete[-1], [path for path in there if step_of(path) > step_of(complete[-1])]
    half = f" {there[-1].name} is half-written (no {COMPLETE})." if there else ""
    raise BadInputError(
        f"No complete checkpoint in {folder}.{half} Leave out resume_from_checkpoint to start from the beginning."
    )


def rotate(folder: str | Path, limit: int | None, saved: Path, best: str | Path | None) -> None:
    """
    Delete the oldest checkpoints of a run, by step: half-written ones first, and none that went further than this one.

    Args:
        folder (`str` or `Path`):
            Folder of the run.
        limit (`int`, *optional*):
            How many to leave; all without one.
        saved (`Path`):
            The checkpoint just saved, which is complete.
        best (`str` or `Path`, *optional*):
            The best one so far.
    """
    if limit is None or limit < 1:
        return
    there = [path for path in list_checkpoints(folder) if step_of(path) <= step_of(saved)]
    kept = {os.path.realpath(path) for path in (saved, best) if path is not None}
    spare = [path for path in there if os.path.realpath(path) not in kept]
    for path in sorted(spare, key=lambda path: (is_complete(path), step_of(path)))[: max(0, len(there) - limit)]:
        (path / COMPLETE).unlink(missing_ok=True)  # first, so that nobody takes what a kill leaves for whole
        shutil.rmtree(path, ignore_errors=True)
