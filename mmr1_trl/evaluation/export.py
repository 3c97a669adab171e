# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Greedy predictions in the files that lmms-eval and VLMEvalKit read back, for scoring by their rules or judges."""

import csv
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from mmr1_trl.evaluation.metrics import greedy_only
from mmr1_trl.rewards.grounding.boxes import Frame, frame_of
from mmr1_trl.rewards.grounding.locations import locate


def export_lmms_eval(
    predictions: Sequence[dict[str, Any]],
    folder: str | Path,
    model: str,
    task: str,
    limit: int | None = None,
    rows: Sequence[dict[str, Any]] | None = None,
) -> Path:
    """
    Write greedy predictions as lmms-eval's model `from_log` reads them: one JSON file per task.

    A rule-based scorer there takes the whole response for the answer, so the response is the extracted answer; the
    completion stands beside it. Where no answer was found it is the completion.

    Args:
        predictions (`Sequence[dict]`):
            Entries as in `EvalResult.predictions`.
        folder (`str` or `Path`):
            What `--model_args logs=` is there.
        model (`str`):
            Name of the model, `model_name` there.
        task (`str`):
            Name of the task there.
        limit (`int`, *optional*):
            How many rows were evaluated, if not all: `--limit` there, which `from_log` takes with `have_limits=true`.
        rows (`Sequence[dict]`, *optional*):
            The evaluated rows without their pictures. Points and boxes are then written as four fractions of the
            picture's sides, as ScreenSpot's scorer reads them, a point as a box without area.

    Returns:
        `Path`: The file, `<folder>/<model>/<date>_<task>.json`.
    """
    time = datetime.now(UTC)
    logs = [
        {
            "doc_id": prediction.get("doc_id", prediction["row"]),
            "target": prediction.get("accepted_answers") or prediction["solution"],
            "input": prediction["question"],
            "resps": [[answer_text(prediction, rows)]],
            "filtered_resps": [answer_text(prediction, rows)],
            "completion": prediction["completion"],
            "mmr1_accuracy": prediction["correct"],
        }
        for prediction in greedy_only(predictions)
    ]
    log = {
        "args": {"model": model, "model_args": "", "limit": limit},
        "model_configs": {"task": task},
        "time": time.strftime("%m%d_%H%M"),
        "logs": logs,
    }
    path = Path(folder) / file_name(model) / f"{time:%Y%m%d_%H%M%S}_{task}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(log, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path


def export_vlmevalkit(
    predictions: Sequence[dict[str, Any]],
    folder: str | Path,
    model: str,
    dataset: str,
    tables: Sequence[str] | None = None,
) -> Path:
    """
    Write greedy predictions as a run that VLMEvalKit takes up: `run.py --mode eval --reuse`.

    Args:
        predictions (`Sequence[dict]`):
            Entries as in `EvalResult.predictions`.
        folder (`str` or `Path`):
            What `--work-dir` is there.
        model (`str`):
            Name of the model; what `--model` has to be there is the folder's name.
        dataset (`str`):
            Name of the dataset there.
        tables (`Sequence[str]`, *optional*):
            What VLMEvalKit's table holds of every evaluated row, as JSON: its scorers read `answer` and the columns
            of the benchmark from the predictions.

    Returns:
        `Path`: The file, `<folder>/<model>/T<date>-<time>/<model>_<dataset>.tsv`. The response is the extracted
        answer where there is one; the column `completion` has the rest.
    """
    name = file_name(model)
    path = Path(folder) / name / f"T{datetime.now(UTC):%Y%m%d-%H%M%S}" / f"{name}_{dataset}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for prediction in greedy_only(predictions):
        index = prediction.get("published_id", prediction["row"])
        # Scorers of sets with several answers (DocVQA, TextVQA) read a list as Python writes it.
        answer = prediction.get("accepted_answers") or prediction["solution"]
        row = {"index": index, "question": prediction["question"], "answer": answer}
        if tables is not None:
            row |= json.loads(tables[prediction["row"]])
        rows.append(row | {"prediction": answer_text(prediction), "completion": prediction["completion"]})
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False, encoding="utf-8", quoting=csv.QUOTE_ALL)
    return path


def answer_text(prediction: dict[str, Any], rows: Sequence[dict[str, Any]] | None = None) -> str:
    """The answer that was read from a completion, or the completion where none was found."""
    answer = prediction["extracted"] or prediction["completion"]
    row = {} if rows is None else rows[prediction["row"]]
    if row.get("answer_type") not in ("point", "box"):
        return answer
    frame = frame_of(row.get("coordinates"), row["image_size"], row.get("seen_size"))
    numbers = locate(answer, row["answer_type"])
    place = frame.place_point if row["answer_type"] == "point" else frame.place_box
    if numbers is None or (placed := place(numbers)) is None:
        return answer
    fractions = Frame("fractions", frame.stored).from_stored(placed if len(placed) == 4 else placed * 2)
    return f"[{', '.join(f'{number:.4f}' for number in fractions)}]"


def file_name(name: str) -> str:
    """A name as a part of a path: `Qwen/Qwen2.5-VL-3B` is `Qwen__Qwen2.5-VL-3B`."""
    return re.sub(r"[^\w.-]+", "__", name).strip("_.") or "model"
