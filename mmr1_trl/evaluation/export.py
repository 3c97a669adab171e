# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Greedy predictions in the files that lmms-eval and VLMEvalKit keep theirs in, for scoring by a judge model there."""

import csv
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd


# Keys of a prediction that are ours; what is left are the benchmark's own columns.
_OWN = {"row", "prompt_id", "sample", "question", "solution", "completion", "extracted", "correct", "reason"}
_OWN |= {"length", "truncated", "formatted", "doc_id", "published_id"}


def export_lmms_eval(predictions: Sequence[dict[str, Any]], folder: str | Path, model: str, task: str) -> Path:
    """
    Write greedy predictions as lmms-eval's `--log_samples` does: one JSON line per row.

    Args:
        predictions (`Sequence[dict]`):
            Entries as in `EvalResult.predictions`.
        folder (`str` or `Path`):
            What `--output_path` is there.
        model (`str`):
            Name of the model.
        task (`str`):
            Name of the task there.

    Returns:
        `Path`: The file, `<folder>/<model>/<date>_samples_<task>.jsonl`.
    """
    date = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    path = Path(folder) / file_name(model) / f"{date}_samples_{task}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for prediction in _greedy(predictions):
            sample = {
                "doc_id": prediction.get("doc_id", prediction["row"]),
                "target": prediction["solution"],
                "input": prediction["question"],
                "resps": [[prediction["completion"]]],
                "filtered_resps": [prediction["completion"]],
                "mmr1_accuracy": prediction["correct"],
            }
            file.write(json.dumps(sample, ensure_ascii=False) + "\n")
    return path


def export_vlmevalkit(predictions: Sequence[dict[str, Any]], folder: str | Path, model: str, dataset: str) -> Path:
    """
    Write greedy predictions as a table that VLMEvalKit takes up (`PRED_FORMAT=tsv`, `--reuse`).

    Args:
        predictions (`Sequence[dict]`):
            Entries as in `EvalResult.predictions`.
        folder (`str` or `Path`):
            What `--work-dir` is there.
        model (`str`):
            Name of the model.
        dataset (`str`):
            Name of the dataset there.

    Returns:
        `Path`: The file, `<folder>/<model>/<model>_<dataset>.tsv`.
    """
    name = file_name(model)
    path = Path(folder) / name / f"{name}_{dataset}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "index": prediction.get("published_id", prediction["row"]),
            "question": prediction["question"],
            "answer": prediction["solution"],
            **{key: value for key, value in prediction.items() if key not in _OWN},
            "prediction": prediction["completion"],
        }
        for prediction in _greedy(predictions)
    ]
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False, encoding="utf-8", quoting=csv.QUOTE_ALL)
    return path


def file_name(name: str) -> str:
    """A name as a part of a path: `Qwen/Qwen2.5-VL-3B` is `Qwen__Qwen2.5-VL-3B`."""
    return re.sub(r"[^\w.-]+", "__", name).strip("_.") or "model"


def _greedy(predictions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [prediction for prediction in predictions if prediction["sample"] == -1]
