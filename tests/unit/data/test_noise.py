# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
import json
from collections import Counter

import numpy as np
import pytest
from datasets import Dataset
from fixtures import datasets as published

from mmr1_trl.data import prepare_dataset
from mmr1_trl.data.answers.noise import apply_label_noise
from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.label_noise import corrupt_boxes
from mmr1_trl.rewards import detection_reward
from mmr1_trl.rewards.grounding.boxes import box_iou
from mmr1_trl.rewards.scoring import score_answer


SETS = ("geometry3k", "mmr1_rl", "virft_pets", "screenspot", "chartqa")


def prepared(name, num_rows=24):
    return prepare_dataset(getattr(published, name)(num_rows))


def by_id(dataset):
    return {row["prompt_id"]: (row["solution"], row["clean_solution"], row["is_noisy"]) for row in dataset}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_share_and_clean_column(name, fraction):
    clean = prepared(name)
    # A type with one answer only has no wrong one.
    counts = {
        kind: len(set(clean.filter(lambda r, k=kind: r["answer_type"] == k)["solution"]))
        for kind in set(clean["answer_type"])
    }
    clean = clean.filter(lambda row: counts[row["answer_type"]] > 1)
    noisy = apply_label_noise(clean, fraction, seed=0)
    assert noisy["clean_solution"][:] == clean["solution"][:]
    assert sum(noisy["is_noisy"]) == round(fraction * len(clean))
    for row in noisy:
        assert (row["solution"] != row["clean_solution"]) == row["is_noisy"]
    gone = set(clean.column_names) - set(noisy.column_names)
    assert gone <= {"answer", "label", "bbox"}  # the true answer under its first name, which no reward shall read
    for name in set(clean.column_names) - gone - {"solution"}:
        assert noisy[name][:] == clean[name][:]
    assert not [name for name in noisy.column_names if noisy[name][:] == clean["solution"][:] != noisy["solution"][:]
                and name != "clean_solution"]  # fmt: skip


@pytest.mark.parametrize("name", ["mmr1_rl", "virft_pets", "screenspot"])
def test_order_plays_no_part(name):
    clean = prepared(name)
    expected = by_id(apply_label_noise(clean, 0.5, seed=3))
    assert by_id(apply_label_noise(clean.shuffle(seed=7), 0.5, seed=3)) == expected
    assert by_id(apply_label_noise(clean, 0.5, seed=3)) == expected
    assert by_id(apply_label_noise(clean, 0.5, seed=4)) != expected


def test_wrong_boxes_do_not_touch_the_true_ones():
    for row in apply_label_noise(prepared("screenspot"), 1.0, seed=1):
        x1, y1, x2, y2 = json.loads(row["solution"])
        a1, b1, a2, b2 = json.loads(row["clean_solution"])
        assert 0 <= x1 < x2 <= 200 and 0 <= y1 < y2 <= 100
        assert x2 <= a1 or a2 <= x1 or y2 <= b1 or b2 <= y1


def test_wrong_detections_are_right_for_no_object():
    """Ours: every object is somewhere else, and where nothing is to be found there is something."""
    clean = prepared("virft_coco", 16)
    noisy = apply_label_noise(clean, 1.0, seed=1)
    for row in noisy:
        wrong, right = json.loads(row["solution"]), json.loads(row["clean_solution"])
        assert len(wrong) == max(1, len(right))
        assert all(box_iou(new["bbox_2d"], old["bbox_2d"]) < 0.5 for new in wrong for old in right)
        assert all(0 <= n <= side for new in wrong for n, side in zip(new["bbox_2d"], [64, 48] * 2))
        assert detection_reward([row["clean_solution"]], [row["solution"]]) == [0.0]
    assert by_id(apply_label_noise(clean.shuffle(seed=7), 0.5, seed=3)) == by_id(apply_label_noise(clean, 0.5, seed=3))
    full = corrupt_boxes([[0, 0, 64, 48], [0, 0, 30, 20]], (64, 48), np.random.default_rng(0))
    assert box_iou(full[0], [0, 0, 64, 48]) == pytest.approx(0.25)


def test_wrong_classes_are_classes_and_wrong_choices_are_choices():
    noisy = apply_label_noise(prepared("virft_pets"), 1.0, seed=1)
    assert set(noisy["solution"]) == set(noisy["clean_solution"])
    rows = [{"question": f"q{i}", "choices": ["x", "y", "z"][: 2 + i % 2], "answer": "A"} for i in range(30)]
    noisy = apply_label_noise(prepare_dataset(Dataset.from_list(rows)), 1.0, seed=1)
    assert all(row["solution"] in "ABC"[1 : len(row["options"])] for row in noisy)
    assert Counter(noisy["solution"]).keys() == {"B", "C"}


def test_a_wrong_label_is_not_the_right_one_in_other_words():
    golds = {
        "multiple_choice": ["(B)", "B.", "b", "A"],
        "yes_no": ["True", "yes", "No"],
        "number": ["1/2", "0.5", "50%", "3"],
    }
    for answer_type, answers in golds.items():
        rows = [
            {"question": f"q{i}", "answer": answers[i % len(answers)], "answer_type": answer_type} for i in range(40)
        ]
        if answer_type == "multiple_choice":
            rows = [row | {"choices": ["w", "x", "y"]} for row in rows]
        for row in apply_label_noise(prepare_dataset(Dataset.from_list(rows)), 1.0, seed=1):
            answer = f"<answer>{row['solution']}</answer>"
            assert score_answer(answer, row["clean_solution"], answer_type, row.get("options")).correct == 0.0, row
    rows = [{"question": f"q{i}", "answer": ["1/2", "0.5"][i % 2]} for i in range(4)]
    with pytest.raises(BadInputError, match="no other answer"):
        apply_label_noise(prepare_dataset(Dataset.from_list(rows)), 1.0, seed=1)


def test_near_miss():
    rows = [{"question": f"q{i}", "answer": str(i)} for i in range(20)]
    for row in apply_label_noise(prepare_dataset(Dataset.from_list(rows)), 1.0, seed=1, kind="near_miss"):
        assert 1 <= abs(int(row["solution"]) - int(row["clean_solution"])) <= 2


def test_bad_input():
    clean = prepared("virft_pets")
    noisy = apply_label_noise(clean, 0.5, seed=0)
    for dataset, fraction, message in (
        (clean.remove_columns("prompt_id"), 0.5, "needs the columns"),
        (noisy, 0.5, "noisy already"),
        (clean, 1.5, r"\[0, 1\]"),
        (clean.remove_columns("prompt_id").add_column("prompt_id", ["a"] * len(clean)), 0.5, "some repeat"),
        (prepare_dataset(Dataset.from_list([{"question": "q", "answer": "red"}])), 1.0, "row 0.*no other answer"),
    ):
        with pytest.raises(BadInputError, match=message):
            apply_label_noise(dataset, fraction, seed=0)
