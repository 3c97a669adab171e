# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""One token per picture out of a processor's expansion, against the prompt before the expansion."""

import itertools

import numpy as np
import PIL.Image
import pytest
from fixtures.models import build

from mmr1_trl.data.decoding import as_conversation
from mmr1_trl.engines.picture_tokens import NEVER, one_token_per_picture, placeholder_ids, without_placeholders
from mmr1_trl.errors import BadInputError


SIZES = [(56, 28), (28, 56), (112, 84), (57, 63)]


def picture(size, seed=0):
    return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*reversed(size), 3), dtype=np.uint8))


def conversation(parts):
    """Pictures for sizes and texts for strings, side by side in one message."""
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": picture(part)}
        for part in parts
    ]
    return [{"role": "user", "content": content}]


CASES = [
    ["add the red and blue"],
    [SIZES[0], "add"],
    ["add", SIZES[1]],
    [SIZES[0], SIZES[0], "add"],
    [SIZES[2], SIZES[0], SIZES[3], "how many"],
    ["which", SIZES[1], "is larger than", SIZES[2], SIZES[2], "or", SIZES[3]],
    list(SIZES),
]


@pytest.mark.parametrize("bare", [False, True], ids=["template", "no token between pictures"])
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava", "idefics3"])
def test_what_comes_back_is_the_text_before_the_expansion(family, bare):
    model, processor = build(family)
    if bare:  # as a template of one's own may write it: the runs of adjacent pictures become one
        for around in ("<|vision_start|>", "<|vision_end|>"):
            processor.chat_template = processor.chat_template.replace(around, "")
    conversations = [conversation(parts) for parts in CASES]
    ids = processor.apply_chat_template(conversations, add_generation_prompt=True, tokenize=True, return_dict=True)
    texts = processor.apply_chat_template(conversations, add_generation_prompt=True, tokenize=False)
    wanted = processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
    images = [
        [part["image"] for part in one[0]["content"] if part["type"] == "image"] or None for one in conversations
    ]
    assert any(len(long) > len(short) for long, short in zip(ids["input_ids"], wanted))
    before = [list(prompt) for prompt in ids["input_ids"]]
    assert one_token_per_picture(ids["input_ids"], images, processor, model.config.model_type) == wanted
    assert ids["input_ids"] == before  # the trainer's own ids stay as they are


def test_a_prompt_that_does_not_fit_its_pictures_is_refused():
    model, processor = build("qwen2_5_vl")
    ids = processor.apply_chat_template(
        [conversation([(56, 56), "add"])], add_generation_prompt=True, tokenize=True, return_dict=True
    )["input_ids"][0]
    image = processor.image_token_id
    short = list(ids)
    short.remove(image)
    for prompt, pictures in (
        (short, [picture((56, 56))]),
        ([image, *ids], [picture((56, 56))]),
        (ids, [picture((56, 56)), picture((56, 56))]),
        (ids, None),
        (ids, [picture((28, 28))]),
    ):
        with pytest.raises(BadInputError, match="picture tokens of the prompt are not so"):
            one_token_per_picture([prompt], [pictures], processor, model.config.model_type)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava", "idefics3"])
def test_tokens_that_stand_for_pictures_are_forbidden(family):
    model, processor = build(family)
    vocabulary = processor.tokenizer.get_vocab()
    wanted = [vocabulary[token] for token in ("<|image_pad|>", "<image>", "<|video_pad|>") if token in vocabulary]
    assert placeholder_ids(model.config) == wanted
    for own in (None, {"logit_bias": {"40": 1.5, wanted[0]: 3.0}}, {"seed": 3}):
        options = without_placeholders(own, model.config)
        assert all(options["logit_bias"][token] == NEVER for token in wanted)
        assert options.get("seed") == (own or {}).get("seed")
        assert options["logit_bias"].get(40) == (1.5 if own and "logit_bias" in own else None)


def test_transformers_is_forbidden_them_too(make_trainer):
    trainer = make_trainer(generation_kwargs={"suppress_tokens": [9]}, num_generations=2)
    tokens = placeholder_ids(trainer.model.config)
    assert set(trainer.generation_config.suppress_tokens) == {9, *tokens}
    with_video = trainer.model.lm_head.weight
    with_video.data[tokens] = 100 * with_video.data.abs().sum(0)  # what the model would always write
    rows = trainer.reader.read([0, 1, 2, 3])[1]
    completions = trainer._generate([as_conversation(row) for row in rows])[1]
    assert not set(tokens) & set(itertools.chain.from_iterable(completions))
