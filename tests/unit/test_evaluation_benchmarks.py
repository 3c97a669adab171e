# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Every benchmark loader on rows with the published columns and types, without the network."""

import io
import json

import pytest
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as PILImage

from mmr1_trl.cli import main
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.benchmarks import BENCHMARKS, get_benchmark, load_benchmark, prepare_benchmark
from mmr1_trl.evaluation.benchmarks.base import inline_choices
from mmr1_trl.rewards.scoring import check_gold, make_question, score_answers


TEXT, NUMBER = Value("string"), Value("float64")
CHOICES = "\nA. 3 cm\nB. 4 cm\nC. 5 cm\nD. 6 cm"


def png():
    buffer = io.BytesIO()
    PILImage.new("RGB", (200, 100), "white").save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def vista(**changes):
    row = {"pid": "1", "question": "How tall?", "image": "images/1.jpg", "choices": None, "unit": None}
    row |= {"precision": None, "answer": "7", "question_type": "free_form", "answer_type": "integer"}
    return row | {"metadata": {"task": "geometry", "grade": "high school"}, "query": "Hint ..."} | changes


def verse(**changes):
    row = {"sample_index": "1", "problem_index": "1", "problem_version": "Text Lite", "question_type": "multi-choice"}
    row |= {
        "question": "Find x." + CHOICES,
        "answer": "C",
        "metadata": {"subject": "Plane Geometry", "split": "testmini"},
    }
    return row | changes


def vision(**changes):
    row = {"id": "1", "question": "How many?\n<image1>", "options": [], "image": "images/1.jpg", "answer": "12"}
    return row | {"solution": None, "level": 3, "subject": "counting"} | changes


# name -> (features without the picture, rows, a right completion per row, a wrong completion per row)
FIXTURES = {
    "mathvista": (
        {
            "pid": TEXT,
            "question": TEXT,
            "image": TEXT,
            "choices": List(TEXT),
            "unit": TEXT,
            "precision": NUMBER,
            "answer": TEXT,
            "question_type": TEXT,
            "answer_type": TEXT,
            "metadata": {"task": TEXT, "grade": TEXT},
            "query": TEXT,
        },
        [
            vista(),
            vista(answer="1.2", answer_type="float", precision=1.0, unit="m"),
            vista(answer="Yes", answer_type="text", question_type="multi_choice", choices=["Yes", "No"]),
            vista(answer="[1, 2]", answer_type="list"),
        ],
        ["7", "1.23", "A", "[1, 2]"],
        ["8", "1.3", "No", "[2, 3]"],
    ),
    "mathverse": (
        {
            "sample_index": TEXT,
            "problem_index": TEXT,
            "problem_version": TEXT,
            "question": TEXT,
            "answer": TEXT,
            "question_type": TEXT,
            "metadata": {"subject": TEXT, "split": TEXT},
        },
        [
            verse(),
            verse(question="", problem_version="Vision Only"),
            verse(question="Find y.", question_type="free-form", answer="2\\sqrt{3}"),
        ],
        ["5 cm", "C", "\\sqrt{12}"],
        ["B", "D", "\\sqrt{13}"],
    ),
    "mathvision": (
        {
            "id": TEXT,
            "question": TEXT,
            "options": List(TEXT),
            "image": TEXT,
            "answer": TEXT,
            "solution": TEXT,
            "level": Value("int64"),
            "subject": TEXT,
        },
        [
            vision(),
            vision(question="Which one?\n<image1>", options=["A", "B", "C", "D", "E"], answer="D"),
            vision(question="From <image1> to <image2>?", options=["one", "two", "three"], answer="B"),
        ],
        ["12", "D", "two"],
        ["13", "E", "three"],
    ),
    "logicvista": (
        {"question": TEXT, "answer": TEXT, "reasoning": TEXT},
        [
            {"question": "Which follow? Select from (A) to (D).", "answer": "A, C", "reasoning": "..."},
            {"question": "Which?" + CHOICES, "answer": "B", "reasoning": "..."},
        ],
        ["C, A", "B"],
        ["A", "C"],
    ),
    "chartqa": (
        {"type": TEXT, "question": TEXT, "answer": TEXT},
        [
            {"type": "human_test", "question": "How much?", "answer": "100"},
            {"type": "augmented_test", "question": "Who?", "answer": "Female"},
        ],
        ["104", "female"],
        ["106", "male"],
    ),
    "mmk12": (
        {"id": TEXT, "question": TEXT, "answer": TEXT, "subject": TEXT},
        [{"id": "1", "question": "<image>\nHow long?" + CHOICES, "answer": "D", "subject": "physics"}],
        ["D"],
        ["A"],
    ),
    "hallusionbench": (
        {"category": TEXT, "subcategory": TEXT, "question": TEXT, "gt_answer": TEXT, "gt_answer_details": TEXT},
        [
            {
                "category": "VD",
                "subcategory": "illusion",
                "question": "Same?",
                "gt_answer": "1",
                "gt_answer_details": "",
            },
            {"category": "VS", "subcategory": "chart", "question": "More?", "gt_answer": "0", "gt_answer_details": ""},
        ],
        ["Yes", "no"],
        ["no", "yes"],
    ),
    "screenspot": (
        {"file_name": TEXT, "bbox": List(NUMBER), "instruction": TEXT, "data_type": TEXT, "data_source": TEXT},
        [
            {
                "file_name": "1.png",
                "bbox": [0.5, 0.2, 0.6, 0.4],
                "instruction": "close",
                "data_type": "icon",
                "data_source": "ios",
            }
        ],
        ["(110, 30)"],
        ["(130, 30)"],
    ),
    "pets37": (
        {"image_id": TEXT, "label": ClassLabel(names=["abyssinian", "great_pyrenees"])},
        [{"image_id": "a", "label": 0}, {"image_id": "b", "label": 1}],
        ["Abyssinian", "Great Pyrenees"],
        ["great pyrenees", "abyssinian"],
    ),
}


def raw_rows(name, without=()):
    features, rows, _, _ = FIXTURES[name]
    picture = BENCHMARKS[name].image
    features = Features({key: value for key, value in features.items() if key not in without} | {picture: Image()})
    rows = [{key: value for key, value in row.items() if key not in without} | {picture: png()} for row in rows]
    return Dataset.from_list(rows, features=features)


def test_every_benchmark_has_a_fixture():
    assert set(FIXTURES) == set(BENCHMARKS)


@pytest.mark.parametrize("name", FIXTURES)
def test_rows_are_ready_and_scored_as_the_benchmark_does(name):
    benchmark = BENCHMARKS[name]
    rows = prepare_benchmark(benchmark, raw_rows(name))
    _, raw, right, wrong = FIXTURES[name]
    assert len(rows) == len(raw)
    assert set(benchmark.by) <= set(rows.column_names)
    questions = []
    for row in rows:
        assert row["prompt"][-1]["role"] == "user" and "<image" not in row["prompt"][-1]["content"]
        assert len(row["images"]) == 1 and row["images"][0]["bytes"]
        assert check_gold(row["solution"], row["answer_type"], row.get("options")) is None
        questions.append(
            make_question(
                row["solution"], *(row.get(key) for key in ("answer_type", "options", "tolerance", "precision"))
            )
        )
    for completions, expected in ((right, 1.0), (wrong, 0.0)):
        texts = [f"<think> so </think> <answer> {completion} </answer>" for completion in completions]
        assert [score.correct for score in score_answers(texts, questions)] == [expected] * len(raw)


def test_choices_are_offered_once():
    rows = prepare_benchmark(BENCHMARKS["mathvista"], raw_rows("mathvista"))
    assert rows[2]["prompt"][0]["content"].count("Yes") == 1
    rows = prepare_benchmark(BENCHMARKS["mmk12"], raw_rows("mmk12"))
    assert rows[0]["prompt"][0]["content"].count("6 cm") == 1
    assert rows[0]["options"] == ["3 cm", "4 cm", "5 cm", "6 cm"]


def test_screen_boxes_become_pixels():
    row = prepare_benchmark(BENCHMARKS["screenspot"], raw_rows("screenspot"))[0]
    assert json.loads(row["solution"]) == pytest.approx([100, 20, 120, 40])


def test_inline_choices():
    assert inline_choices("x?\n(A) 1\n(B) 2") == ["1", "2"]
    assert inline_choices("x?\nChoices:\nA:1\nB:2\nC:3") == ["1", "2", "3"]
    assert inline_choices("x?\nA. 1\nC. 2") is None
    assert inline_choices("x?\nA. 1") is None
    assert inline_choices("A good question?") is None


@pytest.mark.parametrize(("name", "column"), [("mathvista", "metadata"), ("chartqa", "answer"), ("pets37", "label")])
def test_a_changed_schema_is_named(name, column):
    with pytest.raises(BadInputError, match=f"'{name}' has no '{column}'"):
        prepare_benchmark(BENCHMARKS[name], raw_rows(name, without=(column,)))
    with pytest.raises(BadInputError, match="has no column"):
        prepare_benchmark(BENCHMARKS[name], raw_rows(name).remove_columns(BENCHMARKS[name].image))


def test_sources_are_tried_in_order(monkeypatch):
    asked = []

    def load_raw(name, split, config):
        asked.append((name, config, split))
        if name.startswith("lmms-lab-encoder/"):
            raise BadInputError(f"{name} is not there.")
        return raw_rows("chartqa"), None

    monkeypatch.setattr("mmr1_trl.data.load.load_raw", load_raw)
    assert len(load_benchmark(BENCHMARKS["chartqa"], num_rows=2)) == 2
    assert asked == [("lmms-lab-encoder/ChartQA", None, "test[:2]"), ("lmms-lab/ChartQA", None, "test[:2]")]
    monkeypatch.setattr("mmr1_trl.data.load.load_raw", lambda *_: load_raw("lmms-lab-encoder/x", "", None))
    with pytest.raises(BadInputError, match="'chartqa' cannot be loaded"):
        load_benchmark(BENCHMARKS["chartqa"])


def test_an_unknown_benchmark_is_refused():
    with pytest.raises(BadInputError, match="Did you mean 'chartqa'"):
        get_benchmark("chartqaa")


def test_benchmarks_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "home"))
    loaded = {source[0]: name for name, benchmark in BENCHMARKS.items() for source in benchmark.sources}
    monkeypatch.setattr("mmr1_trl.data.load.load_raw", lambda name, *_: (raw_rows(loaded[name]), None))
    words = ["--model", "figures/tiny", "--max_new_tokens", "3", "--output_dir", str(tmp_path / "out")]
    assert main(["eval", *words, "--benchmarks", "chartqa", "figures", "screenspot", "--num_rows", "4"]) == 0
    overview = capsys.readouterr().out.splitlines()[-6:]
    for name, prompts in (("chartqa", 2), ("figures", 4), ("screenspot", 1)):
        assert json.loads((tmp_path / "out" / name / "summary.json").read_text())["num_prompts"] == prompts
        assert any(line.startswith(name) and f" {prompts} " in line for line in overview)
    assert main(["eval", *words, "--benchmarks", "chartqaa"]) == 2
    assert "Did you mean 'chartqa'" in capsys.readouterr().err
