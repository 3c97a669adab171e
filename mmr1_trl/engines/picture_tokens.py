# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The tokens that stand for pictures: one per picture in what vLLM reads, none in what is sampled."""

from collections.abc import Sequence
from typing import Any

from PIL.Image import Image
from transformers import PreTrainedConfig, ProcessorMixin

from mmr1_trl.errors import BadInputError
from mmr1_trl.models.families import FAMILIES


# The most that vLLM's logit bias can take away; no logit of a language model makes up for it.
NEVER = -100.0


def placeholder_ids(config: PreTrainedConfig) -> list[int]:
    """
    Return the ids of the tokens that stand for a picture, a video or sound, which no completion may hold: read again,
    it would have more pictures than there are.

    Args:
        config ([`~transformers.PreTrainedConfig`]):
            Of the whole model, not of its text part.
    """
    ids = (getattr(config, name, None) for name in ("image_token_id", "video_token_id", "audio_token_id"))
    return [token for token in ids if token is not None]


def without_placeholders(options: dict[str, Any] | None, config: PreTrainedConfig) -> dict[str, Any]:
    """
    Forbid vLLM the picture and the video token.

    Args:
        options (`dict`, *optional*):
            Arguments of `vllm.SamplingParams`, a `logit_bias` of one's own included.
        config ([`~transformers.PreTrainedConfig`]):
            Of the whole model.

    Returns:
        `dict`: The options with a `logit_bias`.
    """
    options = dict(options or {})
    bias = {int(token): value for token, value in (options.get("logit_bias") or {}).items()}
    return options | {"logit_bias": bias | dict.fromkeys(placeholder_ids(config), NEVER)}


def one_token_per_picture(
    prompts: Sequence[list[int]], images: Sequence[Sequence[Image] | None], processor: ProcessorMixin, model_type: str
) -> list[list[int]]:
    """
    Undo the processor's expansion of pictures: vLLM makes its own from one token per picture.

    Every picture's tokens are counted by its size, as the processor counts them, so that pictures side by side without
    a token between them are told apart.

    Args:
        prompts (`Sequence[list[int]]`):
            Token ids as the processor makes them, with as many picture tokens per picture as it has patches.
        images (`Sequence[Sequence[PIL.Image] | None]`):
            The pictures of each prompt, in order; `None` for a prompt of text alone.
        processor ([`~transformers.ProcessorMixin`]):
            What made the ids.
        model_type (`str`):
            `config.model_type`.

    Returns:
        `list[list[int]]`: The ids with one picture token per picture.

    Raises:
        [`BadInputError`]: The picture tokens of a prompt are not those of its pictures.
    """
    numbers: Any = processor
    image_token = numbers.image_token_id
    first_token = image_token
    if model_type in FAMILIES and FAMILIES[model_type].expansion_start is not None:
        first_token = numbers.tokenizer.convert_tokens_to_ids(FAMILIES[model_type].expansion_start)
    distinct = sorted({(image.height, image.width) for pictures in images for image in pictures or ()})
    counts = numbers._get_num_multimodal_tokens(image_sizes=distinct).num_image_tokens if distinct else []
    lengths = dict(zip(distinct, counts))

    collapsed: dict[tuple[Any, ...], list[int]] = {}  # a group's prompts are the same

    def collapse(ids: list[int], pictures: Sequence[Image]) -> list[int]:
        short, position = [], 0
        for image in pictures:
            length = lengths[image.height, image.width]
            try:
                start = ids.index(first_token, position)
            except ValueError:
                start = len(ids)
            span = ids[start : start + length]
            if len(span) < length or image_token not in span or (first_token == image_token and len(set(span)) > 1):
                raise BadInputError(_mismatch(len(pictures), image, length, ids.count(image_token), model_type))
            short += [*ids[position:start], image_token]
            position = start + length
        if image_token in ids[position:]:
            expected = sum(lengths[image.height, image.width] for image in pictures)
            raise BadInputError(_mismatch(len(pictures), None, expected, ids.count(image_token), model_type))
        return short + ids[position:]

    result = []
    for ids, pictures in zip(prompts, images):
        key = (*ids, *((image.height, image.width) for image in pictures or ()))
        if key not in collapsed:
            collapsed[key] = collapse(ids, pictures or ())
        result.append(collapsed[key])
    return result


def _mismatch(pictures: int, image: Image | None, length: int, found: int, model_type: str) -> str:
    one = "they take" if image is None else f"one of {image.width}x{image.height} takes"
    return (
        f"A prompt with {pictures} pictures cannot be given to vLLM: {one} {length} tokens by the processor of "
        f"{model_type}, and the {found} picture tokens of the prompt are not so. Do the chat template and the "
        "processor belong to this model?"
    )
