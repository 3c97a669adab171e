# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Tiny models of Gemma 3 and Gemma 4, whose pictures' tokens see each other in both directions."""

from typing import Any

from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4ImageProcessorPil,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

from mmr1_trl.models.image_only import image_only
from mmr1_trl.models.tiny_llava import TOWER
from mmr1_trl.models.tiny_tokenizer import build_tokenizer, chat_template, token_ids


Parts = tuple[type[PreTrainedModel], PreTrainedConfig, ProcessorMixin]


def _text(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 2048,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"],
        **token_ids(tokenizer),
    }


def gemma3() -> Parts:
    """Every picture is four tokens."""
    tokenizer = build_tokenizer(
        {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    )
    vocabulary = tokenizer.get_vocab()
    config = Gemma3Config(
        text_config=_text(tokenizer) | {"query_pre_attn_scalar": 32},
        vision_config={**TOWER, "vision_use_head": False},
        mm_tokens_per_image=4,
        boi_token_index=vocabulary["<start_of_image>"],
        eoi_token_index=vocabulary["<end_of_image>"],
        image_token_index=vocabulary["<image_soft_token>"],
    )
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size={"height": 56, "width": 56}),
        tokenizer,
        image_seq_length=4,
        chat_template=chat_template("<start_of_image>"),
    )
    return Gemma3ForConditionalGeneration, config, processor


def gemma4() -> Parts:
    """A picture is up to 70 tokens in its own shape; a second embedding for every layer, and capped logits."""
    tokenizer = build_tokenizer(
        {
            "boi_token": "<|image>",
            "eoi_token": "<image|>",
            "image_token": "<|image|>",
            "video_token": "<|video|>",
            "boa_token": "<|audio>",
            "eoa_token": "<audio|>",
            "audio_token": "<|audio|>",
        }
    )
    vocabulary = tokenizer.get_vocab()
    config = Gemma4Config(
        text_config=_text(tokenizer)
        | {
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": len(tokenizer),
            "global_head_dim": 32,
            "use_bidirectional_attention": "vision",
            "final_logit_softcapping": 30.0,
        },
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "head_dim": 16, "patch_size": 4, "position_embedding_size": 64,
        },
        audio_config=None,
        boi_token_id=vocabulary["<|image>"],
        eoi_token_id=vocabulary["<image|>"],
        image_token_id=vocabulary["<|image|>"],
        video_token_id=vocabulary["<|video|>"],
        boa_token_id=vocabulary["<|audio>"],
        eoa_token_index=vocabulary["<audio|>"],
        audio_token_id=vocabulary["<|audio|>"],
    )  # fmt: skip
    processor = image_only("Gemma4Processor")(
        image_processor=Gemma4ImageProcessorPil(patch_size=4, max_soft_tokens=70),
        tokenizer=tokenizer,
        chat_template=chat_template("<|image|>"),
    )
    return Gemma4ForConditionalGeneration, config, processor
