# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rewards for points, boxes and detections (UI-R1, Visual-RFT)."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.extraction import completion_text, located_text
from mmr1_trl.rewards.functions import Completions, cells_of
from mmr1_trl.rewards.grounding.boxes import Frame, box_iou, frame_of, mean_precision, point_in_box, visual_rft_score
from mmr1_trl.rewards.grounding.locations import locate, read_detections, read_gold


Sizes = Sequence[Sequence[int] | None] | None
Coordinates = str | Sequence[str | None] | None


def _replies(
    completions: Completions, solution: Sequence[str], coordinates: Coordinates, image_size: Sizes, seen_size: Sizes
) -> Iterator[tuple[str, str, Frame]]:
    """Yield the text to read, the gold, and the frame of every completion."""
    cells = cells_of(len(completions), coordinates, image_size, seen_size)
    for completion, gold, place in zip(completions, solution, cells, strict=True):
        yield located_text(completion_text(completion)), str(gold), frame_of(*place)


def point_in_box_reward(
    completions: Completions,
    solution: Sequence[str],
    coordinates: Coordinates = None,
    image_size: Sizes = None,
    seen_size: Sizes = None,
    **kwargs: Any,
) -> list[float | None]:
    """
    Reward 1.0 when the predicted point lies in the gold box, else 0.0 (UI-R1's click accuracy, ScreenSpot's metric).

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions whose answer is one point; a box counts as its center. Several points are no answer.
        solution (`Sequence[str]`):
            Gold boxes as JSON, `"[x1, y1, x2, y2]"` in pixels of the stored picture.
        coordinates (`str` or `Sequence[str]`, *optional*):
            What the model writes: `"pixels"` of the stored picture (the default), `"resized"` (pixels of the picture
            that its processor made; Qwen2.5-VL), `"thousandths"` (Qwen2-VL, Qwen3-VL), `"fractions"` or `"percent"` of
            width and height. A dataset column, which the trainers fill in, or one value for all.
        image_size (`Sequence[Sequence[int]]`, *optional*):
            Dataset column `[width, height]` of the stored picture, needed for anything but pixels.
        seen_size (`Sequence[Sequence[int]]`, *optional*):
            Dataset column `[width, height]` of the picture that the model sees, needed for `"resized"`.

    Returns:
        `list[float | None]`: Rewards; `None` where the gold is no box with an area.
    """
    rewards: list[float | None] = []
    for text, gold, frame in _replies(completions, solution, coordinates, image_size, seen_size):
        box, given = read_gold(gold) or (), locate(text, "point")
        point = frame.place_point(given) if given else None
        rewards.append(float(point is not None and point_in_box(point, box)) if len(box) == 4 else None)
    return rewards


def iou_reward(
    completions: Completions,
    solution: Sequence[str],
    coordinates: Coordinates = None,
    image_size: Sizes = None,
    seen_size: Sizes = None,
    **kwargs: Any,
) -> list[float | None]:
    """
    Reward the intersection over union of the predicted and the gold box, in [0, 1] (arguments as in
    [`point_in_box_reward`]; of a predicted box the part inside the picture counts).
    """
    rewards: list[float | None] = []
    for text, gold, frame in _replies(completions, solution, coordinates, image_size, seen_size):
        right, given = read_gold(gold) or (), locate(text, "box")
        box = frame.place_box(given) if given else None
        rewards.append((box_iou(right, box) if box else 0.0) if len(right) == 4 else None)
    return rewards


def detection_reward(
    completions: Completions,
    solution: Sequence[str],
    rule: str = "average_precision",
    coordinates: Coordinates = None,
    image_size: Sizes = None,
    seen_size: Sizes = None,
    **kwargs: Any,
) -> list[float | None]:
    """
    Reward a list of detections on one image.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions whose answer is a list of boxes, see [`~locations.read_detections`].
        solution (`Sequence[str]`):
            Gold lists in the same form, in pixels of the stored picture.
        rule (`str`, *optional*, defaults to `"average_precision"`):
            `"average_precision"`: AP at IoU 0.5, averaged over every class that either side names, in [0, 1].
            `"visual_rft"`: Visual-RFT's mean IoU of the predictions (0 below 0.5) plus its confidence term (the mean
            of c for a hit and 1 - c for a miss), in [0, 2].
        coordinates, image_size, seen_size:
            As in [`point_in_box_reward`].

    Returns:
        `list[float | None]`: Rewards; `None` where the gold cannot be read.
    """
    if rule not in ("average_precision", "visual_rft"):
        raise BadInputError(f"Unknown detection rule {rule!r}: use 'average_precision' or 'visual_rft'.")
    score = mean_precision if rule == "average_precision" else visual_rft_score
    rewards: list[float | None] = []
    for text, gold, frame in _replies(completions, solution, coordinates, image_size, seen_size):
        right, given = read_detections(gold), read_detections(text)
        if right is None:
            rewards.append(None)
        else:
            rewards.append(0.0 if given is None else score(right, frame.place_detections(given)))
    return rewards
