# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What is particular to a model family, in one table: a family more is an entry more."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """
    Facts of one family of vision-language models.

    Args:
        name (`str`):
            What the models are called.
        image_token (`str`):
            Token that stands for a picture, or for one patch of it, in a prompt's ids.
        video_token (`str`, *optional*):
            The same of a video.
        coordinates (`str`, *optional*):
            Frame of the boxes and points that the model writes: `"resized"` (pixels of the picture that its processor
            made), `"thousandths"` or `"fractions"` of the picture. `None` where it could not be established, or where
            the model writes y first (`y_first`).
        y_first (`bool`, *optional*, defaults to `False`):
            Whether the model was taught to write y before x, which the rewards do not read.
        expansion_start (`str`, *optional*):
            Token that the tokens of a picture begin with, where that is not `image_token` itself.
        processor (`str`, *optional*):
            Name of the processor's class in transformers, where it has a part that can only be built with torchvision.
        tower (`tuple[str, ...]`, *optional*, defaults to `("visual",)`):
            Modules that make features of pictures (and sound), as the model names them.
        merger (`tuple[str, ...]`, *optional*, defaults to `("visual.merger",)`):
            What makes the language model's inputs of those features: modules, and parameters beside them.
        size_counts (`bool`, *optional*, defaults to `True`):
            Whether a smaller picture becomes fewer tokens. Elsewhere the processor brings every picture to sizes of
            its own, and `max_pixels` saves nothing.
        alone_counts (`bool`, *optional*, defaults to `False`):
            Whether a picture that is alone in its prompt is cut into tiles, and one among others is not.
        padded_per_prompt (`bool`, *optional*, defaults to `False`):
            Whether the processor returns one row of pixels per prompt, filled up to the most pictures of any.
        not_by_vllm (`str`, *optional*):
            Why a training cannot sample by vLLM, tried with a real one; `None` where it can.
    """

    name: str
    image_token: str
    video_token: str | None = None
    coordinates: str | None = None
    y_first: bool = False
    expansion_start: str | None = None
    processor: str | None = None
    tower: tuple[str, ...] = ("visual",)
    merger: tuple[str, ...] = ("visual.merger",)
    size_counts: bool = True
    alone_counts: bool = False
    padded_per_prompt: bool = False
    not_by_vllm: str | None = None


def _qwen(name: str, coordinates: str, processor: str, *more: str) -> Family:
    merger = ("visual.merger", *more)
    return Family(name, "<|image_pad|>", "<|video_pad|>", coordinates, processor=processor, merger=merger)


_DEEPSTACK = "visual.deepstack_merger_list"
_PROJECTOR, _NEWLINE = "multi_modal_projector", "image_newline"
_UNTRIED = "how it takes this family's pictures has not been tried"
_RENAMED = "its vision tower's weights have other names there, and cannot be renewed"

# By `config.model_type`. There is a tiny build of each (`tiny_vlm`), and `docs/families.md` says what was tried on it.
FAMILIES: dict[str, Family] = {
    "qwen2_vl": _qwen("Qwen2-VL", "thousandths", "Qwen2VLProcessor"),
    "qwen2_5_vl": _qwen("Qwen2.5-VL", "resized", "Qwen2_5_VLProcessor"),
    "qwen3_vl": _qwen("Qwen3-VL", "thousandths", "Qwen3VLProcessor", _DEEPSTACK),
    "qwen3_vl_moe": _qwen("Qwen3-VL with experts", "thousandths", "Qwen3VLProcessor", _DEEPSTACK),
    "qwen3_5": _qwen("Qwen3.5", "thousandths", "Qwen3VLProcessor"),
    "qwen3_5_moe": _qwen("Qwen3.5 with experts", "thousandths", "Qwen3VLProcessor"),
    "glm4v": Family("GLM-4.1V", "<|image|>", "<|video|>", "thousandths", processor="Glm4vProcessor"),
    "glm4v_moe": Family("GLM-4.5V", "<|image|>", "<|video|>", "thousandths", processor="Glm4vProcessor"),
    "gemma3": Family(
        "Gemma 3", "<image_soft_token>", y_first=True, expansion_start="<start_of_image>", tower=("vision_tower",),
        merger=(_PROJECTOR,), size_counts=False, not_by_vllm=_UNTRIED,
    ),
    "gemma4": Family(
        "Gemma 4", "<|image|>", "<|video|>", y_first=True, expansion_start="<|image>", processor="Gemma4Processor",
        tower=("vision_tower", "audio_tower"), merger=("embed_vision", "embed_audio"), size_counts=False,
        not_by_vllm=_UNTRIED,
    ),
    "internvl": Family(
        "InternVL 3 (`-hf`)", "<IMG_CONTEXT>", None, "thousandths", expansion_start="<img>",
        processor="InternVLProcessor", tower=("vision_tower",), merger=(_PROJECTOR,), size_counts=False,
    ),
    "llava": Family(
        "LLaVA 1.5", "<image>", tower=("vision_tower",), merger=(_PROJECTOR,), size_counts=False,
        not_by_vllm=_RENAMED,
    ),
    "llava_next": Family(
        "LLaVA-NeXT", "<image>", tower=("vision_tower",), merger=(_PROJECTOR, _NEWLINE), not_by_vllm=_UNTRIED
    ),
    "llava_onevision": Family(
        "LLaVA-OneVision", "<image>", "<video>", processor="LlavaOnevisionProcessor", tower=("vision_tower",),
        merger=(_PROJECTOR, _NEWLINE), alone_counts=True, not_by_vllm=_UNTRIED,
    ),
    "idefics3": Family(
        "Idefics3", "<image>", expansion_start="<fake_token_around_image>", tower=("vision_model",),
        merger=("connector",), size_counts=False, padded_per_prompt=True,
    ),
    "smolvlm": Family(
        "SmolVLM, SmolVLM2", "<image>", expansion_start="<fake_token_around_image>", processor="SmolVLMProcessor",
        tower=("vision_model",), merger=("connector",), size_counts=False, padded_per_prompt=True,
        not_by_vllm=_UNTRIED,
    ),
}  # fmt: skip
