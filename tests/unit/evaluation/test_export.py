# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Exported predictions and the metrics that `evaluate.load` takes from a folder."""

import ast
import json
import re
from datetime import datetime

import evaluate
import pandas as pd
import pytest
from fixtures.benchmarks import FIXTURES, raw_rows

from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.benchmarks import BENCHMARKS, prepare_benchmark
from mmr1_trl.evaluation.evaluate_metrics import METRICS, metric_path
from mmr1_trl.evaluation.export import export_lmms_eval, export_vlmevalkit, file_name
from mmr1_trl.evaluation.metrics import wilson_interval


PREDICTIONS = [
    {"row": row, "doc_id": row + 10, "published_id": f"p{row}", "sample": sample, "question": 'Say\t"x",\nplease'}
    | {"solution": "7", "extracted": (None if row else "7"), "correct": 1.0 - row}
    | {"completion": f"so {row}\n" + ("nothing" if row else "<answer>7</answer>")}
    | {"reason": "equal", "length": 3, "truncated": False, "formatted": None, "prompt_id": "h", "level": 2}
    for row in range(2)
    for sample in (-1, 0)
]


def from_log(folder, limit=None, have_limits=False, model_name=None):
    """The steps by which lmms-eval's model `from_log` reads logs; there every exception just drops the file."""
    tasks = {}
    for path in sorted(path for path in folder.rglob("*") if path.name.endswith(".json")):
        log = json.loads(path.read_text())
        args = log["args"]
        assert "model_args" in args and (model_name is None or model_name == args["model"])
        if not have_limits and args["limit"] is not None:
            continue
        datetime.strptime(log["time"], "%m%d_%H%M")
        tasks[log["model_configs"]["task"]] = {data["doc_id"]: data["resps"][0][0] for data in log["logs"]}
    return tasks


def test_lmms_eval_reads_the_answers(tmp_path):
    path = export_lmms_eval(PREDICTIONS, tmp_path, "Qwen/Qwen2.5-VL-3B", "chartqa")
    assert path.parent.name == "Qwen__Qwen2.5-VL-3B" and path.name.endswith("_chartqa.json")
    assert from_log(tmp_path, model_name="Qwen/Qwen2.5-VL-3B") == {"chartqa": {10: "7", 11: "so 1\nnothing"}}
    log = json.loads(path.read_text())["logs"]
    assert log[0]["completion"] == "so 0\n<answer>7</answer>" and log[1]["target"] == "7"


def test_a_part_of_a_task_is_marked_as_such(tmp_path):
    export_lmms_eval(PREDICTIONS, tmp_path, "m", "chartqa", limit=2)
    assert from_log(tmp_path) == {}
    assert list(from_log(tmp_path, have_limits=True)["chartqa"]) == [10, 11]


def test_places_are_four_fractions_of_the_picture(tmp_path):
    seen = {"image_size": [200, 100], "seen_size": [112, 56], "coordinates": "resized"}
    rows = [seen | {"answer_type": "point"}, seen | {"answer_type": "box"}, seen | {"answer_type": "point"}]
    replies = ["(61.6, 14)", "[28, 14, 84, 28]", "somewhere"]
    predictions = [PREDICTIONS[0] | {"row": i, "doc_id": i, "extracted": reply} for i, reply in enumerate(replies)]
    export_lmms_eval(predictions, tmp_path, "m", "screenspot_rec_test", rows=rows)
    answers = from_log(tmp_path)["screenspot_rec_test"]
    assert [json.loads(answers[i]) for i in range(2)] == [[0.55, 0.25, 0.55, 0.25], [0.25, 0.25, 0.75, 0.5]]
    assert answers[2] == "somewhere"


def vlmevalkit_table(folder, model, dataset):
    """VLMEvalKit's way to a prediction file: the newest run folder of a model, the file by the dataset's name."""
    runs = [run for run in (folder / model).iterdir() if re.fullmatch(r"T\d{8}-\d{6}", run.name)]
    found = [path for path in max(runs).iterdir() if f"{model}_{dataset}." in path.name]
    return pd.read_csv(found[0], sep="\t")


def test_vlmevalkit_table(tmp_path):
    export_vlmevalkit(PREDICTIONS, tmp_path, "./runs/mine", "MathVista_MINI")
    table = vlmevalkit_table(tmp_path, "runs__mine", "MathVista_MINI")
    assert table["index"].tolist() == ["p0", "p1"] and table["question"][0] == 'Say\t"x",\nplease'
    assert table["prediction"].tolist() == ["7", "so 1\nnothing"]
    assert table["completion"][0] == "so 0\n<answer>7</answer>" and "correct" not in table


def exported(name, tmp_path):
    rows = prepare_benchmark(BENCHMARKS[name], raw_rows(name))
    predictions = [
        {**PREDICTIONS[0], "row": row, "published_id": example["published_id"], "extracted": answer}
        for row, (example, answer) in enumerate(zip(rows, FIXTURES[name][2]))
    ]
    export_vlmevalkit(predictions, tmp_path, "m", BENCHMARKS[name].vlmevalkit, rows["vlmevalkit"][:])
    return vlmevalkit_table(tmp_path, "m", BENCHMARKS[name].vlmevalkit)


def test_vlmevalkit_finds_the_columns_that_its_scorers_read(tmp_path):
    vista = exported("mathvista", tmp_path)
    choice = vista.iloc[4]
    assert dict(zip("ABC", ast.literal_eval(choice["choices"])))[choice["answer_option"]] == choice["answer"] == "A"
    assert choice["prediction"] == choice["answer_option"] == "B" and vista["index"].tolist() == [1] * 5
    assert int(vista["answer"][0]) == int(vista["prediction"][0]) and vista["task"][0] == "geometry"
    assert ast.literal_eval(vista["skills"][0]) == ["algebraic reasoning", "geometry reasoning"]
    vision = exported("mathvision", tmp_path)
    assert [len(ast.literal_eval(choices)) for choices in vision["choices"]] == [0, 5, 3, 5]
    assert vision["category"][0] == "counting" and vision["answer"][3] == "C"
    verse = exported("mathverse", tmp_path)
    metadata = [json.loads(cell.replace("'", '"')) for cell in verse["metadata"]]
    assert metadata[0]["subfield"] == "Area" and verse["question_for_eval"][0].startswith("Find x, and")
    assert {"problem_version", "answer"} <= set(verse)
    chart = exported("chartqa", tmp_path)
    assert chart["split"].tolist() == ["test_human", "test_augmented"]
    hallusion = exported("hallusionbench", tmp_path)
    assert [index.split("_")[3:] for index in hallusion["index"][:3]] == [list("000"), list("010"), list("001")]
    assert hallusion["answer"].tolist() == ["Yes", "No", "No", "No"] and hallusion["l2-category"][3] == "chart"


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
