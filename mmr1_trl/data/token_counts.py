# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""How many tokens a prompt takes, from the text and the headers of its pictures: nothing is decoded."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image
from transformers.utils import logging
from trl.data_utils import prepare_multimodal_messages

from mmr1_trl.data.pictures.images import fit_size, image_counts, image_size, stored_images
from mmr1_trl.errors import BadInputError
from mmr1_trl.models.processing import ProcessingClass, as_written_for, tokenizer_of


logger = logging.get_logger(__name__)


@dataclass
class PromptLengths:
    """
    Tokens of every prompt of a dataset.

    Args:
        text (`np.ndarray` of shape `(num_rows,)`):
            Tokens of the templated text.
        image (`np.ndarray` of shape `(num_rows,)`):
            Tokens that stand for the pictures.
        sizes (`dict[tuple[int, int], int]`):
            Width and height of the stored pictures, in pixels, and how many have them.
        unreadable (`dict[int, str]`):
            Rows with a picture whose header cannot be read, or that the processor refuses, and why. Their `image`
            count is 0.
    """

    text: NDArray[np.int64]
    image: NDArray[np.int64]
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    unreadable: dict[int, str] = field(default_factory=dict)

    @property
    def total(self) -> NDArray[np.int64]:
        """Tokens of the whole prompt, of shape `(num_rows,)`."""
        return self.text + self.image


def image_tokens(
    width: int,
    height: int,
    processor: ProcessingClass,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> int:
    """
    Count the tokens of one picture in the prompt.

    Args:
        width (`int`), height (`int`):
            Size of the stored picture in pixels.
        processor ([`~transformers.ProcessorMixin`]):
            Processor of the model. For the Qwen-VL families the count follows from the size; any other processor is
            given a blank picture of this size.
        min_pixels (`int`, *optional*), max_pixels (`int`, *optional*):
            Limits that the trainer applies before the processor (see [`~mmr1_trl.data.pictures.images.fit_size`]).

    Returns:
        `int`: Tokens, including any that the processor puts around the picture.

    Raises:
        [`BadInputError`]: The processor refuses the size, for example a very elongated picture.
    """
    width, height = fit_size(width, height, min_pixels, max_pixels)
    parts: Any = processor
    try:
        if type(parts.image_processor).__name__.startswith("Qwen2VLImageProcessor"):
            return (
                parts.image_processor.get_number_of_image_patches(height, width) // parts.image_processor.merge_size**2
            )
        blank = Image.new("RGB", (width, height))
        with_image = parts(text=[parts.image_token], images=[[blank]])["input_ids"][0]
        return len(with_image) - len(parts.tokenizer(parts.image_token)["input_ids"]) + 1
    except ValueError as error:
        raise BadInputError(f"the processor refuses a picture of {width} x {height} pixels: {error}") from error


def prompt_lengths(
    dataset: Dataset,
    processor: ProcessingClass,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> PromptLengths:
    """
    Count the tokens of every prompt as the model will see it, chat template included.

    Args:
        dataset ([`~datasets.Dataset`]):
            Training rows.
        processor ([`~transformers.ProcessorMixin`]):
            Processor of the model.
        min_pixels (`int`, *optional*), max_pixels (`int`, *optional*):
            Limits that the trainer applies before the processor.

    Returns:
        [`PromptLengths`]
    """
    counts = image_counts(dataset)
    texts = [
        prompt
        if isinstance(prompt, str)
        else processor.apply_chat_template(
            as_written_for(processor, prepare_multimodal_messages(prompt, images=["picture"] * count)),
            tokenize=False,
            add_generation_prompt=True,
        )
        for prompt, count in zip(dataset["prompt"][:], counts)
    ]
    # One placeholder token per picture is part of the text and gives way to the picture's own tokens.
    text = np.array([len(ids) for ids in tokenizer_of(processor)(texts)["input_ids"]], dtype=np.int64) - counts
    lengths = PromptLengths(text, np.zeros(len(dataset), dtype=np.int64))
    tokens: dict[tuple[int, int], int] = {}
    for row, images in enumerate(stored_images(dataset)):
        for number, image in enumerate(images):
            try:
                size = image_size(image, f"row {row}, image {number}")
                if size not in tokens:
                    tokens[size] = image_tokens(*size, processor, min_pixels, max_pixels)
            except BadInputError as error:
                lengths.unreadable[row] = str(error)
                lengths.image[row] = 0
                break
            lengths.image[row] += tokens[size]
            lengths.sizes[size] = lengths.sizes.get(size, 0) + 1
    return lengths


def too_long(lengths: PromptLengths, max_completion_length: int, limit: int) -> str | None:
    """
    Compare the longest prompt and its completion with what a model may be given.

    Args:
        lengths ([`PromptLengths`]):
            Of the rows, from [`prompt_lengths`].
        max_completion_length (`int`), limit (`int`):
            Longest completion, and longest prompt with its completion, in tokens.

    Returns:
        `str` or `None`: What does not fit, with the numbers.
    """
    row = int(lengths.total.argmax())
    prompt = int(lengths.total[row])
    if prompt + max_completion_length <= limit:
        return None
    others = int((lengths.total + max_completion_length > limit).sum()) - 1
    return (
        f"row {row} takes {lengths.text[row]} tokens of text and {lengths.image[row]} of pictures, and with "
        f"max_completion_length={max_completion_length} that is {prompt + max_completion_length}"
        + (f"; {others} more rows are too long as well" if others else "")
    )


def check_vllm_length(args: Any, processor: ProcessingClass, **splits: Dataset | dict[str, Dataset] | None) -> None:
    """
    Refuse a `vllm_max_model_length` that a prompt and its completion do not fit into.

    Args:
        args ([`RLVRConfig`]):
            The run's options. A server has a limit of its own.
        processor ([`~transformers.ProcessorMixin`]):
            Processor of the model.
        **splits ([`~datasets.Dataset`] or `dict`, *optional*):
            The rows, by what they are called.

    Raises:
        [`BadInputError`]: With the numbers and the value to set.
    """
    limit = args.vllm_max_model_length
    if not args.use_vllm or args.vllm_mode != "colocate" or limit is None:
        return
    for split, datasets in splits.items():
        for name, rows in datasets.items() if isinstance(datasets, dict) else [("", datasets)]:
            if rows is None:
                continue
            lengths = prompt_lengths(rows, processor, args.min_pixels, args.max_pixels)
            found = too_long(lengths, args.max_completion_length, limit)
            if found is None:
                continue
            room = limit - args.max_completion_length
            fewer = f"; --max_prompt_tokens {room} leaves such rows out" if room >= lengths.total.min() else ""
            raise BadInputError(
                f"vllm_max_model_length={limit} is too little for {f'{split} {name}'.strip()}: {found}. Set "
                f"--vllm_max_model_length {lengths.total.max() + args.max_completion_length}, or a lower --max_pixels "
                f"(now {args.max_pixels}) or --max_completion_length{fewer}."
            )


def drop_long_prompts(dataset: Dataset, lengths: PromptLengths, max_prompt_tokens: int) -> Dataset:
    """
    Leave out the rows whose prompts are too long, and list them.

    A prompt is never cut: half a picture's tokens crash the model, and half a question is another question.

    Args:
        dataset ([`~datasets.Dataset`]):
            Training rows.
        lengths ([`PromptLengths`]):
            Their lengths, from [`prompt_lengths`].
        max_prompt_tokens (`int`):
            Longest prompt to keep, in tokens.

    Returns:
        [`~datasets.Dataset`]: The remaining rows, in order.

    Raises:
        [`BadInputError`]: No row is short enough.
    """
    total = lengths.total
    long = np.flatnonzero(total > max_prompt_tokens)
    if len(long) == 0:
        return dataset
    if len(long) == len(total):
        raise BadInputError(
            f"Every prompt is longer than {max_prompt_tokens} tokens; the shortest has {total.min()}. Lower "
            "max_pixels or raise the limit."
        )
    listed = ", ".join(f"row {row} ({total[row]})" for row in long[:10])
    logger.warning(
        f"Left out {len(long)} of {len(total)} prompts with more than {max_prompt_tokens} tokens: {listed}"
        f"{', ...' if len(long) > 10 else ''}."
    )
    return dataset.select(np.flatnonzero(total <= max_prompt_tokens))
