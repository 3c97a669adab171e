# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rows with and without pictures in one training set: forward passes in which no picture takes part."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel
from transformers.utils import logging

from mmr1_trl.data.checks.row_checks import mixes_pictures
from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.vision.cache import shards_weights
from mmr1_trl.trainers.vision.freezing import is_frozen


logger = logging.get_logger(__name__)

# What goes with the pixels in a forward pass, one row per picture, tile or sample.
_WITH_PIXELS = ("image_grid_thw", "image_sizes", "pixel_attention_mask", "image_position_ids", "spatial_shapes")


def allow_rows_without_pictures(
    args: Any, models: Sequence[torch.nn.Module], train_dataset: Any, accelerator: Accelerator
) -> bool:
    """
    Let models take micro-batches without any picture, if the training set has rows of both kinds.

    TRL hands such a micro-batch on with empty pixels, or zeros, which towers refuse: they are taken out. With several
    processes the trained parameters of the tower then get a gradient of zero instead of none, since a process waits
    for the gradient of every parameter from all others.

    Args:
        args ([`RLVRConfig`]):
            The run's options.
        models (`Sequence[torch.nn.Module]`):
            The policy, and the reference model where there is one; not yet wrapped for training.
        train_dataset ([`~datasets.Dataset`]):
            The training rows.
        accelerator ([`~accelerate.Accelerator`]):
            What will wrap the models.

    Returns:
        `bool`: Whether all processes have pictures to show: TRL gathers those for its tables on the others alone.

    Raises:
        [`BadInputError`]: Weights are spread over processes (FSDP, ZeRO-3): all of them have to call the tower
            together, and a process without a picture would not.
    """
    if not mixes_pictures(train_dataset):
        return True
    if shards_weights(accelerator):
        raise BadInputError(
            "train_dataset has rows with and rows without pictures, which cannot be trained with weights that are "
            "spread over processes (FSDP, ZeRO-3): a process without a picture would not call the vision tower, and "
            "the others would wait for it. Use ZeRO-2 or plain data parallelism, or train on one kind of rows."
        )
    bases = [_base(model) for model in models]
    for model in bases:
        _drop_empty_pixels(model)
    if accelerator.num_processes == 1:
        return True
    _touch_tower(bases[0])
    if args.log_completions and args.log_multimodal:
        logger.warning("Rows with and without pictures on several processes: tables of completions have no pictures.")
    return False


def _base(model: torch.nn.Module) -> PreTrainedModel:
    """The model itself, which adapters wrap."""
    return next(module for module in model.modules() if isinstance(module, PreTrainedModel))


def _without_pictures(model: PreTrainedModel, kwargs: dict[str, Any]) -> bool:
    pixels = kwargs.get("pixel_values")
    # Some families keep a row of zeros per sample: the prompts tell.
    return pixels is None or len(pixels) == 0 or not (kwargs["input_ids"] == model.config.image_token_id).any()


def _drop_empty_pixels(model: PreTrainedModel) -> None:
    def before(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if "pixel_values" in kwargs and _without_pictures(module, kwargs):
            kwargs = {name: value for name, value in kwargs.items() if name not in ("pixel_values", *_WITH_PIXELS)}
        return args, kwargs

    model.register_forward_pre_hook(before, with_kwargs=True)


def _touch_tower(model: PreTrainedModel) -> None:
    """Add nothing, made of every trained parameter of the tower, to the embeddings of a pass without pictures."""
    tower = [parameter for name, parameter in model.named_parameters() if is_frozen(name, freeze_merger=True)]
    state = {"without": False}

    def before(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        state["without"] = _without_pictures(module, kwargs)

    def after(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        trained = [parameter for parameter in tower if parameter.requires_grad]
        if not (state["without"] and trained and torch.is_grad_enabled()):
            return output
        return output + sum(parameter.flatten()[:1].sum() * 0 for parameter in trained)

    model.register_forward_pre_hook(before, with_kwargs=True)
    model.get_input_embeddings().register_forward_hook(after)
