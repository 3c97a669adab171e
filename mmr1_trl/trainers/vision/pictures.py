# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Pre-processes the pictures of each distinct prompt of a generation batch once, and hands out tickets for pixels.

In place of `pixel_values` stands one integer per picture, the number of the prompt's pictures (one per patch where TRL
counts patches, in families with `image_grid_thw`). It survives whatever a trainer does with `pixel_values` (slicing,
shuffling, copying, moving to a device), and the pixels themselves stay here once, on the CPU, however many rollouts a
prompt has. The pictures of a prompt stay together, because some processors treat a picture among others differently.
"""

import contextlib
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
import torch
from transformers import BatchFeature

from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.captured import swapped


@dataclass
class PictureBatch:
    """The pictures of one generation batch by number, those of a prompt together, and what a tower made of them."""

    inputs: dict[int, dict[str, torch.Tensor]] = field(default_factory=dict)  # what the processor made, on the CPU
    texts: dict[int, list[str]] = field(default_factory=dict)  # what stands for each picture in the prompt
    numbers: dict[bytes, int] = field(default_factory=dict)  # digest of a prompt's pictures -> their number
    features: dict[Any, Any] = field(default_factory=dict)  # filled by `cache.VisionCache`


def count(inputs: dict[str, torch.Tensor]) -> int:
    """Return how many parts a vision model returns for a prompt's pictures: pictures, tiles or one for all of them."""
    return len(inputs["image_grid_thw"] if "image_grid_thw" in inputs else inputs["pixel_values"])


def _digest(picture: PIL.Image.Image) -> bytes:
    # The content, because TRL copies the prompts with their pictures, and two rows may hold the same one.
    digest = hashlib.blake2b(f"{picture.mode} {picture.size} ".encode(), digest_size=16)
    digest.update(picture.tobytes())
    return digest.digest()


class PictureStore:
    """
    The pictures of the generation batches in use: that of the training, and those of an evaluation or a scoring.

    A training batch replaces all others; an evaluation, which may take place while a training batch is still in use,
    replaces only the last one of its own.
    """

    def __init__(self) -> None:
        self.batches: dict[str, PictureBatch] = {}
        self.preprocessed = 0  # pictures, over the whole run
        self._next = 0
        self._by_grid = False  # whether grids tell whose pixels are whose, in what the processor has returned so far

    @contextlib.contextmanager
    def preprocess_once(self, processor: Any, name: str) -> Iterator[None]:
        """
        Let a processor return tickets, for the length of one generation.

        Args:
            processor ([`~transformers.ProcessorMixin`]):
                Of a vision-language model. Its `_process_images`, which returns the pixels and what stands for each
                picture in the text, is replaced.
            name (`str`):
                `"train"`, `"eval"` or another use; pictures of the last batch of this name are dropped.
        """
        if name == "train":
            self.batches.clear()
        batch = self.batches[name] = PictureBatch()
        plain = processor._process_images
        digests: dict[int, tuple[Any, bytes]] = {}  # with the picture itself, so that its id stays its own

        def process_images(images: Any, **kwargs: Any) -> tuple[BatchFeature, list[str]]:
            prompts = _by_prompt(images)
            if not all(isinstance(picture, PIL.Image.Image) for pictures in prompts for picture in pictures):
                return plain(images, **kwargs)
            return_tensors = kwargs.pop("return_tensors", None)
            options = repr(sorted(kwargs.items(), key=lambda item: item[0])).encode()
            keys: list[bytes] = []
            new: dict[bytes, list[PIL.Image.Image]] = {}
            for pictures in prompts:
                for picture in pictures:
                    if id(picture) not in digests:
                        digests[id(picture)] = picture, _digest(picture)
                keys.append(b"".join(digests[id(picture)][1] for picture in pictures) + options)
                if keys[-1] not in batch.numbers:
                    new[keys[-1]] = pictures
            made = self._process_each(functools.partial(plain, return_tensors="pt", **kwargs), list(new.values()))
            for (key, pictures), (processed, written) in zip(new.items(), made, strict=True):
                self._add(batch, key, len(pictures), processed, written)
            numbers = [batch.numbers[key] for key in keys]
            texts = [text for number in numbers for text in batch.texts[number]]
            return self._tickets(batch, numbers, return_tensors), texts

        with swapped(processor, _process_images=process_images):
            yield

    def _process_each(
        self, process: Callable[..., tuple[BatchFeature, list[str]]], prompts: list[list[PIL.Image.Image]]
    ) -> Iterator[tuple[BatchFeature, list[str]]]:
        """
        What a processor makes of each prompt's pictures. A call costs as much as several pictures: where the grids
        tell whose pixels are whose, all prompts but the first one of a run share a call.
        """
        while prompts and not self._by_grid:
            first, *prompts = prompts
            processed, texts = process([first])
            self._by_grid = set(processed) == {"pixel_values", "image_grid_thw"}
            yield processed, texts
        if prompts:
            processed, texts = process(prompts)
            grids = processed["image_grid_thw"].split([len(pictures) for pictures in prompts])
            pixels = processed["pixel_values"].split([int(grid.prod(-1).sum()) for grid in grids])
            every = iter(texts)
            for pictures, part, grid in zip(prompts, pixels, grids):
                own = BatchFeature({"pixel_values": part, "image_grid_thw": grid})
                yield own, list(itertools.islice(every, len(pictures)))

    def _add(self, batch: PictureBatch, key: bytes, pictures: int, processed: BatchFeature, texts: list[str]) -> None:
        self.preprocessed += pictures
        batch.numbers[key] = self._next
        batch.texts[self._next] = texts
        inputs = {name: value.cpu() for name, value in processed.items() if isinstance(value, torch.Tensor)}
        batch.inputs[self._next] = inputs
        self._next += 1

    @staticmethod
    def _tickets(batch: PictureBatch, numbers: list[int], return_tensors: Any) -> BatchFeature:
        lengths = [_rows(batch.inputs[number], len(batch.texts[number])) for number in numbers]
        # Without return_tensors processors return arrays, and TRL makes tensors of them.
        data = {"pixel_values": np.repeat(np.asarray(numbers), lengths)[:, None]}
        first = batch.inputs[numbers[0]]
        if "image_grid_thw" in first:  # TRL and rotary positions count by it
            data["image_grid_thw"] = np.concatenate([batch.inputs[number]["image_grid_thw"] for number in numbers])
        if "num_patches" in first:  # by which InternVL's processor brings pictures and videos into their order
            data["num_patches"] = np.ones(sum(lengths), dtype=int)
        return BatchFeature(data, tensor_type=return_tensors)

    def batch_of(self, number: int) -> PictureBatch:
        """
        Find the batch that a prompt's pictures belong to.

        Raises:
            `RuntimeError`: Its generation batch is over. Nothing may keep tickets longer than that.
        """
        for batch in self.batches.values():
            if number in batch.inputs:
                return batch
        raise RuntimeError(f"Picture {number} belongs to a generation batch that is over.")

    def numbers(self, tickets: torch.Tensor) -> list[int]:
        """Return the numbers that tickets stand for, one for every prompt with pictures."""
        column, numbers, row = tickets[:, 0].tolist(), [], 0
        while row < len(column):
            batch = self.batch_of(column[row])
            numbers.append(column[row])
            row += _rows(batch.inputs[column[row]], len(batch.texts[column[row]]))
        return numbers

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The pictures of the training batch, for a checkpoint in the middle of it."""
        batch = self.batches.get("train", PictureBatch())
        return {
            f"pictures.{number}.{len(batch.texts[number])}.{name}": tensor
            for number, inputs in batch.inputs.items()
            for name, tensor in inputs.items()
        }

    def load_state_dict(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take back what `state_dict` returned, out of other tensors as well."""
        batch = self.batches["train"] = _batch_of_state(tensors)
        self._next = max(batch.inputs, default=-1) + 1


def _by_prompt(images: Any) -> list[list[Any]]:
    """The pictures of each prompt that has any. Without nesting every picture is a prompt's own."""
    if not isinstance(images, list | tuple):
        return [[images]]
    return [list(pictures) if isinstance(pictures, list | tuple) else [pictures] for pictures in images if pictures]


def _rows(inputs: dict[str, torch.Tensor], pictures: int) -> int:
    """How many tickets stand for a prompt's pictures."""
    return int(inputs["image_grid_thw"].prod(-1).sum()) if "image_grid_thw" in inputs else pictures


# What 0.1.0.dev called the parts of a picture, before other families than the Qwen-VL ones had any.
_FORMER = {"pixels": "pixel_values", "grids": "image_grid_thw"}


def _batch_of_state(tensors: dict[str, torch.Tensor]) -> PictureBatch:
    batch = PictureBatch()
    for key, tensor in tensors.items():
        if not key.startswith("pictures."):
            continue
        parts = key.split(".")
        if parts[1] in _FORMER:
            number, pictures, name = int(parts[2]), 1, _FORMER[parts[1]]
            tensor = tensor[None] if parts[1] == "grids" else tensor
        else:
            number, pictures, name = int(parts[1]), int(parts[2]), parts[3]
        batch.inputs.setdefault(number, {})[name] = tensor
        batch.texts[number] = [""] * pictures  # read no more: the prompts are written
    # Numbers in order, so that the pictures are encoded in the order in which they were.
    batch.inputs = dict(sorted(batch.inputs.items()))
    return batch


def collate(inputs: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Put what a processor made of several prompts' pictures together, shorter ones filled up with zeros."""
    collated = {}
    for name in inputs[0]:
        parts = [each[name] for each in inputs]
        if parts[0].dim() > 1 and len({part.shape[1] for part in parts}) > 1:
            longest = max(part.shape[1] for part in parts)
            parts = [torch.cat([p, p.new_zeros(len(p), longest - p.shape[1], *p.shape[2:])], dim=1) for p in parts]
        collated[name] = torch.cat(parts)
    return collated


def redeem_tickets(micro_batches: Iterable[dict[str, Any]], tensors: dict[str, torch.Tensor]) -> None:
    """
    Put the pixels back in place of their tickets, where a checkpoint with tickets meets a run without a cache.

    Raises:
        [`BadInputError`]: The family's pictures are more than rows of patches, so that TRL would not find its way.
    """
    store = PictureStore()
    store.load_state_dict(tensors)
    for micro_batch in micro_batches:
        tickets = micro_batch.get("pixel_values")
        if tickets is not None and len(tickets) and not tickets.is_floating_point():
            if "image_grid_thw" not in micro_batch:
                raise BadInputError(
                    "The checkpoint was saved in the middle of a generation batch whose pictures were encoded once. "
                    "Go on with encode_once, or from a checkpoint at the end of a generation batch."
                )
            inputs = [store.batch_of(number).inputs[number] for number in store.numbers(tickets)]
            micro_batch["pixel_values"] = collate(inputs)["pixel_values"].to(tickets.device)
