# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Label noise: exact shares, no dependence on row order, wrong answers that are wrong."""

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.label_noise import (
    answer_pool,
    choose_rows,
    corrupt_answer,
    corrupt_box,
    corrupt_class,
    near_miss,
    row_rng,
)


def shared_area(a, b):
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


@given(st.integers(0, 60), st.floats(0, 1), st.integers(0, 5), st.randoms())
def test_the_share_is_exact_and_the_order_plays_no_part(num_rows, fraction, seed, shuffle):
    keys = [f"row-{i}" for i in range(num_rows)]
    chosen = {key for key, hit in zip(keys, choose_rows(keys, fraction, seed)) if hit}
    assert len(chosen) == round(fraction * num_rows)
    shuffle.shuffle(keys)
    assert {key for key, hit in zip(keys, choose_rows(keys, fraction, seed)) if hit} == chosen


def test_more_noise_only_adds_rows_and_seeds_differ():
    few, many = choose_rows(range(1000), 0.25, 0), choose_rows(range(1000), 0.5, 0)
    assert not (few & ~many).any()
    # Two independent halves agree on about half of the rows.
    assert 400 < (many == choose_rows(range(1000), 0.5, 1)).sum() < 600


def test_a_rows_noise_belongs_to_its_key():
    assert row_rng(0, "a").integers(1 << 60) == row_rng(0, "a").integers(1 << 60)
    draws = {row_rng(seed, key).integers(1 << 60) for seed in (0, 1) for key in ("a", "b")}
    assert len(draws) == 4


boxes = st.tuples(
    st.integers(2, 60),
    st.integers(2, 60),
    st.integers(0, 57),
    st.integers(0, 57),
    st.integers(1, 60),
    st.integers(1, 60),
)


@given(boxes, st.integers(0, 100), st.booleans())
def test_a_wrong_box_is_inside_and_apart(numbers, seed, as_floats):
    width, height, x1, y1, w, h = numbers
    x1, y1 = min(x1, width - 1), min(y1, height - 1)
    box = [x1, y1, min(x1 + w, width), min(y1 + h, height)]
    if box == [0, 0, width, height]:
        box[2] -= 1
    if as_floats:
        box = [float(x) for x in box]
    wrong = corrupt_box(box, (width, height), row_rng(0, seed))
    assert shared_area(box, wrong) <= 1e-9
    assert 0 <= wrong[0] < wrong[2] <= width + 1e-9 and 0 <= wrong[1] < wrong[3] <= height + 1e-9
    assert as_floats or all(type(x) is int for x in wrong)


def test_a_wrong_box_keeps_its_size_where_there_is_room_and_reaches_all_sides():
    wrong = [corrupt_box([40, 40, 60, 50], (100, 100), row_rng(0, i)) for i in range(300)]
    assert all((x2 - x1, y2 - y1) == (20, 10) for x1, y1, x2, y2 in wrong)
    assert any(b[2] <= 40 for b in wrong) and any(b[0] >= 60 for b in wrong)
    assert any(b[3] <= 40 for b in wrong) and any(b[1] >= 50 for b in wrong)


def test_boxes_that_cannot_be_replaced():
    with pytest.raises(BadInputError, match="whole image"):
        corrupt_box([0, 0, 10, 10], (10, 10), row_rng(0, 0))
    for bad in ([5, 5, 5, 8], [-1, 0, 5, 5], [0, 0, 11, 5]):
        with pytest.raises(BadInputError, match="not a box"):
            corrupt_box(bad, (10, 10), row_rng(0, 0))


def test_another_class_is_uniform_over_the_others():
    pool = answer_pool(["dog", "cat", "owl", "cat"])
    assert pool == ["cat", "dog", "owl"]
    drawn = [corrupt_class("cat", pool, row_rng(0, i)) for i in range(2000)]
    assert set(drawn) == {"dog", "owl"}
    assert 850 < drawn.count("dog") < 1150
    with pytest.raises(BadInputError, match="no other answer"):
        corrupt_class("Cat", ["cat", " CAT "], row_rng(0, 0))


def test_near_misses():
    drawn = {near_miss(7, row_rng(0, i)) for i in range(200)}
    assert drawn == {5, 6, 8, 9}
    assert {near_miss(0, row_rng(0, i)) for i in range(200)} == {1, 2}
    assert {near_miss(-1, row_rng(0, i)) for i in range(200)} == {-3, -2, 0, 1}


def test_corrupt_answer_by_type():
    rng = np.random.default_rng(0)
    for answer_type in ("point", "box"):
        wrong = json.loads(corrupt_answer("[2, 2, 4, 4]", answer_type, rng, image_size=(20, 10)))
        assert shared_area([2, 2, 4, 4], wrong) == 0
    with pytest.raises(BadInputError, match="size of its image"):
        corrupt_answer("[2, 2, 4, 4]", "box", rng)
    assert corrupt_answer("yes", "yes_no", rng, pool=["no", "yes"]) == "no"
    assert corrupt_answer("7", "number", rng, pool=["7", "31"]) == "31"
    assert corrupt_answer(" 7", "number", rng, pool=["7", "31"], kind="near_miss") in {"5", "6", "8", "9"}
    assert corrupt_answer("7.5", "number", rng, pool=["7.5", "31"], kind="near_miss") == "31"
    with pytest.raises(BadInputError, match="near_miss"):
        corrupt_answer("7", "number", rng, kind="near")


def test_a_whole_dataset_in_any_order():
    rows = [(f"p{i}", str(i % 17)) for i in range(200)]
    pool = answer_pool(answer for _, answer in rows)

    def noisy(some_rows):
        chosen = choose_rows([key for key, _ in some_rows], 0.5, 3)
        return {
            key: corrupt_answer(answer, "number", row_rng(3, key), pool) if hit else answer
            for (key, answer), hit in zip(some_rows, chosen)
        }

    shuffled = random.Random(0).sample(rows, len(rows))
    assert noisy(rows) == noisy(shuffled)
    assert sum(noisy(rows)[key] != answer for key, answer in rows) == 100
