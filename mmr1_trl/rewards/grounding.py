# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rewards for points, boxes and detections (UI-R1, Visual-RFT)."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.accuracy import Completions
from mmr1_trl.rewards.answers import completion_text, extract_answer, visible_text
from mmr1_trl.rewards.boxes import MAX_CHARS, box_iou, point_in_box, read_numbers


_MAX_DETECTIONS = 300
_BOX_KEYS = ("bbox_2d", "bbox", "box", "Position", "position")
_LABEL_KEYS = ("label", "category", "class")
_CONFIDENCE_KEYS = ("confidence", "Confidence", "score")
ImageSizes = Sequence[Sequence[int] | None] | None


def _located(completion: str | list[dict]) -> str:
    # Models often give boxes as bare JSON over several lines, which no rule for short answers would pick up.
    text = completion_text(completion)
    return extract_answer(text) or (visible_text(text) or "")[-MAX_CHARS:]


def _to_pixels(numbers: Sequence[float], coordinates: str, image_size: Sequence[int] | None) -> list[float]:
    if coordinates == "pixels":
        return list(numbers)
    if coordinates not in ("thousandths", "fractions"):
        raise BadInputError(f"Unknown coordinates {coordinates!r}: use 'pixels', 'thousandths' or 'fractions'.")
    if image_size is None:
        raise BadInputError(f"Coordinates in {coordinates} need a dataset column `image_size` with [width, height].")
    unit = 1000.0 if coordinates == "thousandths" else 1.0
    return [number * image_size[index % 2] / unit for index, number in enumerate(numbers)]


def point_in_box_reward(
    completions: Completions,
    solution: Sequence[str],
    coordinates: str = "pixels",
    image_size: ImageSizes = None,
    **kwargs: Any,
) -> list[float | None]:
    """
    Reward 1.0 when the predicted point lies in the gold box, else 0.0 (UI-R1's click accuracy, ScreenSpot's metric).

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions whose answer is a point `[x, y]`; a box counts as its center.
        solution (`Sequence[str]`):
            Gold boxes as JSON, `"[x1, y1, x2, y2]"` in pixels of the stored image.
        coordinates (`str`, *optional*, defaults to `"pixels"`):
            What the model writes: `"pixels"`, `"thousandths"` of the image size (Qwen3-VL) or `"fractions"` of it.
        image_size (`Sequence[Sequence[int]]`, *optional*):
            Dataset column `[width, height]`, needed for anything but pixels.

    Returns:
        `list[float | None]`: Rewards; `None` where the gold is not a box.
    """
    rewards: list[float | None] = []
    sizes = image_size or [None] * len(completions)
    for completion, gold, size in zip(completions, solution, sizes, strict=True):
        box = read_numbers(gold)
        point = _to_pixels(read_numbers(_located(completion)), coordinates, size)
        if len(point) == 4:
            point = [(point[0] + point[2]) / 2, (point[1] + point[3]) / 2]
        hit = len(box) == 4 and len(point) == 2 and point_in_box(point, box)
        rewards.append(float(hit) if len(box) == 4 else None)
    return rewards


def iou_reward(
    completions: Completions,
    solution: Sequence[str],
    coordinates: str = "pixels",
    image_size: ImageSizes = None,
    **kwargs: Any,
) -> list[float | None]:
    """
    Reward the intersection over union of the predicted and the gold box, in [0, 1] (arguments as in
    [`point_in_box_reward`]).
    """
    rewards: list[float | None] = []
    sizes = image_size or [None] * len(completions)
    for completion, gold, size in zip(completions, solution, sizes, strict=True):
        right, box = read_numbers(gold), _to_pixels(read_numbers(_located(completion)), coordinates, size)
        rewards.append((box_iou(right, box) if len(box) == 4 else 0.0) if len(right) == 4 else None)
    return rewards


class Detection(NamedTuple):
    """One box `(x1, y1, x2, y2)` with its class name (`""` for none) and confidence."""

    box: tuple[float, ...]
    label: str
    confidence: float


def read_detections(text: str) -> list[Detection] | None:
    """
    Read a list of detections.

    Args:
        text (`str`):
            JSON, with or without a code fence: `[{"bbox_2d": [..], "label": "cat", "confidence": 0.9}, ..]`, also with
            the keys `Position` and `Confidence` and single quotes (Visual-RFT), or a list of bare boxes.

    Returns:
        `list[Detection]` or `None`: At most 300 detections; `None` when the text is no such list.
    """
    text = text[:MAX_CHARS]
    start, end = text.find("["), text.rfind("]")
    items = _read_json(text[start : end + 1] if start >= 0 else text)
    if isinstance(items, list) and len(items) == 4 and all(isinstance(item, int | float) for item in items):
        items = [items]
    if not isinstance(items, list):
        return None
    found = [_detection(item) for item in items[:_MAX_DETECTIONS]]
    return None if None in found else [detection for detection in found if detection is not None]


def _read_json(text: str) -> Any:
    for spelling in (text, text.replace("'", '"')):  # as it is first, for the sake of a "bird's nest"
        try:
            return json.loads(spelling)
        except (ValueError, RecursionError):
            continue
    return None


def _detection(item: Any) -> Detection | None:
    entry = item if isinstance(item, dict) else {"bbox": item}
    box: Any = next((entry[key] for key in _BOX_KEYS if key in entry), None)
    label = next((entry[key] for key in _LABEL_KEYS if key in entry), "")
    confidence = next((entry[key] for key in _CONFIDENCE_KEYS if key in entry), 1.0)
    numbers = [*box, confidence] if isinstance(box, list) else []
    if len(numbers) != 5 or not all(isinstance(number, int | float) and abs(number) < 1e9 for number in numbers):
        return None
    return Detection(tuple(map(float, box)), str(label).casefold(), min(1.0, max(0.0, float(confidence))))


def _matches(gold: list[Detection], given: list[Detection], threshold: float) -> list[tuple[Detection, float]]:
    """Greedy matching in order of confidence; each gold box is used once. Returns (prediction, IoU or 0.0)."""
    free, matches = list(gold), []
    for detection in sorted(given, key=lambda found: -found.confidence):
        best = max(free, key=lambda right: box_iou(right.box, detection.box), default=None)
        overlap = box_iou(best.box, detection.box) if best else 0.0
        if best is not None and overlap >= threshold:
            free.remove(best)
            matches.append((detection, overlap))
        else:
            matches.append((detection, 0.0))
    return matches


def average_precision(gold: list[Detection], given: list[Detection], threshold: float = 0.5) -> float:
    """Area under the interpolated precision-recall curve of one class on one image, in [0, 1]."""
    if not gold or not given:
        return float(not gold and not given)
    hits, precisions, recalls = 0, [], []
    for rank, (_, overlap) in enumerate(_matches(gold, given, threshold), start=1):
        hits += overlap > 0
        precisions.append(hits / rank)
        recalls.append(hits / len(gold))
    area, previous = 0.0, 0.0
    for index, recall in enumerate(recalls):
        area += (recall - previous) * max(precisions[index:])
        previous = recall
    return area


def detection_reward(
    completions: Completions,
    solution: Sequence[str],
    rule: str = "average_precision",
    coordinates: str = "pixels",
    image_size: ImageSizes = None,
    **kwargs: Any,
) -> list[float | None]:
    """
    Reward a list of detections on one image.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions whose answer is a list of boxes, see [`read_detections`].
        solution (`Sequence[str]`):
            Gold lists in the same form, in pixels of the stored image.
        rule (`str`, *optional*, defaults to `"average_precision"`):
            `"average_precision"`: AP at IoU 0.5, averaged over every class that either side names, in [0, 1].
            `"visual_rft"`: Visual-RFT's mean IoU of the predictions (0 below 0.5) plus its confidence term (the mean
            of c for a hit and 1 - c for a miss), in [0, 2].
        coordinates, image_size:
            As in [`point_in_box_reward`].

    Returns:
        `list[float | None]`: Rewards; `None` where the gold cannot be read.
    """
    if rule not in ("average_precision", "visual_rft"):
        raise BadInputError(f"Unknown detection rule {rule!r}: use 'average_precision' or 'visual_rft'.")
    rewards: list[float | None] = []
    sizes = image_size or [None] * len(completions)
    for completion, gold, size in zip(completions, solution, sizes, strict=True):
        right, given = read_detections(gold), read_detections(_located(completion))
        if right is None:
            rewards.append(None)
            continue
        if given is None:
            rewards.append(0.0)
            continue
        given = [found._replace(box=tuple(_to_pixels(found.box, coordinates, size))) for found in given]
        rewards.append(_visual_rft(right, given) if rule == "visual_rft" else _mean_precision(right, given))
    return rewards


def _mean_precision(gold: list[Detection], given: list[Detection]) -> float:
    labels = {found.label for found in gold + given}
    if not labels:
        return 1.0  # rightly nothing found
    by_label = [
        average_precision([g for g in gold if g.label == label], [d for d in given if d.label == label])
        for label in labels
    ]
    return sum(by_label) / len(by_label)


def _visual_rft(gold: list[Detection], given: list[Detection]) -> float:
    matches = _matches(gold, given, threshold=0.5)
    if not matches:
        return 0.0
    confidence = sum(found.confidence if overlap else 1 - found.confidence for found, overlap in matches)
    return (sum(overlap for _, overlap in matches) + confidence) / len(matches)
