# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Pre-processes each distinct picture of a generation batch once, and hands out tickets in place of its pixels.

The image processors of the Qwen-VL families return one row of pixels per patch. In their place stands one integer per
patch, the number of the picture: it survives whatever a trainer does with `pixel_values` (slicing, shuffling, copying,
moving to a device), and the pixels themselves stay here once, on the CPU, however many rollouts a prompt has.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
import torch
from transformers import BatchFeature
from transformers.image_utils import make_flat_list_of_images


@dataclass
class PictureBatch:
    """The distinct pictures of one generation batch, by number, and what a vision tower made of them."""

    pixels: dict[int, torch.Tensor] = field(default_factory=dict)  # (patches, values of a patch), on the CPU
    grids: dict[int, torch.Tensor] = field(default_factory=dict)  # (time, height, width) in patches
    numbers: dict[bytes, int] = field(default_factory=dict)  # digest of a picture -> its number
    features: dict[Any, Any] = field(default_factory=dict)  # filled by `cache.VisionCache`


def _digest(picture: PIL.Image.Image, options: str) -> bytes:
    # The content, because TRL copies the prompts with their pictures, and two rows may hold the same one.
    digest = hashlib.blake2b(f"{picture.mode} {picture.size} {options} ".encode(), digest_size=16)
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

    @contextlib.contextmanager
    def preprocess_once(self, image_processor: Any, name: str) -> Iterator[None]:
        """
        Let an image processor return tickets, for the length of one generation.

        Args:
            image_processor ([`~transformers.BaseImageProcessor`]):
                Of the Qwen-VL families: it returns `pixel_values`, one row per patch, and `image_grid_thw`.
            name (`str`):
                `"train"`, `"eval"` or another use; pictures of the last batch of this name are dropped.
        """
        if name == "train":
            self.batches.clear()
        batch = self.batches[name] = PictureBatch()
        plain = image_processor.preprocess
        digests: dict[int, tuple[Any, bytes]] = {}  # with the picture itself, so that its id stays its own

        def preprocess(images: Any, *args: Any, return_tensors: Any = None, **kwargs: Any) -> BatchFeature:
            pictures: Any = make_flat_list_of_images(images)
            if args or not all(isinstance(picture, PIL.Image.Image) for picture in pictures):
                return plain(images, *args, return_tensors=return_tensors, **kwargs)
            options = repr(sorted(kwargs.items(), key=lambda item: item[0]))
            for picture in pictures:
                if id(picture) not in digests:
                    digests[id(picture)] = picture, _digest(picture, options)
            keys = [digests[id(picture)][1] for picture in pictures]
            new = {key: picture for key, picture in zip(keys, pictures) if key not in batch.numbers}
            if new:
                self._add(batch, list(new), plain(list(new.values()), return_tensors="pt", **kwargs))
            numbers = [batch.numbers[key] for key in keys]
            grids = torch.stack([batch.grids[number] for number in numbers])
            tickets = torch.tensor(numbers).repeat_interleave(grids.prod(-1)).unsqueeze(1)
            # Without return_tensors processors return arrays, and TRL makes tensors of them.
            data = {"pixel_values": np.asarray(tickets), "image_grid_thw": np.asarray(grids)}
            return BatchFeature(data, tensor_type=return_tensors)

        image_processor.preprocess = preprocess
        try:
            yield
        finally:
            del image_processor.preprocess

    def _add(self, batch: PictureBatch, keys: list[bytes], processed: BatchFeature) -> None:
        grids = processed["image_grid_thw"].cpu()
        self.preprocessed += len(keys)
        for key, grid, pixels in zip(keys, grids, processed["pixel_values"].cpu().split(grids.prod(-1).tolist())):
            batch.numbers[key] = self._next
            batch.pixels[self._next] = pixels
            batch.grids[self._next] = grid
            self._next += 1

    def batch_of(self, number: int) -> PictureBatch:
        """
        Find the batch that a picture belongs to.

        Raises:
            `RuntimeError`: Its generation batch is over. Nothing may keep tickets longer than that.
        """
        for batch in self.batches.values():
            if number in batch.pixels:
                return batch
        raise RuntimeError(f"Picture {number} belongs to a generation batch that is over.")

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The pictures of the training batch, for a checkpoint in the middle of it."""
        batch = self.batches.get("train", PictureBatch())
        pixels = {f"pictures.pixels.{number}": tensor for number, tensor in batch.pixels.items()}
        return pixels | {f"pictures.grids.{number}": tensor for number, tensor in batch.grids.items()}

    def load_state_dict(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take back what `state_dict` returned, out of other tensors as well."""
        batch = self.batches["train"] = PictureBatch()
        for name, tensor in tensors.items():
            if name.startswith("pictures."):
                _, part, number = name.split(".")
                getattr(batch, part)[int(number)] = tensor
        # Numbers in order, so that the pictures are encoded in the order in which they were.
        batch.pixels = dict(sorted(batch.pixels.items()))
        self._next = max(batch.pixels, default=-1) + 1


def picture_numbers(tickets: torch.Tensor, grids: torch.Tensor) -> list[int]:
    """Return the number of each picture, from the rows that stand for its patches."""
    lengths = grids.prod(-1)
    return tickets[lengths.cumsum(0) - lengths, 0].tolist()


def redeem_tickets(micro_batches: Iterable[dict[str, Any]], tensors: dict[str, torch.Tensor]) -> None:
    """Put the pixels back in place of their tickets, where a checkpoint with tickets meets a run without a cache."""
    for micro_batch in micro_batches:
        tickets = micro_batch.get("pixel_values")
        if tickets is not None and len(tickets) and not tickets.is_floating_point():
            numbers = picture_numbers(tickets, micro_batch["image_grid_thw"])
            pixels = torch.cat([tensors[f"pictures.pixels.{number}"] for number in numbers])
            micro_batch["pixel_values"] = pixels.to(tickets.device)
