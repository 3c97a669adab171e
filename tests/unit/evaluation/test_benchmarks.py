# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Every benchmark loader on rows with the published columns and types, without the network."""

import json
from functools import partial

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from fixtures.benchmarks import FIXTURES, raw_rows, write_copies

from mmr1_trl.cli import main
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation import generation
from mmr1_trl.evaluation.benchmarks import BENCHMARKS, get_benchmark, load_benchmark, prepare_benchmark
from mmr1_trl.evaluation.benchmarks.base import inline_choices
from mmr1_trl.evaluation.results import summarize
from mmr1_trl.reporting.tables import evaluation_table
from mmr1_trl.rewards.scoring import check_gold, make_question, score_answers


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


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("mathvision", "question", None, r"'mathvision', row 1 cannot be read"),
        ("chartqa", "answer", None, r"'chartqa', row 1 cannot be read"),
        ("pets37", "label", None, r"'pets37', row 1 cannot be read"),
        ("r1_onevision", "image", None, r"'r1_onevision', row 1: .*'image'"),
        ("r1_onevision", "image", "no picture at all", r"'r1_onevision', row 1: .*'image'"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named(name, column, value, message):
    raw = raw_rows(name)
    rows = raw.with_format("arrow")[:].to_pylist()
    rows[1][column] = value
    with pytest.raises(BadInputError, match=message):
        prepare_benchmark(BENCHMARKS[name], Dataset.from_list(rows, features=raw.features))


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


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    return write_copies(tmp_path_factory.mktemp("copies"))


def test_every_benchmark_by_command_on_a_local_copy(tmp_path, monkeypatch, capsys, copies):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "home"))
    words = ["--model", "figures/tiny", "--max_new_tokens", "3", "--output_dir", str(tmp_path / "out"), "--num_rows"]
    words += ["4", "--benchmarks_folder", str(copies), "--export", "lmms_eval", "vlmevalkit"]
    names = [*BENCHMARKS, "figures"]
    assert main(["eval", *words, "--benchmarks", *names]) == 0
    overview = capsys.readouterr().out.splitlines()[-len(names) - 2 :]
    for name in names:
        prompts = 4 if name == "figures" else min(4, len(FIXTURES[name][1]))
        folder = tmp_path / "out" / name
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["num_prompts"] == prompts and set(summary["by"]) >= set(get_by(name))
        assert any(line.startswith(name) and f" {prompts} " in line for line in overview)
        log = json.loads(next(folder.glob("lmms_eval/*/*.json")).read_text())
        assert [sample["doc_id"] for sample in log["logs"]] == list(range(prompts)) and log["args"]["limit"] == 4
        table = pd.read_csv(next(folder.glob("vlmevalkit/*/T*/*.tsv")), sep="\t", keep_default_na=False, dtype=str)
        assert table["prediction"].tolist() == [sample["resps"][0][0] for sample in log["logs"]]
    assert list((tmp_path / "out" / "chartqa").glob("vlmevalkit/figures__tiny/T*/figures__tiny_ChartQA_TEST.tsv"))
    assert main(["eval", *words, "--benchmarks", "chartqaa"]) == 2
    assert "Did you mean 'chartqa'" in capsys.readouterr().err


def get_by(name):
    return ("family", "level") if name == "figures" else BENCHMARKS[name].by


def test_a_local_copy_may_be_a_folder_and_a_missing_one_is_named(tmp_path):
    DatasetDict({"test": raw_rows("chartqa")}).save_to_disk(tmp_path / "chartqa")
    assert len(load_benchmark(BENCHMARKS["chartqa"], num_rows=1, folder=tmp_path)) == 1
    with pytest.raises(BadInputError, match=r"neither mathvista.parquet nor a folder mathvista \(there: chartqa\)"):
        load_benchmark(BENCHMARKS["mathvista"], folder=tmp_path)
    with pytest.raises(BadInputError, match="no such folder"):
        load_benchmark(BENCHMARKS["mathvista"], folder=tmp_path / "nowhere")


def test_rows_keep_their_place_when_others_are_left_out():
    raw = raw_rows("mathvision").to_list()
    raw[1]["answer"] = ""
    rows = prepare_benchmark(
        BENCHMARKS["mathvision"], Dataset.from_list(raw, features=raw_rows("mathvision").features)
    )
    assert rows["doc_id"] == [0, 2, 3] and rows["published_id"] == ["1"] * 3


def test_base64_pictures_are_decoded():
    rows = prepare_benchmark(BENCHMARKS["r1_onevision"], raw_rows("r1_onevision"))
    assert all(row["images"][0]["bytes"].startswith(b"\x89PNG") for row in rows)
    asked = [row["prompt"][-1]["content"] for row in rows]
    assert not any("Hint" in text for text in asked) and asked[0].count("4 cm") == asked[1].count("4 cm") == 1
    assert [row["answer_type"] for row in rows] == ["multiple_choice", "multiple_choice", "number", "number"]


def test_pairs_and_figures_of_hallusionbench():
    # Two sets; the first has two questions about figure 0 and one question about figures 0 and 1.
    keys = ("category", "subcategory", "set_id", "figure_id", "question_id")
    rows = [("VD", "math", "0", "0", "0", 1), ("VD", "math", "0", "1", "0", 0), ("VD", "math", "0", "0", "1", 1)]
    rows += [("VS", "math", "0", "0", "0", 1)]
    predictions = [
        {**dict(zip(keys, row)), "row": i, "sample": -1, "extracted": "yes", "correct": float(row[-1]), "length": 1}
        | {"truncated": False, "formatted": None}
        for i, row in enumerate(rows)
    ]
    result = summarize(predictions, all_right=BENCHMARKS["hallusionbench"].all_right)
    scores = {name: (score["accuracy"], score["num_groups"]) for name, score in result.all_right.items()}
    assert result.greedy_accuracy == 0.75
    assert scores == {"qAcc": (pytest.approx(2 / 3), 3), "fAcc": (pytest.approx(2 / 3), 3)}
    table = evaluation_table(result.summary()).text()
    assert "qAcc (3 groups)" in table and "66.7 % (" in table


def test_an_interrupted_benchmark_does_not_repeat_those_before_it(tmp_path, monkeypatch, capsys, copies):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "home"))
    words = ["eval", "--model", "figures/tiny", "--max_new_tokens", "3", "--batch_size", "1", "--benchmarks"]
    words += ["chartqa", "pets37", "--benchmarks_folder", str(copies), "--output_dir", str(tmp_path / "out")]
    original, calls = generation.generate, []

    def generate(*args, stop_at=None, **options):
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        calls.append(1)
        return original(*args, **options)

    monkeypatch.setattr(generation, "generate", partial(generate, stop_at=3))  # in the second row of pets37
    assert main(words) == 130
    assert "goes on from there" in capsys.readouterr().err
    monkeypatch.setattr(generation, "generate", generate)
    assert main(words) == 0
    assert len(calls) == 4
    assert not list((tmp_path / "out").rglob("unfinished*"))
    for name in ("chartqa", "pets37"):
        assert json.loads((tmp_path / "out" / name / "summary.json").read_text())["num_prompts"] == 2
