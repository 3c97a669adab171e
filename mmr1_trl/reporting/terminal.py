# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A training on the terminal: one line per log step with what matters, instead of a dictionary of forty keys."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from transformers.trainer_callback import CallbackHandler

from mmr1_trl.reporting.runs import ACCURACY, ends


LENGTH = "completions/mean_length"
# Title of a column and the metric in it; a metric that a run does not have leaves its column out.
COLUMNS = {"reward": "reward", "accuracy": ACCURACY, "entropy": "entropy", "length": LENGTH}
WIDTH = 10  # characters of a column
REPEAT_TITLES = 25  # lines between two lines of titles


class Bar(ProgressCallback):
    """The progress bar of transformers, without the dictionaries."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        pass


class TrainingTable(TrainerCallback):
    """
    One line per log step: step, reward, accuracy, entropy, length, tokens per second, time left.

    The metrics that are not shown are in the logs of the trainer's state, and wherever `report_to` sends them.
    """

    def __init__(self) -> None:
        self.console = Console(force_jupyter=False, highlight=False, width=WIDTH * (len(COLUMNS) + 3))
        self.titles: list[str] = []
        self._lines = 0
        self._start = self._last = (0.0, 0.0)  # seconds, and steps at the start, tokens at the last line

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start = time.monotonic(), state.global_step
        self._last = time.monotonic(), state.num_input_tokens_seen

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero or not logs:
            return
        if "loss" in logs:
            now, speed = time.monotonic(), ""
            if (tokens := logs.get("num_tokens")) is not None:  # steps between two generations have none
                rate = (tokens - self._last[1]) / max(now - self._last[0], 1e-9)
                speed = f"{rate:.0f}" if rate < 1e6 else f"{rate:.1e}"
                self._last = now, tokens
            begun, first_step = self._start
            left = (now - begun) / max(state.global_step - first_step, 1) * (state.max_steps - state.global_step)
            values = {title: logs[name] for title, name in COLUMNS.items() if name in logs}
            self._line(str(state.global_step), values, speed, duration(left))
        elif any(name.startswith("eval_") for name in logs):
            values = {title: logs[f"eval_{name}"] for title, name in COLUMNS.items() if f"eval_{name}" in logs}
            self._line("eval", values, "", "")

    def _line(self, step: str, values: Mapping[str, Any], speed: str, left: str) -> None:
        """Write a line, after the titles of the columns where it is time for them."""
        titles = self.titles or list(values)
        show = self._lines % REPEAT_TITLES == 0
        table = Table(box=None, show_header=show, padding=(0, 0), header_style="bold")
        for title in ("step", *titles, "tokens/s", "left"):
            table.add_column(title, justify="right", min_width=WIDTH, max_width=WIDTH, no_wrap=True)
        cells = [_number(values[title], 1 if title == "length" else 3) if title in values else "" for title in titles]
        table.add_row(step, *cells, speed, left)
        self.titles, self._lines = titles, self._lines + 1
        with tqdm.external_write_mode():
            self.console.print(table)


def use_table(callbacks: CallbackHandler) -> None:
    """Write a [`TrainingTable`] where transformers would print dictionaries, in a training with these callbacks."""
    shown = [callbacks.pop_callback(kind) for kind in (ProgressCallback, PrinterCallback, DEFAULT_PROGRESS_CALLBACK)]
    if isinstance(shown[0], ProgressCallback):  # else there is no bar, or a notebook's table of the loss
        callbacks.add_callback(Bar)
    callbacks.add_callback(TrainingTable)


def gain(log_history: Sequence[Mapping[str, Any]]) -> str:
    """
    Return how a run went from its first tenth to its last, such as `"reward 0.382 -> 0.910"`.

    Args:
        log_history (`Sequence[Mapping]`):
            The log lines of [`~transformers.TrainerState`].

    Returns:
        `str`: Means over a tenth of the log steps each, at least one; empty where fewer than two lines have a reward.
    """
    said = []
    for title in ("reward", "accuracy", "entropy"):
        values = [line[COLUMNS[title]] for line in log_history if line.get(COLUMNS[title]) is not None]
        if len(values) >= 2:
            first, last = ends(values)
            said.append(f"{title} {first:.3f} -> {last:.3f}")
    return ", ".join(said)


def duration(seconds: float) -> str:
    """Return a time as somebody would say it: `"12 s"`, `"3:05"` (minutes) or `"2:10:00"` (hours)."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _number(value: float | None, digits: int) -> str:
    if value is None:  # a batch in which nothing could be scored
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 1e4 else f"{value:.2e}"
