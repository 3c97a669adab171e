# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What an evaluation found: numbers with intervals, and every prediction they come from."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset

from mmr1_trl.data.pictures.images import open_image
from mmr1_trl.evaluation.metrics import (
    GREEDY,
    bootstrap_interval,
    greedy_only,
    is_right,
    majority_correct,
    mean_interval,
    pass_at_k,
    wilson_interval,
)
from mmr1_trl.run_folder import PREDICTIONS, SUMMARY, picture_file, write_json


@dataclass
class EvalResult:
    """
    What an evaluation found. Shares and accuracies are in [0, 1].

    Attributes:
        num_prompts (`int`):
            Prompts that were scored.
        num_samples (`int`):
            Sampled completions per prompt, 0 when only greedy decoding was asked for.
        greedy_accuracy (`float`):
            Mean score of the greedy completions.
        sampled_accuracy (`float`, *optional*):
            Mean score over prompts and samples.
        pass_at (`dict[int, float]`):
            pass@k for k = 1, 2, 4, ... and `num_samples`.
        majority_accuracy (`float`, *optional*):
            Accuracy of the majority vote over `num_samples` samples.
        interval (`dict[str, tuple[float, float]]`):
            95 % interval of each accuracy above: Wilson's for greedy decoding, a bootstrap over prompts otherwise.
        by (`dict[str, dict[str, dict]]`):
            For each category column and value: `num_prompts`, `greedy_accuracy`, `interval`, `sampled_accuracy`.
        all_right (`dict[str, dict]`):
            For each score that counts groups of rows: `num_groups`, `accuracy` (share of groups in which every greedy
            answer is right) and `interval`.
        unparsed (`float`):
            Share of greedy completions in which no answer was found.
        truncated (`float`):
            Share of greedy completions cut off at the token limit.
        formatted (`float`, *optional*):
            Share of greedy completions that follow the prompt style's format, if one was given.
        mean_length (`float`):
            Mean length of the greedy completions, in tokens.
        skipped (`list[dict]`):
            Rows left out because of a broken picture: `row`, `prompt_id`, `reason`. They are in no number above.
        seconds (`float`):
            Wall-clock time.
        predictions (`list[dict]`):
            One entry per completion, in row order: `row`, `prompt_id`, `sample` (-1 for the greedy one), `question`,
            `solution`, `completion`, `extracted`, `correct`, `reason`, `length`, `truncated`, `formatted`, the
            category columns, and of a benchmark `doc_id` and `published_id`.
    """

    num_prompts: int
    num_samples: int
    greedy_accuracy: float
    sampled_accuracy: float | None
    majority_accuracy: float | None
    pass_at: dict[int, float]
    interval: dict[str, tuple[float, float]]
    by: dict[str, dict[str, dict[str, Any]]]
    all_right: dict[str, dict[str, Any]]
    unparsed: float
    truncated: float
    formatted: float | None
    mean_length: float
    skipped: list[dict[str, Any]]
    seconds: float
    predictions: list[dict[str, Any]] = field(repr=False)

    def summary(self) -> dict[str, Any]:
        """Everything but the predictions, ready for JSON."""
        return {key: value for key, value in vars(self).items() if key != "predictions"}

    def save(self, folder: str | Path, dataset: Dataset | None = None, num_pictures: int = 96) -> None:
        """
        Write `summary.json` and `predictions.parquet`, and a few pictures for a report to show.

        Args:
            folder (`str` or `Path`):
                Where to write; created if missing.
            dataset (`datasets.Dataset`, *optional*):
                The evaluated rows. With it, the pictures of rows spread evenly over the set are written to
                `pictures/<row>.png` (the first picture of a row).
            num_pictures (`int`, *optional*, defaults to `96`):
                How many pictures to write, shrunk to 320 pixels a side.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / SUMMARY, self.summary())
        pd.DataFrame(self.predictions).to_parquet(folder / PREDICTIONS)
        pictures = picture_file(folder, 0).parent
        shutil.rmtree(pictures, ignore_errors=True)  # of an earlier evaluation, maybe of other rows
        if dataset is None or "images" not in dataset.column_names:
            return
        pictures.mkdir()
        rows = [prediction["row"] for prediction in greedy_only(self.predictions)]
        for row in rows[:: math.ceil(len(rows) / num_pictures)]:
            if images := dataset[row]["images"]:
                picture = open_image(images[0], f"row {row}").copy()
                picture.thumbnail((320, 320))
                picture.save(picture_file(folder, row))


def summarize(
    predictions: list[dict[str, Any]],
    categories: Sequence[str] = (),
    num_samples: int = 0,
    seed: int = 0,
    all_right: Mapping[str, Sequence[str]] | None = None,
) -> EvalResult:
    """
    Compute every number of an [`EvalResult`] from its predictions, for example after reading them back from disk.

    Args:
        predictions (`list[dict]`):
            Entries as in `EvalResult.predictions`.
        categories (`Sequence[str]`, *optional*):
            Keys of the entries to break the accuracy down by.
        num_samples (`int`, *optional*, defaults to `0`):
            Sampled completions per prompt.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the bootstrap.
        all_right (`Mapping[str, Sequence[str]]`, *optional*):
            Names of scores that count groups, and the keys whose values the entries of a group share.

    Returns:
        [`EvalResult`]: The numbers; `skipped` is empty and `seconds` 0.
    """
    greedy = greedy_only(predictions)
    sampled: dict[int, list[dict[str, Any]]] = {}
    for prediction in predictions:
        if prediction["sample"] != GREEDY:
            sampled.setdefault(prediction["row"], []).append(prediction)
    scores = [prediction["correct"] for prediction in greedy]
    interval = {"greedy_accuracy": mean_interval(scores, seed)}
    sampled_accuracy, majority_accuracy, pass_at = None, None, {}
    if sampled:
        prompt_means = [_mean([p["correct"] for p in group]) for group in sampled.values()]
        sampled_accuracy = _mean(prompt_means)
        interval["sampled_accuracy"] = bootstrap_interval(prompt_means, seed)
        votes = [
            majority_correct([p["extracted"] for p in group], [p["correct"] for p in group])
            for group in sampled.values()
        ]
        majority_accuracy = _mean(votes)
        interval["majority_accuracy"] = mean_interval(votes, seed)
        for k in sorted({num_samples, *(2**power for power in range(num_samples.bit_length()))}):
            pass_at[k] = _mean(
                [pass_at_k(len(group), sum(is_right(p["correct"]) for p in group), k) for group in sampled.values()]
            )
    by: dict[str, dict[str, dict[str, Any]]] = {}
    for category in categories:
        values = sorted({prediction[category] for prediction in greedy}, key=lambda value: (str(type(value)), value))
        by[category] = {str(value): _breakdown(greedy, sampled, category, value, seed) for value in values}
    formatted = [prediction["formatted"] for prediction in greedy if prediction["formatted"] is not None]
    return EvalResult(
        num_prompts=len(greedy),
        num_samples=num_samples,
        greedy_accuracy=_mean(scores),
        sampled_accuracy=sampled_accuracy,
        majority_accuracy=majority_accuracy,
        pass_at=pass_at,
        interval=interval,
        by=by,
        all_right={name: _all_right(greedy, keys) for name, keys in (all_right or {}).items()},
        unparsed=_mean([prediction["extracted"] is None for prediction in greedy]),
        truncated=_mean([prediction["truncated"] for prediction in greedy]),
        formatted=_mean(formatted) if formatted else None,
        mean_length=_mean([prediction["length"] for prediction in greedy]),
        skipped=[],
        seconds=0.0,
        predictions=predictions,
    )


def _breakdown(
    greedy: list[dict[str, Any]], sampled: dict[int, list[dict[str, Any]]], category: str, value: Any, seed: int
) -> dict[str, Any]:
    chosen = [prediction for prediction in greedy if prediction[category] == value]
    scores = [prediction["correct"] for prediction in chosen]
    samples = [p["correct"] for prediction in chosen for p in sampled.get(prediction["row"], [])]
    return {
        "num_prompts": len(chosen),
        "greedy_accuracy": _mean(scores),
        "interval": mean_interval(scores, seed),
        "sampled_accuracy": _mean(samples) if samples else None,
    }


def _all_right(greedy: list[dict[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    groups: dict[tuple[Any, ...], bool] = {}
    for prediction in greedy:
        group = tuple(prediction[key] for key in keys)
        groups[group] = groups.get(group, True) and is_right(prediction["correct"])
    right = sum(groups.values())
    interval = wilson_interval(right, len(groups))
    return {"num_groups": len(groups), "accuracy": right / len(groups), "interval": interval}


def _mean(values: Sequence[float]) -> float:
    return float(sum(values)) / len(values)
