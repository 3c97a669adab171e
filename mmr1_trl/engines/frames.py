# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What a processor makes of a picture's size, and with it the frame in which a model writes points and boxes."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
from datasets import Dataset, List, Value
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.utils import logging

from mmr1_trl.data.pictures.images import fit_size, image_size, stored_images
from mmr1_trl.errors import BadInputError
from mmr1_trl.models.families import FAMILIES
from mmr1_trl.models.processing import ProcessingClass, load_config
from mmr1_trl.rewards.grounding.boxes import COORDINATES, frame_of
from mmr1_trl.rewards.grounding.functions import detection_reward, iou_reward, point_in_box_reward
from mmr1_trl.rewards.grounding.locations import read_detections, read_gold
from mmr1_trl.rewards.types import LOCATED_TYPES, infer_answer_type


logger = logging.get_logger(__name__)


def seen_size(
    width: int, height: int, processor: ProcessingClass, min_pixels: int | None = None, max_pixels: int | None = None
) -> tuple[int, int] | None:
    """
    Tell how large a picture is when the model sees it.

    Args:
        width (`int`), height (`int`):
            Size of the stored picture in pixels.
        processor ([`~transformers.ProcessorMixin`]):
            Processor of the model, with limits of its own.
        min_pixels (`int`, *optional*), max_pixels (`int`, *optional*):
            Limits that are applied before the processor (see [`~mmr1_trl.data.pictures.images.fit_size`]).

    Returns:
        `tuple[int, int]` or `None`: Width and height in pixels; `None` for processors other than that of the Qwen-VL
        families, which alone keep the whole picture and make it fit their patches.

    Raises:
        [`BadInputError`]: The processor refuses the size.
    """
    parts: Any = processor
    width, height = fit_size(width, height, min_pixels, max_pixels)
    parts = parts.image_processor
    if not type(parts).__name__.startswith("Qwen2VLImageProcessor"):
        return None
    low, high = parts.size["shortest_edge"], parts.size["longest_edge"]
    try:
        height, width = smart_resize(height, width, parts.patch_size * parts.merge_size, low, high)
    except ValueError as error:
        raise BadInputError(f"the processor refuses a picture of {width} x {height} pixels: {error}") from error
    return width, height


def choose_coordinates(option: str, model_type: str) -> str | None:
    """
    Settle in which frame a model writes points and boxes.

    Args:
        option (`str`):
            `"auto"`, or one of `COORDINATES`.
        model_type (`str`):
            `config.model_type`.

    Returns:
        `str` or `None`: One of `COORDINATES`; `None` where it is `"auto"` and not established for the family.
    """
    if option != "auto":
        return option
    return FAMILIES[model_type].coordinates if model_type in FAMILIES else None


def asks_for_places(reward_funcs: Any) -> bool:
    """Whether one of the reward functions compares points, boxes or detections, whatever the answers look like."""
    functions = reward_funcs if isinstance(reward_funcs, list | tuple) else [reward_funcs]
    return any(function in (point_in_box_reward, iou_reward, detection_reward) for function in functions)


def add_frames(
    dataset: Dataset,
    processor: ProcessingClass,
    coordinates: str,
    model_type: Callable[[], str],
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    *,
    every_row: bool = False,
    name: str = "The dataset",
) -> Dataset:
    """
    Give the rows that ask for points, boxes or detections the columns that the rewards compare places by.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows with `solution`, and `answer_type` where they have it. A column `coordinates`, from a preparation that
            wrote it into the prompts, has to agree.
        processor ([`~transformers.ProcessorMixin`]):
            Processor of the model.
        coordinates (`str`):
            What the model writes: one of `COORDINATES`, or `"auto"` for what the rows say, else for what is
            established of the model's family.
        model_type (`Callable[[], str]`):
            Returns `config.model_type`. Called where rows ask for places.
        min_pixels (`int`, *optional*), max_pixels (`int`, *optional*):
            Limits that are applied before the processor.
        every_row (`bool`, *optional*, defaults to `False`):
            Whether all rows ask for places, whatever their answers look like (see [`asks_for_places`]).
        name (`str`, *optional*):
            What to call the dataset in a message.

    Returns:
        [`~datasets.Dataset`]: With `image_size` and `seen_size` (width and height of the first picture as it is stored
        and as the model sees it) and `coordinates`, empty in other rows; as it was where no row asks for a place.

    Raises:
        [`BadInputError`]: The frame is not established, or cannot be computed for this processor.
    """
    located = _located(dataset, every_row)
    if not any(located):
        return dataset
    cells = dataset["coordinates"][:] if "coordinates" in dataset.column_names else []
    written = {cell if isinstance(cell, str) else repr(cell) for cell in cells if cell}
    if strange := sorted(written - set(COORDINATES)):
        raise BadInputError(
            f"{name}: the column 'coordinates' holds {strange[0]:.40}, and rows that ask for points or boxes say "
            f"there what the model writes: {', '.join(COORDINATES)}. Rename the column or drop it."
        )
    chosen: str | None = coordinates
    if coordinates == "auto":
        chosen = min(written) if written else choose_coordinates(coordinates, model_type())
    family = FAMILIES.get(model_type())
    if family is not None and family.y_first:
        if chosen is None:
            raise BadInputError(
                f"{name} asks for points or boxes in {sum(located)} rows. {model_type()} models were taught to write "
                "y before x, and the rewards read x first. Say in which frame the prompts ask for x first, with "
                f"--coordinates: {', '.join(COORDINATES)}."
            )
        logger.warning(
            f"{name}: {model_type()} models were taught to write y before x, and the rewards read x first. Do the "
            "prompts say so?"
        )
    if chosen is None:
        raise BadInputError(
            f"{name} asks for points or boxes in {sum(located)} rows, and in which frame {model_type()} models write "
            f"them is not established. Say it with --coordinates: {', '.join(COORDINATES)}."
        )
    if others := written - {chosen}:
        raise BadInputError(
            f"{name}: the prompts ask for coordinates in {min(others)!r}, and the rewards would read {chosen!r}. "
            "Prepare the rows again, or leave --coordinates out."
        )

    @lru_cache(maxsize=65_536)
    def seen(size: tuple[int, int]) -> tuple[int, int] | None:
        return seen_size(*size, processor, min_pixels, max_pixels)

    stored: list[tuple[int, int] | None] = []
    shown: list[tuple[int, int] | None] = []
    for row, (images, asked) in enumerate(zip(stored_images(dataset), located)):
        size = None
        try:
            size = image_size(images[0], f"row {row}, image 0") if asked and images else None
            shown.append(seen(size) if size else None)
        except BadInputError:  # `on_bad_row` decides about it when the picture is opened
            size = None
            shown.append(None)
        stored.append(size)
    if chosen == "resized" and any(size and not seen for size, seen in zip(stored, shown)):
        kind = type(getattr(processor, "image_processor", processor)).__name__
        raise BadInputError(
            "--coordinates resized needs the size of the picture that the model sees, which is not known for a "
            f"{kind}. Other frames: {', '.join(frame for frame in COORDINATES if frame != 'resized')}."
        )
    sizes = pa.list_(pa.int64())
    columns = {
        "image_size": (pa.array(stored, sizes), List(Value("int64"))),
        "seen_size": (pa.array(shown, sizes), List(Value("int64"))),
        "coordinates": (pa.array([chosen if size else None for size in stored], pa.string()), Value("string")),
    }
    dataset = dataset.remove_columns([column for column in columns if column in dataset.column_names])
    for column, (values, feature) in columns.items():
        dataset = dataset.add_column(column, values, feature=feature)
    return dataset


def add_training_frames(
    train_dataset: Dataset, eval_dataset: Any, model: Any, processor: ProcessingClass, args: Any, reward_funcs: Any
) -> tuple[Dataset, Any]:
    """
    Do the same to the rows of a training and of its evaluation.

    Args:
        train_dataset, eval_dataset, model, reward_funcs:
            As in [`~trl.GRPOTrainer`].
        processor ([`~transformers.ProcessorMixin`]):
            Processor of the model.
        args ([`~mmr1_trl.trainers.config.RLVRConfig`]):
            The run's options.

    Returns:
        `tuple`: The two datasets (the second may be `None`, or a dictionary of several).
    """

    def model_type() -> str:
        if not isinstance(model, str):
            return model.config.model_type
        revision = (args.model_init_kwargs or {}).get("revision")
        named = {} if revision is None else {"revision": revision}
        return load_config(model, args.trust_remote_code, **named).model_type

    def framed(dataset: Any, name: str) -> Any:
        if isinstance(dataset, dict):
            return {key: framed(part, f"{name} {key}") for key, part in dataset.items()}
        if not isinstance(dataset, Dataset):  # none, or one that is refused later
            return dataset
        limits = (args.min_pixels, args.max_pixels)
        every = asks_for_places(reward_funcs)
        return add_frames(dataset, processor, args.coordinates, model_type, *limits, every_row=every, name=name)

    return framed(train_dataset, "train_dataset"), framed(eval_dataset, "eval_dataset")


def in_all_frames(row: Mapping[str, Any]) -> dict[str, list[Any]]:
    """
    Write the gold box or point of a row in every frame that can be computed for it.

    Args:
        row (`Mapping`):
            A row with the columns of [`add_frames`].

    Returns:
        `dict[str, list]`: By frame; of detections the boxes. Empty where the gold cannot be read.
    """
    if row["answer_type"] == "detections":
        golds = [detection.box for detection in read_detections(row["solution"]) or []]
    else:
        golds = [gold for gold in [read_gold(row["solution"])] if gold]
    frames = [frame for frame in COORDINATES if frame != "resized" or row["seen_size"]]
    written: dict[str, list[Any]] = {}
    for name in frames if golds else ():
        frame = frame_of(name, row["image_size"], row["seen_size"])
        digits = 4 if name == "fractions" else 1
        boxes = [[round(number, digits) for number in frame.from_stored(gold)] for gold in golds]
        written[name] = boxes if row["answer_type"] == "detections" else boxes[0]
    return written


def asks_anywhere(dataset: Dataset) -> bool:
    """Whether the answer of some row is a point, a box or detections."""
    return any(_located(dataset, every_row=False))


def _located(dataset: Dataset, every_row: bool) -> list[bool]:
    if every_row:
        return [True] * len(dataset)
    if "solution" not in dataset.column_names:
        return [False] * len(dataset)
    if "answer_type" in dataset.column_names:
        types = dataset["answer_type"][:]
    else:
        infer = lru_cache(maxsize=65_536)(infer_answer_type)
        types = [infer(gold) if isinstance(gold, str) else None for gold in dataset["solution"][:]]
    return [kind in LOCATED_TYPES for kind in types]
