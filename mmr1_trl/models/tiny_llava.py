# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Tiny models of the LLaVA line: a tower of fixed size, and pictures in tiles or whole."""

from typing import Any

from transformers import (
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

from mmr1_trl.models.image_only import image_only
from mmr1_trl.models.tiny_tokenizer import build_tokenizer, chat_template, token_ids


Parts = tuple[type[PreTrainedModel], PreTrainedConfig, ProcessorMixin]

# The vision tower of these families, and their language model.
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
_TILES = [[56, 112], [112, 56], [112, 112]]


def llama(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """A config of a small Llama."""
    return {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        **token_ids(tokenizer),
    }


def llava() -> Parts:
    """One tile a picture, cut out of its middle."""
    tokenizer = build_tokenizer(["<image>"])
    config = LlavaConfig(
        text_config=llama(tokenizer),
        vision_config={"model_type": "clip_vision_model", **TOWER},
        image_token_index=tokenizer.get_vocab()["<image>"],
        image_seq_length=16,
        vision_feature_select_strategy="default",
        vision_feature_layer=-2,
    )
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    processor = LlavaProcessor(
        image_processor,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template("<image>"),
    )
    return LlavaForConditionalGeneration, config, processor


def llava_next() -> Parts:
    """Tiles in the shape of the picture, beside the whole; what was padding is taken out again."""
    tokenizer = build_tokenizer(["<image>"])
    config = LlavaNextConfig(
        text_config=llama(tokenizer),
        vision_config={"model_type": "clip_vision_model", **TOWER},
        image_token_index=tokenizer.get_vocab()["<image>"],
        image_grid_pinpoints=_TILES,
        image_seq_length=16,
        vision_feature_select_strategy="default",
        vision_feature_layer=-2,
    )
    image_processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, image_grid_pinpoints=_TILES
    )
    processor = LlavaNextProcessor(
        image_processor,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template("<image>"),
    )
    return LlavaNextForConditionalGeneration, config, processor


def llava_onevision() -> Parts:
    """The same with SigLIP and Qwen2; several pictures in one prompt get no tiles."""
    tokenizer = build_tokenizer(["<image>", "<video>"])
    vocabulary = tokenizer.get_vocab()
    config = LlavaOnevisionConfig(
        text_config=llama(tokenizer) | {"model_type": "qwen2", "tie_word_embeddings": True},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **TOWER},
        image_token_index=vocabulary["<image>"],
        video_token_index=vocabulary["<video>"],
        image_grid_pinpoints=_TILES,
        tie_word_embeddings=True,
    )
    image_processor = LlavaOnevisionImageProcessorPil(
        size={"height": 56, "width": 56}, image_grid_pinpoints=_TILES, default_to_square=False
    )
    processor = image_only("LlavaOnevisionProcessor")(
        image_processor,
        tokenizer,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=chat_template("<image>"),
    )
    return LlavaOnevisionForConditionalGeneration, config, processor
