# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Real vision-language models of at most a million parameters, with their processors, built without a download.

What is particular to a family is in `tiny_qwen`, `tiny_llava`, `tiny_gemma` and `tiny_idefics`, one function each.
"""

import torch
from transformers import PreTrainedConfig, PreTrainedModel, ProcessorMixin

from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.models.tiny_gemma import gemma3, gemma4
from mmr1_trl.models.tiny_idefics import idefics3, internvl, smolvlm
from mmr1_trl.models.tiny_llava import llava, llava_next, llava_onevision
from mmr1_trl.models.tiny_qwen import (
    glm4v,
    glm4v_moe,
    qwen2_5_vl,
    qwen2_vl,
    qwen3_5,
    qwen3_5_moe,
    qwen3_vl,
    qwen3_vl_moe,
)


# By `config.model_type`; each returns the model's class, its config and its processor.
_BUILDERS = {
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_vl_moe": qwen3_vl_moe,
    "qwen3_5": qwen3_5,
    "qwen3_5_moe": qwen3_5_moe,
    "glm4v": glm4v,
    "glm4v_moe": glm4v_moe,
    "gemma3": gemma3,
    "gemma4": gemma4,
    "internvl": internvl,
    "llava": llava,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "idefics3": idefics3,
    "smolvlm": smolvlm,
}

FAMILIES = tuple(_BUILDERS)


def build_tiny_vlm(family: str = "qwen2_5_vl", seed: int = 0) -> tuple[PreTrainedModel, ProcessorMixin]:
    """
    Build a small model with random weights, and its processor.

    `"qwen2_5_vl"` is the one that learns the figures (730 thousand parameters; a picture of 56x56 pixels is four
    image tokens). The others are smaller still and are there for tests of the trainers.

    Args:
        family (`str`, *optional*, defaults to `"qwen2_5_vl"`):
            One of `FAMILIES`, which are values of `config.model_type`.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the weights. The global random state is left as it was.

    Returns:
        `tuple`: The model in float32 and in training mode, and the processor. Both survive `save_pretrained` and
        `from_pretrained` ([`load_processor`] for the processor).

    Raises:
        [`BadInputError`]: There is none of that name; with the nearest.
    """
    if family not in _BUILDERS:
        raise BadInputError(
            f"Unknown tiny model family {family!r}; known: {', '.join(FAMILIES)}.{did_you_mean(family, FAMILIES)}"
        )
    model_class, config, processor = _BUILDERS[family]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
        for parameter in model.parameters():  # Gemma 3 begins with a projection of zeros, which sees no picture
            if parameter.dim() > 1 and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.02)
    tokenizer = processor.tokenizer
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.train(), processor


def tiny_parts() -> tuple[PreTrainedConfig, ProcessorMixin]:
    """Return the config and the processor that all built-in models share, without building one."""
    _, config, processor = qwen2_5_vl()
    return config, processor
