# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Several accepted answers: the published shapes are read, and any of them is right where answers are scored."""

import json

import pandas as pd
import pytest
from datasets import Dataset

from mmr1_trl.data import prepare_dataset
from mmr1_trl.data.answers.accepted import read_accepted
from mmr1_trl.data.answers.noise import apply_label_noise
from mmr1_trl.data.prompts import fingerprint
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.export import export_lmms_eval, export_vlmevalkit
from mmr1_trl.hub.cards import write_dataset_card
from mmr1_trl.rewards import accuracy_reward
from mmr1_trl.rewards.scoring import row_question, score_answer, score_answers


def votes(*words):
    return [{"answer": word, "answer_confidence": "yes", "answer_id": n} for n, word in enumerate(words, 1)]


@pytest.mark.parametrize(
    ("stored", "accepted"),
    [
        (["ITC Limited", "itc limited", "ITC Limited"], ["ITC Limited", "itc limited"]),  # DocVQA
        (votes("net", "racket", "net"), ["net", "racket"]),  # VQAv2
        ({"text": ["a dog", "dog"], "answer_start": [3, 5]}, ["a dog", "dog"]),  # SQuAD
        ({"answer": ["x", ""], "answer_confidence": ["yes", "no"]}, ["x"]),  # a sequence of mappings, as Arrow has it
        ("['7', \"it's\"]", ["7", "it's"]),  # from a CSV file
        ('["7", "8"]', ["7", "8"]),
        ("[0, 5)", ["[0, 5)"]),  # an interval is no list
        ([3, 3.5, None, ""], ["3", "3.5"]),
        ("plain", ["plain"]),
    ],
)
def test_published_shapes(stored, accepted):
    assert read_accepted(stored) == accepted


@pytest.mark.parametrize("stored", [None, [], [""], [None], votes("", ""), {"text": [], "answer_start": []}])
def test_none_is_no_answer(stored):
    with pytest.raises(BadInputError, match="no gold answer"):
        read_accepted(stored)


def rows(name="answers", **options):
    stored = [
        ["975.00", "$975.00", "nine hundred"],
        ["ITC", "ITC Limited"],
        ["7"],
        ["yes", "no idea"],
        ["red", "blue"],
    ]
    return prepare_dataset(Dataset.from_dict({"question": list("abcde"), name: stored}), **options)


def test_columns_of_that_name_or_by_the_flag():
    prepared = rows()
    assert prepared["solution"][:] == ["975.00", "ITC", "7", "yes", "red"]
    assert prepared["accepted_answers"][:][1] == ["ITC", "ITC Limited"] and prepared["accepted_answers"][:][2] is None
    assert rows("answer", answer_lists="alternatives")["accepted_answers"][:] == prepared["accepted_answers"][:]
    assert rows("direct_answers", answer_column="direct_answers")["solution"][:] == prepared["solution"][:]
    for parts in (rows("answer"), rows(answer_lists="parts")):
        assert parts["solution"][1] == "ITC, ITC Limited" and "accepted_answers" not in parts.column_names
    again = prepare_dataset(prepared)
    assert again["accepted_answers"][:] == prepared["accepted_answers"][:]
    assert fingerprint(prepared) != fingerprint(prepared.remove_columns("accepted_answers"))
    with pytest.raises(BadInputError, match="Did you mean 'parts'"):
        rows(answer_lists="part")
    with pytest.raises(BadInputError, match="accepted_answers.*Rename"):
        prepare_dataset(Dataset.from_dict({"question": ["a"], "answer": ["1"], "accepted_answers": [3]}))


def test_any_of_them_is_right_in_rewards_and_in_evaluation():
    prepared = rows()
    answers = ["$ 975", "ITC limited", "8", "no idea", "green"]
    texts = [f"<answer>{answer}</answer>" for answer in answers]
    names = ("solution", "answer_type", "accepted_answers")
    columns = {name: prepared[name][:] for name in names}
    expected = [1.0, 1.0, 0.0, 1.0, 0.0]
    assert accuracy_reward(texts, **columns) == expected
    scores = score_answers(texts, [row_question(row) for row in prepared])
    assert [score.correct for score in scores] == expected
    # by algebra, and only where none of the others is equal without
    assert score_answer(r"\boxed{(x+1)^2}", "y", accepted=["x^2+2x+1"]).correct == 1.0
    assert score_answer(r"\boxed{(x+2)^2}", "y+1", accepted=["x^2+2x+1"]).correct == 0.0
    # a declared type holds for all of them, an inferred one does not
    assert score_answer(r"\boxed{cats}", "cat", "text", accepted=["cats"]).correct == 1.0
    assert score_answer(r"\boxed{B}", "A", "multiple_choice", accepted=["B"]).correct == 1.0


def test_a_wrong_label_is_none_of_them():
    stored = [["1", "2"], ["2", "3"], ["3", "1"], ["1"], ["2"]]
    prepared = prepare_dataset(Dataset.from_dict({"question": list("abcde"), "answers": stored}))
    for seed in range(8):
        noisy = apply_label_noise(prepared, 1.0, seed)
        for row, accepted in zip(noisy, stored):
            assert row["solution"] not in accepted and row["accepted_answers"] is None
        assert "answers" not in noisy.column_names
        assert noisy["clean_accepted_answers"][:] == prepared["accepted_answers"][:]
    half = apply_label_noise(prepared, 0.4, 0)
    kept = [row for row in half if not row["is_noisy"]]
    assert kept and all(row["accepted_answers"] == row["clean_accepted_answers"] for row in kept)
    logged = {}
    columns = {name: noisy[name][:] for name in noisy.column_names if name not in ("prompt", "prompt_style")}
    accuracy_reward(["<answer>2</answer>"] * 5, **columns, log_metric=logged.__setitem__)
    assert logged["rewards/clean_accuracy"] == pytest.approx(3 / 5)


def test_exports_and_cards_have_all_of_them(tmp_path):
    prediction = {"row": 0, "sample": -1, "question": "q", "solution": "a", "extracted": "b", "completion": "b"}
    predictions = [prediction | {"correct": 1.0, "accepted_answers": ["a", "b"]}]
    logs = json.loads(export_lmms_eval(predictions, tmp_path, "m", "docvqa_val").read_text())["logs"]
    assert logs[0]["target"] == ["a", "b"]
    table = pd.read_csv(export_vlmevalkit(predictions, tmp_path, "m", "DocVQA_VAL"), sep="\t")
    assert table["answer"][0] == "['a', 'b']"
    rows().to_parquet(tmp_path / "train.parquet")
    assert "| `accepted_answers` | `list of string` | all answers that are right" in (
        write_dataset_card(tmp_path).read_text()
    )
