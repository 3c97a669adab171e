# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What is particular to a model family, in one table: a family more is an entry more."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """
    Facts of one family of vision-language models.

    Args:
        image_token (`str`):
            Token that stands for a picture, or for one patch of it, in a prompt's ids.
        video_token (`str`, *optional*):
            The same of a video.
        coordinates (`str`, *optional*):
            Frame of the boxes and points that the model writes: `"resized"` (pixels of the picture that its processor
            made), `"thousandths"` or `"fractions"` of the picture. `None` where it could not be established, or where
            the model writes y first, which the rewards do not read (Gemma, PaliGemma).
        expansion_start (`str`, *optional*):
            Token that the tokens of a picture begin with, where that is not `image_token` itself.
        not_by_vllm (`str`, *optional*):
            Why a training cannot sample by vLLM, tried with a real one; `None` where it can.
    """

    image_token: str
    video_token: str | None = None
    coordinates: str | None = None
    expansion_start: str | None = None
    not_by_vllm: str | None = None


# By `config.model_type`.
FAMILIES: dict[str, Family] = {
    "qwen2_vl": Family("<|image_pad|>", "<|video_pad|>", "thousandths"),
    "qwen2_5_vl": Family("<|image_pad|>", "<|video_pad|>", "resized"),
    "qwen3_vl": Family("<|image_pad|>", "<|video_pad|>", "thousandths"),
    "qwen3_vl_moe": Family("<|image_pad|>", "<|video_pad|>", "thousandths"),
    "qwen3_5": Family("<|image_pad|>", "<|video_pad|>", "thousandths"),
    "qwen3_5_moe": Family("<|image_pad|>", "<|video_pad|>", "thousandths"),
    "internvl": Family("<IMG_CONTEXT>", None, "thousandths", expansion_start="<img>"),
    "glm4v": Family("<|image|>", "<|video|>", "thousandths"),
    "glm4v_moe": Family("<|image|>", "<|video|>", "thousandths"),
    "llava": Family("<image>", not_by_vllm="its vision tower's weights have other names there, and cannot be renewed"),
    "idefics3": Family("<image>", expansion_start="<fake_token_around_image>"),
}
