# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Every published shape becomes the training row that it means, or is refused by name."""

import pytest
from fixtures.published import REFUSED, SHAPES

from mmr1_trl.data import prepare_dataset
from mmr1_trl.data.inspection import unnamed_choices, unreadable_golds
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
