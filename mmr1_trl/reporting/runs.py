# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Read what a training run left in its folder: the log history and the logged completions."""

import json
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mmr1_trl.errors import BadInputError, first_line
from mmr1_trl.run_folder import LOG_HISTORY, SCORES_HISTORY, TRAINER_STATE, completions_tables, list_checkpoints


ACCURACY = "rewards/accuracy_reward/mean"  # in the log, the accuracy of a batch


@dataclass
class Run:
    """
    One training run.

    Attributes:
        name (`str`):
            Name of its folder, with the one around it where that is needed.
        folder (`Path`):
            The output directory.
        history (`list[dict]`):
            The trainer's log entries, in order, each with its `step`.
    """

    name: str
    folder: Path
    history: list[dict[str, Any]]

    def series(self, keys: Iterable[str], x_axis: str = "steps") -> tuple[list[float], list[float]]:
        """
        Positions and values of the first of `keys` that the run logged; two empty lists if it logged none of them.

        Args:
            keys (`Iterable[str]`):
                Names in the log, the best first.
            x_axis (`str`, *optional*, defaults to `"steps"`):
                `"steps"` (optimizer steps) or `"rollouts"` (completions sampled so far, those for scoring included).
                Values at the same position are averaged.

        Raises:
            `BadInputError`: If the run did not log its rollouts.
        """
        positions = self.rollouts() if x_axis == "rollouts" else [entry["step"] for entry in self.history]
        for key in keys:
            points: dict[float, list[float]] = {}
            for x, entry in zip(positions, self.history):
                value = entry.get(key)
                if isinstance(value, int | float) and not math.isnan(value):
                    points.setdefault(x, []).append(value)
            if points:
                return list(points), [sum(values) / len(values) for values in points.values()]
        return [], []

    def rollouts(self) -> list[float]:
        """The rollouts made at each log entry; entries between two generation batches take the last count."""
        counts, last = [], 0.0
        for entry in self.history:
            last = entry.get("num_rollouts") or last
            counts.append(last)
        if last == 0.0:
            raise BadInputError(f"{self.name} has not logged how many rollouts it made; take --x_axis steps.")
        return counts

    def score_history(self) -> list[dict[str, Any]]:
        """
        The histograms of the prompt scores (variance-aware sampling), oldest first; empty without any.

        Raises:
            `BadInputError`: The file is damaged.
        """
        path = self.folder / SCORES_HISTORY
        if not path.is_file():
            return []
        try:
            text = path.read_text(encoding="utf-8")
            # What a kill cut off in the middle of a line is no histogram yet.
            history = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
            if not all({"step", "counts", "edges"} <= line.keys() for line in history):
                raise ValueError("a line holds no histogram of prompt scores")
        except ValueError as error:
            raise BadInputError(f"{path} is damaged, and can be deleted: {first_line(error)}") from error
        return history

    def completions(self) -> list[Path]:
        """The files of logged completions (`log_completions=True`), oldest step first."""
        return completions_tables(self.folder)

    def stages(self) -> dict[str, pd.DataFrame]:
        """The logged completions at the `start`, `middle` and `end` of the run; fewer if fewer were logged."""
        files = self.completions()
        if not files:
            return {}
        chosen = {"start": files[0], "middle": files[len(files) // 2], "end": files[-1]}
        if len(files) < 3:
            chosen.pop("middle")
        if len(files) < 2:
            chosen.pop("end")
        return {stage: read_table(path) for stage, path in chosen.items()}


def read_table(path: Path) -> pd.DataFrame:
    """
    Read a parquet file that a run or an evaluation left.

    Raises:
        `BadInputError`: It is damaged.
    """
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are one or the other
        raise BadInputError(f"{path} is no parquet file that can be read: {first_line(error)}") from error


def load_run(folder: str | Path) -> Run:
    """
    Read the run in `folder`.

    The history comes from `trainer_state.json` in the folder, from a `log_history.json` (a JSON list of log entries)
    or from the newest checkpoint, whichever goes furthest.

    Args:
        folder (`str` or `Path`):
            Output directory of a run.

    Returns:
        [`Run`]: The run.

    Raises:
        `BadInputError`: If the folder is missing or holds no history.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(f"There is no run folder {str(folder)!r}.")
    histories = [history for path in _history_files(folder) if (history := _read_history(path))]
    if not histories:
        raise BadInputError(
            f"{str(folder)!r} holds no training history: expected {TRAINER_STATE}, {LOG_HISTORY} or a "
            "checkpoint-<step> folder in it."
        )
    return Run(folder.resolve().name, folder, max(histories, key=lambda history: history[-1]["step"]))


def load_runs(folders: Iterable[str | Path]) -> list[Run]:
    """
    Read several runs; where two folders have the same name, all runs are called `parent/name` instead.

    Args:
        folders (`Iterable[str` or `Path]`):
            Output directories.

    Returns:
        `list[Run]`: The runs, in order.
    """
    runs = [load_run(folder) for folder in folders]
    if len({run.name for run in runs}) < len(runs):
        for run in runs:
            run.name = "/".join(run.folder.resolve().parts[-2:])
    return runs


def ends(values: Sequence[float]) -> tuple[float, float]:
    """Return the means of the first and of the last tenth of what a run logged, at least one value each."""
    tenth = max(1, len(values) // 10)
    return statistics.fmean(values[:tenth]), statistics.fmean(values[-tenth:])


def group_runs(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """
    Group runs that differ only in a seed, by their names: `mssr-seed0` and `mssr_s1` are both `mssr`, but
    `vas-bs8` and `vas-bs16` are no seeds of one run.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(re.sub(r"[-_./](seed|s)[-_]?\d+$", "", run.name) or run.name, []).append(run)
    return groups


def _history_files(folder: Path) -> list[Path]:
    return [
        folder / TRAINER_STATE,
        folder / LOG_HISTORY,
        *(checkpoint / TRAINER_STATE for checkpoint in list_checkpoints(folder)),
    ]


def _read_history(path: Path) -> list[dict[str, Any]]:
    """The log entries in `path`, or none when it is missing, was only half written or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    history = content.get("log_history") if isinstance(content, dict) else content
    entries = history if isinstance(history, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("step"), int | float)]
