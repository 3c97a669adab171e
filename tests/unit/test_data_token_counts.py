# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
import numpy as np
import pytest
from datasets import Image, List, Value
from fixtures import datasets as published
from trl.data_utils import prepare_multimodal_messages

from mmr1_trl.data import prepare_dataset
from mmr1_trl.data.images import fit_pixels, open_image, stored_images
from mmr1_trl.data.token_counts import PromptLengths, drop_long_prompts, image_tokens, prompt_lengths
from mmr1_trl.errors import BadInputError
from mmr1_trl.models import build_tiny_vlm


FAMILIES = ("qwen2_5_vl", "qwen3_vl", "llava", "idefics3")
SIZES = ((56, 56), (100, 30), (31, 170), (300, 200), (1, 1))


def rows_with_pictures(sizes_per_row):
    rows = [
        {
            "problem": f"question {i}?",
            "answer": "1",
            "images": [published.picture(k, size) for k, size in enumerate(sizes)],
        }
        for i, sizes in enumerate(sizes_per_row)
    ]
    return prepare_dataset(
        published.make(rows, problem=Value("string"), answer=Value("string"), images=List(Image())),
        prompt_style="mssr",
    )


def real_length(row, processor, **limits):
    images = [fit_pixels(open_image(stored, "row"), **limits) for stored in row["images"]]
    messages = prepare_multimodal_messages(row["prompt"], images)
    encoded = processor.apply_chat_template([messages], add_generation_prompt=True, tokenize=True, return_dict=True)
    return len(encoded["input_ids"][0])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("limits", [{}, {"max_pixels": 2000}, {"min_pixels": 20_000, "max_pixels": 40_000}])
def test_lengths_equal_what_the_processor_makes(family, limits):
    _, processor = build_tiny_vlm(family)
    dataset = rows_with_pictures([[SIZES[0]], [SIZES[1]], [SIZES[2], SIZES[3]], [SIZES[0]] * 3])
    lengths = prompt_lengths(dataset, processor, **limits)
    assert lengths.total.tolist() == [real_length(row, processor, **limits) for row in dataset]
    assert (lengths.image > 0).all() and (lengths.text > 0).all()
    assert lengths.sizes[SIZES[0]] == 4


def test_rows_without_pictures():
    _, processor = build_tiny_vlm("qwen2_5_vl")
    dataset = rows_with_pictures([[SIZES[0]], []])
    lengths = prompt_lengths(dataset, processor)
    assert lengths.image.tolist()[1] == 0
    assert lengths.total.tolist() == [real_length(row, processor) for row in dataset]
    assert prompt_lengths(dataset.select([1]).remove_columns("images"), processor).total[0] == lengths.total[1]


def test_nothing_is_decoded():
    """Pictures cut right after their headers are measured like whole ones."""
    _, processor = build_tiny_vlm("qwen2_5_vl")
    whole = rows_with_pictures([[SIZES[3]]] * 2)
    cut = whole.map(lambda row: {"images": [{"bytes": row["images"][0]["bytes"][:60], "path": None}]})
    assert prompt_lengths(cut, processor).total.tolist() == prompt_lengths(whole, processor).total.tolist()


def test_unreadable_and_refused_pictures_are_named():
    _, processor = build_tiny_vlm("qwen2_5_vl")
    dataset = rows_with_pictures([[SIZES[0]], [SIZES[1]], [(2010, 10)]])
    stored = [row[0] for row in stored_images(dataset)]
    stored[1] = {"bytes": b"junk", "path": None}
    dataset = dataset.remove_columns("images").add_column("images", [[image] for image in stored])
    dataset = dataset.cast_column("images", List(Image(decode=False)))
    lengths = prompt_lengths(dataset, processor)
    assert set(lengths.unreadable) == {1, 2}
    assert "row 1, image 0" in lengths.unreadable[1]
    assert "refuses a picture of 2010 x 10 pixels" in lengths.unreadable[2]
    with pytest.raises(BadInputError, match="2010 x 10"):
        image_tokens(2010, 10, processor)


def test_stored_images_never_decodes():
    raw = published.geometry3k(3).cast_column("images", List(Image(decode=True)))
    assert [[set(image) for image in images] for images in stored_images(raw)] == [[{"bytes", "path"}]] * 3
    single = published.mmk12(3)
    assert [images[0]["bytes"] for images in stored_images(single)] == [
        published.picture(i)["bytes"] for i in range(3)
    ]
    assert list(stored_images(raw.remove_columns("images"))) == [[], [], []]


def test_long_prompts_are_dropped_only_by_number():
    dataset = rows_with_pictures([[SIZES[0]]] * 4)
    lengths = PromptLengths(np.array([10, 20, 30, 40]), np.array([5, 5, 5, 5]))
    assert drop_long_prompts(dataset, lengths, 45) is dataset
    assert drop_long_prompts(dataset, lengths, 25)["prompt_id"][:] == dataset["prompt_id"][:2]
    with pytest.raises(BadInputError, match="longer than 14 tokens; the shortest has 15"):
        drop_long_prompts(dataset, lengths, 14)
