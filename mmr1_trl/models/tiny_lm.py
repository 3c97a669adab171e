# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Real text-only models of some hundred thousand parameters, with their tokenizers, built without a download."""

from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.models.tiny_tokenizer import build_tokenizer, chat_template


_CLASSES: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel]]] = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "llama": (LlamaConfig, LlamaForCausalLM),
}


def build_tiny_lm(family: str = "qwen2", seed: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """
    Build a small text-only model with random weights, and its tokenizer.

    Args:
        family (`str`, *optional*, defaults to `"qwen2"`):
            `"qwen2"`, `"qwen3"` or `"llama"`.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the weights. The global random state is left as it was.

    Returns:
        `tuple`: The model in float32 and in training mode, and the tokenizer. Both survive `save_pretrained` and
        `from_pretrained` ([`load_processor`] for the tokenizer).

    Raises:
        [`BadInputError`]: There is no such family.
    """
    if family not in _CLASSES:
        raise BadInputError(
            f"Unknown tiny model family {family!r}; known: {', '.join(_CLASSES)}.{did_you_mean(family, _CLASSES)}"
        )
    config_class, model_class = _CLASSES[family]
    tokenizer = build_tokenizer([])
    tokenizer.chat_template = chat_template("")
    make: Any = config_class
    config = make(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.train(), tokenizer
