# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Tiny models of Idefics3, SmolVLM and InternVL, which cut pictures into tiles and merge patches by shuffling them."""

from transformers import (
    GotOcr2ImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
)

from mmr1_trl.models.image_only import image_only
from mmr1_trl.models.tiny_llava import TOWER, Parts, llama
from mmr1_trl.models.tiny_tokenizer import build_tokenizer, chat_template


_TOKENS = ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>"]


def idefics3() -> Parts:
    """4x4 patches of 14 pixels, four of them merged into one token; no tiles."""
    tokenizer = build_tokenizer(_TOKENS)
    image_processor = Idefics3ImageProcessorPil(
        size={"longest_edge": 56}, max_image_size={"longest_edge": 56}, do_image_splitting=False
    )
    processor = Idefics3Processor(image_processor, tokenizer, image_seq_len=4, chat_template=chat_template("<image>"))
    config = Idefics3Config(
        text_config=llama(tokenizer),
        vision_config=dict(TOWER),
        scale_factor=2,
        image_token_id=tokenizer.get_vocab()["<image>"],
    )
    return Idefics3ForConditionalGeneration, config, processor


def smolvlm() -> Parts:
    """The same in tiles beside the whole picture."""
    rows_and_columns = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    tokenizer = build_tokenizer([*_TOKENS, *rows_and_columns])
    image_processor = SmolVLMImageProcessorPil(
        size={"longest_edge": 112}, max_image_size={"longest_edge": 56}, do_image_splitting=True
    )
    processor = image_only("SmolVLMProcessor")(
        image_processor, tokenizer, image_seq_len=4, chat_template=chat_template("<image>")
    )
    config = SmolVLMConfig(
        text_config=llama(tokenizer),
        vision_config=dict(TOWER),
        scale_factor=2,
        image_token_id=tokenizer.get_vocab()["<image>"],
    )
    return SmolVLMForConditionalGeneration, config, processor


def internvl() -> Parts:
    """Tiles of four tokens, as many as the picture is long, and the whole picture after them."""
    tokenizer = build_tokenizer(
        {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        }
    )
    config = InternVLConfig(
        text_config=llama(tokenizer) | {"model_type": "qwen2", "tie_word_embeddings": True},
        vision_config={**TOWER, "image_size": (56, 56), "patch_size": (14, 14)},
        image_token_id=tokenizer.get_vocab()["<IMG_CONTEXT>"],
        image_seq_length=4,
        tie_word_embeddings=True,
    )
    image_processor = GotOcr2ImageProcessorPil(
        size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=3
    )
    processor = image_only("InternVLProcessor")(
        image_processor, tokenizer, image_seq_length=4, chat_template=chat_template("<IMG_CONTEXT>")
    )
    return InternVLForConditionalGeneration, config, processor
