# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Real vision-language models of at most a million parameters, with their processors, built without a download."""

from typing import Any

import torch
from transformers import (
    CLIPImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.models.image_only import Qwen2_5_VLProcessor, Qwen3VLProcessor
from mmr1_trl.models.tiny_tokenizer import build_tokenizer, chat_template


FAMILIES = ("qwen2_5_vl", "qwen3_vl", "llava", "idefics3")
_QWEN_TOKENS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
_QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


def build_tiny_vlm(family: str = "qwen2_5_vl", seed: int = 0) -> tuple[PreTrainedModel, ProcessorMixin]:
    """
    Build a small model with random weights, and its processor.

    `"qwen2_5_vl"` is the one that learns the figures (730 thousand parameters; a picture of 56x56 pixels is four
    image tokens). The others are smaller still and are there for tests of the trainers.

    Args:
        family (`str`, *optional*, defaults to `"qwen2_5_vl"`):
            One of `"qwen2_5_vl"`, `"qwen3_vl"`, `"llava"` and `"idefics3"`.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the weights. The global random state is left as it was.

    Returns:
        `tuple`: The model in float32 and in training mode, and the processor. Both survive `save_pretrained` and
        `from_pretrained` ([`load_processor`] for the processor).
    """
    builders = {"qwen2_5_vl": _qwen2_5_vl, "qwen3_vl": _qwen3_vl, "llava": _llava, "idefics3": _idefics3}
    if family not in builders:
        raise BadInputError(
            f"Unknown tiny model family {family!r}; known: {', '.join(FAMILIES)}.{did_you_mean(family, FAMILIES)}"
        )
    model_class, config, processor = builders[family]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    tokenizer = processor.tokenizer
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.train(), processor


def tiny_parts() -> tuple[PreTrainedConfig, ProcessorMixin]:
    """Return the config and the processor that all built-in models share, without building one."""
    _, config, processor = _qwen2_5_vl()
    return config, processor


def _token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}


def _qwen_token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return {name: tokenizer.get_vocab()[token] for name, token in zip(names, _QWEN_TOKENS)}


def _qwen2_5_vl() -> tuple[type[PreTrainedModel], PreTrainedConfig, ProcessorMixin]:
    tokenizer = build_tokenizer(_QWEN_TOKENS)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "max_position_embeddings": 2048,
            # The usual base of 10^4 to 10^6 would turn a step of one image token by hundredths of a degree in the
            # width section, so that left and right looked the same; here it is more than six degrees.
            "rope_parameters": {"rope_type": "default", "rope_theta": 10.0, "mrope_section": [4, 6, 6]},
            "tie_word_embeddings": True,
            "initializer_range": 0.05,
            **_token_ids(tokenizer),
        },
        vision_config={
            "initializer_range": 0.05,
            "depth": 2,
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_heads": 3,
            "out_hidden_size": 96,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 1,
            "window_size": 112,
            "fullatt_block_indexes": [0, 1],
        },
        tie_word_embeddings=True,
        **_qwen_token_ids(tokenizer),
    )
    image_processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 28 * 28, "longest_edge": 112 * 112}, patch_size=14, merge_size=2, temporal_patch_size=1
    )
    processor = Qwen2_5_VLProcessor(image_processor, tokenizer, chat_template=chat_template(_QWEN_IMAGE))
    return Qwen2_5_VLForConditionalGeneration, config, processor


def _qwen3_vl() -> tuple[type[PreTrainedModel], PreTrainedConfig, ProcessorMixin]:
    tokenizer = build_tokenizer(_QWEN_TOKENS)
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
            "tie_word_embeddings": True,
            **_token_ids(tokenizer),
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 64,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        tie_word_embeddings=True,
        **_qwen_token_ids(tokenizer),
    )
    image_processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 32 * 32, "longest_edge": 128 * 128}, patch_size=16, merge_size=2
    )
    processor = Qwen3VLProcessor(image_processor, tokenizer, chat_template=chat_template(_QWEN_IMAGE))
    return Qwen3VLForConditionalGeneration, config, processor


# The vision tower of the two families below, and their language model.
_TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}


def _llama(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        **_token_ids(tokenizer),
    }


def _llava() -> tuple[type[PreTrainedModel], PreTrainedConfig, ProcessorMixin]:
    tokenizer = build_tokenizer(["<image>"])
    config = LlavaConfig(
        text_config=_llama(tokenizer),
        vision_config={"model_type": "clip_vision_model", **_TOWER},
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


def _idefics3() -> tuple[type[PreTrainedModel], PreTrainedConfig, ProcessorMixin]:
    tokenizer = build_tokenizer(["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>"])
    image_processor = Idefics3ImageProcessorPil(
        size={"longest_edge": 56}, max_image_size={"longest_edge": 56}, do_image_splitting=False
    )
    # 4x4 patches of 14 pixels, four of them merged into one token.
    processor = Idefics3Processor(image_processor, tokenizer, image_seq_len=4, chat_template=chat_template("<image>"))
    config = Idefics3Config(
        text_config=_llama(tokenizer),
        vision_config=dict(_TOWER),
        scale_factor=2,
        image_token_id=tokenizer.get_vocab()["<image>"],
    )
    return Idefics3ForConditionalGeneration, config, processor
