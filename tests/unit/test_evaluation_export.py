# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Exported predictions and the metrics that `evaluate.load` takes from a folder."""

import csv
import json

import evaluate
import pytest

from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.evaluate_metrics import METRICS, metric_path
from mmr1_trl.evaluation.export import export_lmms_eval, export_vlmevalkit, file_name
from mmr1_trl.evaluation.metrics import wilson_interval


PREDICTIONS = [
    {"row": row, "doc_id": row + 10, "published_id": f"p{row}", "sample": sample, "question": 'Say\t"x",\nplease'}
    | {"solution": "7", "completion": f"so {row}\n<answer>7</answer>", "extracted": "7", "correct": 1.0}
    | {"reason": "equal", "length": 3, "truncated": False, "formatted": None, "prompt_id": "h", "level": 2}
    for row in range(2)
    for sample in (-1, 0)
]


def test_lmms_eval_samples(tmp_path):
    path = export_lmms_eval(PREDICTIONS, tmp_path, "Qwen/Qwen2.5-VL-3B", "chartqa")
    assert path.parent.name == "Qwen__Qwen2.5-VL-3B" and path.name.endswith("_samples_chartqa.jsonl")
    samples = [json.loads(line) for line in path.read_text().splitlines()]
    assert [sample["doc_id"] for sample in samples] == [10, 11]
    assert samples[1]["resps"] == [["so 1\n<answer>7</answer>"]] and samples[1]["target"] == "7"


def test_vlmevalkit_table(tmp_path):
    path = export_vlmevalkit(PREDICTIONS, tmp_path, "./runs/mine", "MathVista_MINI")
    assert path == tmp_path / "runs__mine" / "runs__mine_MathVista_MINI.tsv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["index"] for row in rows] == ["p0", "p1"] and list(rows[0])[-1] == "prediction"
    assert rows[1]["prediction"] == "so 1\n<answer>7</answer>" and rows[0]["question"] == 'Say\t"x",\nplease'
    assert rows[0]["level"] == "2" and "correct" not in rows[0]


def test_names_stay_inside_their_folder():
    assert file_name("../../etc/x y") == "etc__x__y" and file_name("..") == "model"


def load(name):
    return evaluate.load(metric_path(name))


def test_answer_accuracy_metric():
    result = load("answer_accuracy").compute(
        predictions=["<answer>7</answer>", r"\boxed{0.52}", "nothing here to find", "B"],
        references=["7", "0.5", "3", "B"],
        answer_types=["number", "number", "number", "multiple_choice"],
        options=[None, None, None, ["x", "y"]],
        tolerances=[None, 0.05, None, None],
    )
    assert result["correct"] == [1.0, 1.0, 0.0, 1.0] and result["accuracy"] == 0.75
    assert result["interval"] == pytest.approx(wilson_interval(3, 4))


def test_metrics_over_several_completions():
    predictions = [["<answer>7</answer>", "<answer>7</answer>", "<answer>1</answer>"], ["<answer>1</answer>"] * 3]
    references = ["7", "2"]
    chances = load("pass_at_k").compute(predictions=predictions, references=references, k=[1, 2])
    assert chances == {"pass@1": pytest.approx(1 / 3), "pass@2": pytest.approx(0.5)}
    assert load("majority_vote").compute(predictions=predictions, references=references)["accuracy"] == 0.5


def test_an_unknown_metric_is_named():
    assert METRICS == ("answer_accuracy", "pass_at_k", "majority_vote")
    with pytest.raises(BadInputError, match="Did you mean 'pass_at_k'"):
        metric_path("pass_at")
