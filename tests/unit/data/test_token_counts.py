# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
import numpy as np
import pytest
from datasets import Image, List, Value
from fixtures import datasets as published
from trl.data_utils import prepare_multimodal_messages

from mmr1_trl import RLVRConfig, RLVRTrainer
from mmr1_trl.data import prepare_dataset
from mmr1_trl.data.pictures.images import fit_pixels, open_image, stored_images
from mmr1_trl.data.token_counts import (
    PromptLengths,
    check_vllm_length,
    drop_long_prompts,
    image_tokens,
    prompt_lengths,
)
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


# ---- What vLLM is given room for ----


def vllm_config(**options):
    settings = {
        "use_cpu": True, "num_generations": 2, "report_to": "none", "max_completion_length": 8, "max_pixels": 2000,
        "use_vllm": True, "vllm_mode": "colocate",
    }  # fmt: skip
    return RLVRConfig(**settings | options)


def test_what_does_not_fit_into_vllm_is_named_with_the_value_to_set():
    _, processor = build_tiny_vlm("qwen2_5_vl")
    rows = rows_with_pictures([[SIZES[0]], [SIZES[2], SIZES[3]], []])
    lengths = prompt_lengths(rows, processor, max_pixels=2000)
    longest = int(lengths.total.max())
    need = longest + 8
    assert lengths.total.argmax() == 1
    check_vllm_length(vllm_config(vllm_max_model_length=need), processor, train_dataset=rows, eval_dataset=None)
    with pytest.raises(BadInputError) as refused:
        check_vllm_length(vllm_config(vllm_max_model_length=need - 1), processor, train_dataset=rows)
    message = str(refused.value)
    assert f"vllm_max_model_length={need - 1} is too little for train_dataset: row 1 takes" in message
    assert f"{lengths.text[1]} tokens of text and {lengths.image[1]} of pictures" in message
    assert f"max_completion_length=8 that is {need}. Set --vllm_max_model_length {need}," in message
    assert "--max_pixels (now 2000)" in message and f"--max_prompt_tokens {longest - 1} leaves" in message
    with pytest.raises(BadInputError, match="for eval_dataset easy: .*; 1 more rows are too long as well"):
        few = rows.select([1, 1])
        check_vllm_length(
            vllm_config(vllm_max_model_length=9), processor, train_dataset=None, eval_dataset={"easy": few}
        )


@pytest.mark.parametrize(
    "options", [{"use_vllm": False}, {"vllm_mode": "server"}, {"vllm_max_model_length": None}], ids=str
)
def test_only_an_engine_of_ones_own_with_a_limit_is_asked(options):
    _, processor = build_tiny_vlm("qwen2_5_vl")
    rows = rows_with_pictures([[SIZES[0]]])
    check_vllm_length(vllm_config(**{"vllm_max_model_length": 1} | options), processor, train_dataset=rows)


def test_a_training_is_refused_before_its_model_loads():
    _, processor = build_tiny_vlm("qwen2_5_vl")
    config = vllm_config(vllm_max_model_length=9)
    with pytest.raises(BadInputError, match="vllm_max_model_length=9 is too little for train_dataset"):
        RLVRTrainer(
            model="nowhere/to-be-found",
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=config,
            train_dataset=rows_with_pictures([[SIZES[0]]] * 8),
            processing_class=processor,
        )
