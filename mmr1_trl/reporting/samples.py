# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Completions to browse, from saved evaluations and from the completions that a training run logged."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.compare import Comparison
from mmr1_trl.evaluation.metrics import greedy_only, is_right
from mmr1_trl.reporting.page import Answer, Sample
from mmr1_trl.reporting.runs import Run, read_table
from mmr1_trl.run_folder import PREDICTIONS, SUMMARY, picture_file, read_json


# What is shown of every evaluation.
_SHOWN = {
    "num_prompts", "num_samples", "greedy_accuracy", "sampled_accuracy", "majority_accuracy", "pass_at", "interval",
    "by", "unparsed", "truncated", "formatted", "mean_length", "skipped",
}  # fmt: skip
# Columns of the logged completions that are neither a reward nor shown as one.
_NOT_REWARDS = ("step", "advantage", "sample", "row", "prompt_id")


@dataclass
class Evaluation:
    """A saved evaluation: `summary` is the content of `summary.json`, `predictions` as in `EvalResult.predictions`."""

    folder: Path
    summary: dict[str, Any]
    predictions: list[dict[str, Any]]

    def picture(self, row: int) -> bytes | None:
        """The saved picture of dataset row `row`, if it is one of those that were saved."""
        path = picture_file(self.folder, row)
        return path.read_bytes() if path.is_file() else None


def is_evaluation(folder: str | Path) -> bool:
    """Whether `folder` holds a saved evaluation."""
    return (Path(folder) / PREDICTIONS).is_file() and (Path(folder) / SUMMARY).is_file()


def load_evaluation(folder: str | Path) -> Evaluation:
    """
    Read what `EvalResult.save` wrote.

    Raises:
        `BadInputError`: If `folder` holds no evaluation.
    """
    folder = Path(folder)
    if not is_evaluation(folder):
        raise BadInputError(f"{str(folder)!r} holds no evaluation: expected {SUMMARY} and {PREDICTIONS}.")
    summary = read_json(folder / SUMMARY)
    if missing := sorted(_SHOWN - summary.keys()):
        raise BadInputError(f"{folder / SUMMARY} is not of an evaluation by `mmr1 eval`: it has no {missing[0]!r}.")
    table = read_table(folder / PREDICTIONS).astype(object)
    return Evaluation(folder, summary, table.where(table.notna(), None).to_dict("records"))


def evaluation_samples(
    evaluations: Mapping[str, Evaluation], limit: int = 24, rows: Iterable[int] | None = None
) -> list[Sample]:
    """
    Greedy completions of the same rows in several evaluations, one under the other.

    Args:
        evaluations (`Mapping[str, Evaluation]`):
            Evaluations of the same dataset by label, e.g. `{"before": ..., "after": ...}`.
        limit (`int`, *optional*, defaults to `24`):
            Most rows to take, spread evenly; only rows with a saved picture if there are any.
        rows (`Iterable[int]`, *optional*):
            The dataset rows to choose from; all by default.

    Returns:
        `list[Sample]`: One per row.
    """
    greedy = {
        label: {p["row"]: p for p in greedy_only(evaluation.predictions)} for label, evaluation in evaluations.items()
    }
    first = next(iter(evaluations.values()))
    shared_rows = set.intersection(*(set(predictions) for predictions in greedy.values()))
    chosen = sorted(shared_rows if rows is None else shared_rows & set(rows))
    chosen = [row for row in chosen if first.picture(row) is not None] or chosen
    samples = []
    for row in chosen[:: math.ceil(len(chosen) / limit) or 1]:
        answers = [
            Answer(
                label=label if len(greedy) > 1 else "",
                completion=predictions[row]["completion"],
                extracted=predictions[row]["extracted"],
                correct=is_right(predictions[row]["correct"]),
            )
            for label, predictions in greedy.items()
        ]
        shared = next(iter(greedy.values()))[row]
        tag = " · ".join(f"{name} {shared[name]}" for name in ("family", "level") if name in shared)
        accepted = shared.get("accepted_answers")
        right = str(shared["solution"]) if accepted is None else " | ".join(accepted)
        samples.append(Sample(first.picture(row), shared["question"], right, answers, tag))
    return samples


def compared_samples(evaluations: Mapping[str, Evaluation], comparison: Comparison) -> dict[str, list[Sample]]:
    """Completions of two evaluations: those that turned right, those that turned wrong, and the others."""
    changed = {*comparison.wins, *comparison.losses}
    same = [p["row"] for p in next(iter(evaluations.values())).predictions if p["row"] not in changed]
    sections = {"Turned right": comparison.wins, "Turned wrong": comparison.losses, "As before": same}
    samples = {title: evaluation_samples(evaluations, 12, rows) for title, rows in sections.items()}
    return {title: chosen for title, chosen in samples.items() if chosen}


def run_samples(run: Run, limit: int = 12) -> dict[str, list[Sample]]:
    """
    Completions that a training run logged at its start, middle and end.

    Besides TRL's own columns these are used when present: `solution`, `extracted`, and `picture` (the encoded bytes
    of the first picture).

    Args:
        run ([`Run`]):
            A run trained with `log_completions=True`.
        limit (`int`, *optional*, defaults to `12`):
            Most completions to take from each stage, spread evenly.

    Returns:
        `dict[str, list[Sample]]`: By title; empty when nothing was logged.
    """
    sections = {}
    for stage, table in run.stages().items():
        if "picture" in table:  # pictures may have been kept for a part of the rows only
            table = table[table["picture"].notna()] if table["picture"].notna().any() else table
        table = table.iloc[:: math.ceil(len(table) / limit)].astype(object)
        records = table.where(table.notna(), None).to_dict("records")
        title = f"Training, {stage} (step {records[0]['step']})"
        sections[title] = [_training_sample(record) for record in records]
    return sections


def _training_sample(record: Mapping[str, Any]) -> Sample:
    rewards: dict[str, float | None] = {
        name.removesuffix("_reward"): value
        for name, value in record.items()
        if name not in _NOT_REWARDS and isinstance(value, int | float) and not isinstance(value, bool)
    }
    correct = next(
        (is_right(value) for name, value in rewards.items() if name == "accuracy" and value is not None), None
    )
    if record["advantage"] is not None:
        rewards["advantage"] = record["advantage"]
    answer = Answer("", message_text(record["completion"]), record.get("extracted") or None, correct, rewards)
    return Sample(record.get("picture"), message_text(record["prompt"]), record.get("solution"), [answer])


def message_text(messages: Any) -> str:
    """The text of the last message: contents may be a string or blocks, and the whole may be a plain string."""
    if isinstance(messages, str):
        return messages
    content = messages[-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block.get("text"))
