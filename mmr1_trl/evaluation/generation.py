# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Batched generation for evaluation, by the same prompts and token rules as in training."""

import hashlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from datasets import Dataset
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from trl.data_utils import prepare_multimodal_messages

from mmr1_trl.data.pictures.images import (
    BadImageError,
    fit_pixels,
    image_size,
    open_image,
    require_shape,
    stored_images,
)
from mmr1_trl.engines.picture_tokens import placeholder_ids
from mmr1_trl.models.processing import ProcessingClass, as_written_for, tokenizer_of


@dataclass
class Batch:
    """Rows that are generated together: all with pictures or all without, and of similar length."""

    rows: list[int]
    conversations: list[list[dict[str, Any]]] = field(default_factory=list)


@dataclass
class Completion:
    """One generated completion: its text, its length in tokens (the end token included) and whether it was cut off."""

    text: str
    length: int
    truncated: bool


class Generator(Protocol):
    """What completes a batch of conversations, the same for the same seed."""

    def fingerprint(self) -> str:
        """A short text that changes when the weights do."""
        ...

    def complete(
        self,
        conversations: list[list[dict[str, Any]]],
        *,
        max_new_tokens: int,
        num_samples: int | None,
        temperature: float,
        seed: int,
    ) -> list[list[Completion]]:
        """For every conversation its completions; the arguments are those of [`generate`]."""
        ...


class TransformersGenerator:
    """
    Completes by [`generate`].

    Args:
        model (`PreTrainedModel`), processor (`ProcessorMixin`):
            The model, in evaluation mode, and its processor.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessingClass) -> None:
        self.model, self.processor = model, processor

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        # The first numbers of every tensor change with any step of training, and cost little.
        for parameter in self.model.parameters():
            digest.update(str(parameter.detach().flatten()[:8].tolist()).encode())
        return digest.hexdigest()[:16]

    def complete(
        self,
        conversations: list[list[dict[str, Any]]],
        *,
        max_new_tokens: int,
        num_samples: int | None,
        temperature: float,
        seed: int,
    ) -> list[list[Completion]]:
        torch.manual_seed(seed)
        return generate(
            self.model,
            self.processor,
            conversations,
            max_new_tokens=max_new_tokens,
            num_samples=num_samples,
            temperature=temperature,
        )


@contextmanager
def undisturbed(model: PreTrainedModel) -> Iterator[None]:
    """
    Put `model` into evaluation mode and leave no trace: every submodule's train/eval flag and torch's random state
    are restored afterwards, so that an evaluation in the middle of a run does not change the run.
    """
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.random.fork_rng(), torch.no_grad():
            yield
    finally:
        for module, training in flags:
            module.training = training


def plan_batches(
    dataset: Dataset, batch_size: int, without: Container[int] = ()
) -> tuple[list[Batch], list[dict[str, Any]]]:
    """
    Group the rows of `dataset` into batches of similar prompt length. Only picture headers are read here.

    Args:
        dataset (`datasets.Dataset`):
            Rows with `prompt` (messages) and, for visual rows, `images`.
        batch_size (`int`):
            Largest number of rows in a batch.
        without (`Container[int]`, *optional*):
            Rows that no batch holds.

    Returns:
        `tuple[list[Batch], list[dict]]`: The batches, longest prompts first (so that a lack of memory shows at once),
        and the rows left out because a picture's header cannot be read or it is too narrow: `{"row", "reason"}`.
    """
    keys, skipped = [], []
    for row, (example, images) in enumerate(zip(dataset.select_columns("prompt"), stored_images(dataset))):
        if row in without:
            continue
        characters = sum(len(str(message["content"])) for message in example["prompt"])
        try:
            sizes = [image_size(image, f"row {row}, image {i}") for i, image in enumerate(images)]
            for i, size in enumerate(sizes):
                require_shape(*size, f"row {row}, image {i}")
        except BadImageError as error:
            skipped.append({"row": row, "reason": str(error)})
            continue
        # A merged vision token covers 28 x 28 pixels in the Qwen-VL family, and a text token about 4 characters.
        # The estimate only sorts; being wrong for other families costs padding, nothing else.
        tokens = characters // 4 + sum(width * height for width, height in sizes) // 784
        keys.append((bool(images), tokens, row))
    keys.sort(key=lambda key: (key[0], -key[1], key[2]))
    batches: list[Batch] = []
    for visual in (True, False):
        rows = [row for with_images, _, row in keys if with_images is visual]
        batches += [Batch(rows[start : start + batch_size]) for start in range(0, len(rows), batch_size)]
    return batches, skipped


def load_batch(
    dataset: Dataset, batch: Batch, min_pixels: int | None = None, max_pixels: int | None = None
) -> list[dict[str, Any]]:
    """
    Decode the pictures of `batch` and fill in its conversations. Rows with a broken picture leave the batch.

    Returns:
        `list[dict]`: The rows left out, as `{"row", "reason"}`.
    """
    kept, skipped = [], []
    rows = dataset.select(batch.rows)
    for row, example, stored in zip(batch.rows, rows.select_columns("prompt"), stored_images(rows)):
        try:
            images = [open_image(image, f"row {row}, image {i}") for i, image in enumerate(stored)]
        except BadImageError as error:
            skipped.append({"row": row, "reason": str(error)})
            continue
        if min_pixels is not None or max_pixels is not None:
            images = [fit_pixels(image, min_pixels, max_pixels) for image in images]
        batch.conversations.append(prepare_multimodal_messages(example["prompt"], images))
        kept.append(row)
    batch.rows = kept
    return skipped


def end_token_ids(config: GenerationConfig, processor: ProcessingClass) -> list[int]:
    """The tokens that end a completion: those of the model's generation config and the tokenizer's, as in training."""
    ids = config.eos_token_id
    ids = [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
    return list(dict.fromkeys([tokenizer_of(processor).eos_token_id, *ids]))


def generate(
    model: PreTrainedModel,
    processor: ProcessingClass,
    conversations: list[list[dict[str, Any]]],
    *,
    max_new_tokens: int,
    num_samples: int | None = None,
    temperature: float = 1.0,
) -> list[list[Completion]]:
    """
    Complete a batch of conversations.

    Args:
        model (`PreTrainedModel`):
            Model in evaluation mode.
        processor (`ProcessorMixin`):
            Its processor.
        conversations (`list[list[dict]]`):
            Structured messages with the pictures in place, all with pictures or all without.
        max_new_tokens (`int`):
            Longest completion, in tokens.
        num_samples (`int`, *optional*):
            Completions to sample per conversation. `None` decodes one completion greedily.
        temperature (`float`, *optional*, defaults to `1.0`):
            Sampling temperature.

    Returns:
        `list[list[Completion]]`: For every conversation its completions.
    """
    if not conversations:
        return []
    text_only = isinstance(processor, PreTrainedTokenizerBase)
    padded: dict[str, Any] = {"padding": True, "padding_side": "left"}
    inputs: Any = processor.apply_chat_template(
        [as_written_for(processor, messages) for messages in conversations],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        **(padded if text_only else {"processor_kwargs": padded}),
    )
    # Pictures get the model's type; integers stay as they are.
    inputs = inputs.to(model.device, **({} if text_only else {"dtype": model.dtype}))
    ends = end_token_ids(model.generation_config, processor)
    options: dict[str, Any] = {"do_sample": False}
    if num_samples is not None:
        # Set every warper: an unset one would be filled in from the model's own generation config.
        options = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        options["num_return_sequences"] = num_samples
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer_of(processor).pad_token_id,
        eos_token_id=ends,
        suppress_tokens=placeholder_ids(model.config) or None,
        repetition_penalty=1.0,
        use_cache=True,
        disable_compile=True,
        **options,
    )
    run: Any = model.generate  # typed as a submodule or tensor by torch's stubs
    sequences = run(**inputs, generation_config=config)[:, inputs["input_ids"].shape[1] :].cpu()
    per_prompt = num_samples or 1
    completions = [_cut(ids, ends, processor) for ids in sequences]
    return [completions[start : start + per_prompt] for start in range(0, len(completions), per_prompt)]


def _cut(ids: torch.Tensor, ends: list[int], processor: ProcessingClass) -> Completion:
    is_end = torch.isin(ids, torch.tensor(ends))
    truncated = not bool(is_end.any())
    length = len(ids) if truncated else int(is_end.int().argmax()) + 1
    return Completion(tokenizer_of(processor).decode(ids[:length], skip_special_tokens=True), length, truncated)
