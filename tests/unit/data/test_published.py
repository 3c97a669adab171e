# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Every published shape becomes the training row that it means, is refused by name, or is a finding."""

import pytest
from datasets import Dataset
from fixtures.published import REFUSED, SHAPES, SUSPECT, picture

from mmr1_trl.cli import main
from mmr1_trl.data import prepare_dataset
from mmr1_trl.data.checks.inspection import unnamed_choices, unreadable_golds
from mmr1_trl.data.checks.suspicions import suspicions
from mmr1_trl.data.pictures.images import image_counts
from mmr1_trl.errors import BadInputError


@pytest.mark.parametrize("name", SHAPES)
def test_a_published_shape_is_read(name):
    rows, (texts, solution, answer_type, pictures) = SHAPES[name]
    prepared = prepare_dataset(rows)
    row = prepared[1]
    assert [message["content"] for message in row["prompt"]] == texts
    assert (row["solution"], row["answer_type"]) == (solution, answer_type)
    assert len(prepared) == len(rows) and image_counts(prepared)[1] == pictures
    assert not unreadable_golds(prepared) and not unnamed_choices(prepared)
    again = prepare_dataset(prepared)
    for column in ("prompt", "solution", "answer_type", "prompt_id"):
        assert again[column][:] == prepared[column][:]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_on_is_refused_by_name(name):
    rows, words = REFUSED[name]
    with pytest.raises(BadInputError, match=words):
        prepare_dataset(rows)


@pytest.mark.parametrize("name", SUSPECT)
def test_what_runs_and_is_probably_wrong_is_found(name):
    rows, words = SUSPECT[name]
    prepared = prepare_dataset(rows)
    found = [suspicion.what for suspicion in suspicions(prepared)]
    found += ["name none of the choices"] if unnamed_choices(prepared) else []
    found += ["cannot be scored against"] if unreadable_golds(prepared) else []
    assert any(words in what for what in found), found


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_right_is_not_suspected(name):
    assert not suspicions(prepare_dataset(SHAPES[name][0]))


def test_the_words_of_a_prompt_style_are_no_question():
    rows = [{"question": f"{i} + 1 = ?", "answer": str(i), "image": picture(i) if i else None} for i in range(4)]
    prepared = prepare_dataset(Dataset.from_list(rows), prompt_style="mmr1")  # which speaks of "the image"
    assert "image" in prepared[0]["prompt"][-1]["content"] and not suspicions(prepared)


def test_check_says_it(tmp_path, capsys):
    for number, name in enumerate(("letters without choices", "the same question answered otherwise")):
        rows, words = SUSPECT[name]
        path = tmp_path / f"{number}.parquet"
        rows.to_parquet(path)
        options = ["--dataset_name", str(path), "--model_name_or_path", "figures/tiny", "--num_generations", "2"]
        assert main(["check", "grpo", *options, "--samples", "0", "--per_device_train_batch_size", "4"]) == 1
        said = " ".join(capsys.readouterr().out.split())
        assert words in said and "row 1: " in said and "Nothing found" not in said
