# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Tiny models of the Qwen-VL line and of GLM-4V, whose processors make one row of pixels per patch of a picture."""

from collections.abc import Callable
from typing import Any

from transformers import (
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm4vImageProcessorPil,
    Glm4vMoeConfig,
    Glm4vMoeForConditionalGeneration,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeConfig,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from mmr1_trl.models.image_only import image_only
from mmr1_trl.models.tiny_tokenizer import build_byte_tokenizer, build_tokenizer, chat_template, token_ids


Parts = tuple[type[PreTrainedModel], PreTrainedConfig, ProcessorMixin]

_TOKENS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


def _vision_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return {name: tokenizer.get_vocab()[token] for name, token in zip(names, _TOKENS)}


def _qwen2_text(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
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
        **token_ids(tokenizer),
    }


def _qwen2_processor(processor_class: type[ProcessorMixin], tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    image_processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 28 * 28, "longest_edge": 112 * 112}, patch_size=14, merge_size=2, temporal_patch_size=1
    )
    return processor_class(image_processor, tokenizer, chat_template=chat_template(_IMAGE))


def qwen2_vl() -> Parts:
    """The text part of the tiny Qwen2.5-VL behind the tower of Qwen2-VL."""
    tokenizer = build_tokenizer(_TOKENS)
    config = Qwen2VLConfig(
        text_config=_qwen2_text(tokenizer),
        vision_config={
            "depth": 2, "embed_dim": 48, "hidden_size": 96, "num_heads": 3, "mlp_ratio": 2, "patch_size": 14,
            "spatial_merge_size": 2, "temporal_patch_size": 1,
        },
        tie_word_embeddings=True,
        **_vision_ids(tokenizer),
    )  # fmt: skip
    return Qwen2VLForConditionalGeneration, config, _qwen2_processor(image_only("Qwen2VLProcessor"), tokenizer)


def qwen2_5_vl() -> Parts:
    """The one that learns the figures."""
    tokenizer = build_tokenizer(_TOKENS)
    config = Qwen2_5_VLConfig(
        text_config=_qwen2_text(tokenizer),
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
        **_vision_ids(tokenizer),
    )
    processor = _qwen2_processor(image_only("Qwen2_5_VLProcessor"), tokenizer)
    return Qwen2_5_VLForConditionalGeneration, config, processor


def _qwen3_text(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
        "tie_word_embeddings": True,
        **token_ids(tokenizer),
    }


_QWEN3_TOWER: dict[str, Any] = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "out_hidden_size": 64,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_position_embeddings": 64,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
# One layer of each kind, with a state of a few numbers a head.
_LINEAR_ATTENTION: dict[str, Any] = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [2, 1, 1],
        "mrope_interleaved": True,
        "partial_rotary_factor": 0.25,
    },
}


def _qwen3(
    model_class: type[PreTrainedModel],
    config_class: Any,
    text: dict[str, Any],
    tower: dict[str, Any],
    build: Callable[[list[str]], PreTrainedTokenizerFast] = build_tokenizer,
) -> Parts:
    tokenizer = build(_TOKENS)
    config = config_class(
        text_config=_qwen3_text(tokenizer) | text,
        vision_config=_QWEN3_TOWER | tower,
        tie_word_embeddings=True,
        **_vision_ids(tokenizer),
    )
    image_processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 32 * 32, "longest_edge": 128 * 128}, patch_size=16, merge_size=2
    )
    processor_class = image_only("Qwen3VLProcessor")
    return model_class, config, processor_class(image_processor, tokenizer, chat_template=chat_template(_IMAGE))


def qwen3_vl() -> Parts:
    """Features of a layer in the middle of the tower go into the language model as well (deepstack)."""
    return _qwen3(Qwen3VLForConditionalGeneration, Qwen3VLConfig, {}, {"deepstack_visual_indexes": [0]})


def qwen3_vl_moe() -> Parts:
    """The same with experts."""
    tower = {"deepstack_visual_indexes": [0]}
    return _qwen3(Qwen3VLMoeForConditionalGeneration, Qwen3VLMoeConfig, _EXPERTS, tower)


def qwen3_5() -> Parts:
    """Linear attention in the language model, no deepstack."""
    return _qwen3(Qwen3_5ForConditionalGeneration, Qwen3_5Config, _LINEAR_ATTENTION, {}, build_byte_tokenizer)


def qwen3_5_moe() -> Parts:
    """The same with experts, one of them for all tokens."""
    text = _LINEAR_ATTENTION | _EXPERTS | {"shared_expert_intermediate_size": 32}
    return _qwen3(Qwen3_5MoeForConditionalGeneration, Qwen3_5MoeConfig, text, {}, build_byte_tokenizer)


def glm4v() -> Parts:
    """Like Qwen2-VL, with other tokens around a picture."""
    return _glm4v(Glm4vForConditionalGeneration, Glm4vConfig, {})


def glm4v_moe() -> Parts:
    """The same with experts in the second layer, one of them for all tokens."""
    experts = {
        "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
        "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
    }  # fmt: skip
    return _glm4v(Glm4vMoeForConditionalGeneration, Glm4vMoeConfig, experts)


def _glm4v(model_class: type[PreTrainedModel], config_class: Any, more: dict[str, Any]) -> Parts:
    tokens = ["<|begin_of_image|>", "<|end_of_image|>", "<|image|>", "<|begin_of_video|>", "<|end_of_video|>"]
    tokenizer = build_tokenizer([*tokens, "<|video|>"])
    vocabulary = tokenizer.get_vocab()
    names = ("image_start", "image_end", "image", "video_start", "video_end", "video")
    ids: Any = {f"{name}_token_id": vocabulary[token] for name, token in zip(names, [*tokens, "<|video|>"])}
    text = _qwen3_text(tokenizer)
    text["rope_parameters"] = text["rope_parameters"] | {"partial_rotary_factor": 1.0}
    config = config_class(
        text_config=text | more,
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
            "image_size": 112, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 1,
        },
        tie_word_embeddings=True,
        **ids,
    )  # fmt: skip
    patches: Any = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 1}
    image_processor = Glm4vImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 112 * 112}, **patches)
    template = chat_template("<|begin_of_image|><|image|><|end_of_image|>")
    processor = image_only("Glm4vProcessor")(image_processor, tokenizer, chat_template=template)
    return model_class, config, processor
