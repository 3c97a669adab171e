# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rows in the shapes that others publish them in."""

import json

import pytest
from datasets import Image, List, Value
from fixtures import datasets as published

from mmr1_trl.cli import main
from mmr1_trl.data import prepare_dataset
from mmr1_trl.errors import BadInputError


TEXT = Value("string")


def content(row):
    return row["prompt"][-1]["content"]


@pytest.fixture(scope="module", autouse=True)
def model_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMR1_HOME", str(tmp_path_factory.mktemp("models")))
        yield


def check(capsys, path, *words):
    """The exit code and the findings of `mmr1 check` on a file."""
    model = [
        "--model_name_or_path",
        "figures/tiny",
        "--output_dir",
        "unused",
        "--samples",
        "0",
        "--num_generations",
        "2",
    ]
    batch = ["--per_device_train_batch_size", "2", "--json"]
    code = main(["check", "grpo", "--dataset_name", str(path), *model, *batch, *words])
    printed = capsys.readouterr()
    return code, json.loads(printed.out)["findings"] if code != 2 else printed.err


def choices(answers, options=("red", "green", "blue"), kind="int64"):
    rows = [
        {"question": f"Which, {i}?", "options": list(options), "answer": answer, "image": published.picture(i)}
        for i, answer in enumerate(answers)
    ]
    return published.make(rows, question=TEXT, options=List(TEXT), answer=Value(kind), image=Image())


# ---- An index as the answer


def test_an_index_beside_choices_becomes_a_letter():
    prepared = prepare_dataset(published.ai2d(4))
    assert prepared["solution"][:] == ["A", "B", "C", "D"] and set(prepared["answer_type"]) == {"multiple_choice"}
    assert content(prepared[0]).endswith("(A) root\n(B) stem\n(C) leaf\n(D) bud")
    science = prepare_dataset(published.scienceqa(4))
    assert science["solution"][:] == ["A", "B", "C", "A"] and content(science[0]).endswith("(C) glass")


@pytest.mark.parametrize("kind", ["int64", "string", "float64"])
def test_where_indices_count_from_is_decided_by_the_answers(kind):
    def solutions(answers, **options):
        values = [str(answer) if kind == "string" else answer for answer in answers]
        return prepare_dataset(choices(values, kind=kind), **options)["solution"][:]

    assert solutions([0, 1, 2]) == ["A", "B", "C"]
    assert solutions([1, 2, 3]) == ["A", "B", "C"]
    assert solutions([1, 2, 1], answer_index="one_based") == ["A", "B", "A"]
    assert solutions([1, 2, 1], answer_index="zero_based") == ["B", "C", "B"]
    with pytest.raises(BadInputError, match="whole numbers from 1 to 2 .*--answer_index zero_based or one_based"):
        solutions([1, 2, 1])
    with pytest.raises(BadInputError, match="1 of 3 rows.*row 2: the answer '3(.0)?' is no index from 0 to 2"):
        solutions([0, 1, 3], answer_index="zero_based")
    # neither reading fits both of these: they are no indices
    assert solutions([0, 3]) == [str(number) if kind != "float64" else str(float(number)) for number in (0, 3)]


def test_numeric_choices_that_hold_the_answer_as_text_are_refused():
    numbers = choices(["1", "3", "2"], ("1", "2", "3"), kind="string")
    with pytest.raises(BadInputError, match="also the text of a choice.*or off if they are texts"):
        prepare_dataset(numbers)
    assert prepare_dataset(numbers, answer_index="off")["answer_type"][:] == ["multiple_choice"] * 3
    assert prepare_dataset(numbers, answer_index="off")["solution"][:] == ["1", "3", "2"]
    assert prepare_dataset(numbers, answer_index="one_based")["solution"][:] == ["A", "C", "B"]
    larger = choices(["30", "60", "45"], ("30", "45", "60"), kind="string")
    assert prepare_dataset(larger)["solution"][:] == ["30", "60", "45"]
    letters = choices(["A", "B", "blue"], kind="string")
    assert prepare_dataset(letters)["solution"][:] == ["A", "B", "blue"]


def test_indices_on_the_command_line(tmp_path, capsys):
    choices([1, 2, 1, 2]).to_parquet(tmp_path / "rows.parquet")
    code, message = check(capsys, tmp_path / "rows.parquet")
    assert code == 2 and "--answer_index" in message
    assert check(capsys, tmp_path / "rows.parquet", "--answer_index", "one_based") == (0, [])
    code, findings = check(capsys, tmp_path / "rows.parquet", "--answer_index", "off")
    assert code == 1 and "4 answers name none of the choices" in findings[0]


def test_an_answer_that_names_none_of_the_choices_is_a_finding(tmp_path, capsys):
    choices(["red", "green", "purple", "B"], kind="string").to_parquet(tmp_path / "rows.parquet")
    code, findings = check(capsys, tmp_path / "rows.parquet")
    assert code == 1 and "row 2: 'purple' is none of 3 choices" in findings[0]
