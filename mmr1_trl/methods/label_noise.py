# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Wrong labels on purpose: the noise protocol of the two-stage entropy paper (https://huggingface.co/papers/2511.07738).

The paper replaces a grounding box by a random box that does not overlap it, and a class by another class. How it draws
them, whether it draws them anew every epoch, and what it does to detection could not be established. Here a label is
corrupted once per run, and whether and how depends on `(seed, row key)` alone, never on the order of the rows.
"""

import hashlib
import json
import re
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from mmr1_trl.errors import BadInputError


PLACES = ("point", "box", "detections")  # answer types whose wrong answers are other places in the picture


def row_rng(seed: int, key: Hashable) -> np.random.Generator:
    """
    Random generator that belongs to one row.

    Args:
        seed (`int`):
            Seed of the noise.
        key (`int` or `str`):
            What names the row for good, such as its `prompt_id`.

    Returns:
        `numpy.random.Generator`.
    """
    return np.random.default_rng(_row_hash(seed, key, "label"))


def choose_rows(keys: Sequence[Hashable], fraction: float, seed: int) -> np.ndarray:
    """
    Choose the rows to corrupt: those with the smallest hashes of `(seed, key)`.

    The share is exact (rounded to whole rows), independent of the order of the rows, and the rows of a small fraction
    are among those of a larger one.

    Args:
        keys (`list` of `int` or `str`):
            Unique row keys.
        fraction (`float`):
            Share of rows to corrupt, in [0, 1].
        seed (`int`):
            Seed of the noise.

    Returns:
        `numpy.ndarray` of shape `(len(keys),)`: `True` for the rows to corrupt.
    """
    if not 0.0 <= fraction <= 1.0:
        raise BadInputError(f"The share of wrong labels must lie in [0, 1], got {fraction}; 50 % is 0.5.")
    hashes = np.array([_row_hash(seed, key, "choice") for key in keys], dtype=np.uint64)
    chosen = np.zeros(len(keys), dtype=bool)
    chosen[np.argsort(hashes, kind="stable")[: round(fraction * len(keys))]] = True
    return chosen


def corrupt_box(
    box: Sequence[float], image_size: tuple[int, int], rng: np.random.Generator
) -> list[float] | list[int]:
    """
    A random box of the same size that shares no area with the true one.

    It lies wholly left of, right of, above or below the true box, on a side with enough room; where no side has
    enough, it shrinks to the room there is.

    Args:
        box (`list[float]` of length 4):
            True box `[x1, y1, x2, y2]` in pixels.
        image_size (`tuple[int, int]`):
            Width and height of the image in pixels.
        rng (`numpy.random.Generator`):
            Generator of the row.

    Returns:
        `list[float]`: Another box; of integers where `box` has integers only.
    """
    x1, y1, x2, y2 = box
    width, height = image_size
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise BadInputError(f"The box {list(box)} is not a box [x1, y1, x2, y2] inside an image of {width}x{height}.")
    sides = [(0, 0, x1, height), (x2, 0, width, height), (0, 0, width, y1), (0, y2, width, height)]
    sides = [side for side in sides if side[2] > side[0] and side[3] > side[1]]
    if not sides:
        raise BadInputError(f"The box {list(box)} covers the whole image: no other box is left to replace it.")
    roomy = [side for side in sides if side[2] - side[0] >= x2 - x1 and side[3] - side[1] >= y2 - y1]
    sides = roomy or sides
    areas = np.array([(side[2] - side[0]) * (side[3] - side[1]) for side in sides], dtype=float)
    left, top, right, bottom = sides[rng.choice(len(sides), p=areas / areas.sum())]
    new_width, new_height = min(x2 - x1, right - left), min(y2 - y1, bottom - top)
    new_x = _place(left, right - new_width, rng)
    new_y = _place(top, bottom - new_height, rng)
    return [new_x, new_y, new_x + new_width, new_y + new_height]


def corrupt_boxes(
    boxes: Sequence[Sequence[float]], image_size: tuple[int, int], rng: np.random.Generator
) -> list[list[float]]:
    """
    Boxes elsewhere for all objects of a picture. Ours: what the paper does to detection could not be established.

    Each box moves as in [`corrupt_box`], where it is tried again while it overlaps one of the true boxes, so that the
    place of one object does not become right for another; of 20 tries the one that overlaps them least is taken. A
    picture without objects gets one box of a quarter of its area, and so does an object that fills it.

    Args:
        boxes (`list[list[float]]`):
            True boxes `[x1, y1, x2, y2]` in pixels.
        image_size (`tuple[int, int]`):
            Width and height of the image in pixels.
        rng (`numpy.random.Generator`):
            Generator of the row.

    Returns:
        `list[list[float]]`: As many boxes, or one where there were none.
    """
    width, height = image_size

    def elsewhere(box: Sequence[float] | None) -> list[float]:
        if box is not None and list(box) != [0, 0, width, height]:
            return [float(number) for number in corrupt_box(box, image_size, rng)]
        left, top = float(rng.random() * width / 2), float(rng.random() * height / 2)
        return [left, top, left + width / 2, top + height / 2]

    moved = [] if boxes else [elsewhere(None)]
    for box in boxes:
        tries = [elsewhere(box) for _ in range(20)]
        moved.append(min(tries, key=lambda new: max(_shared_part(new, true) for true in boxes)))
    return moved


def _shared_part(box: Sequence[float], other: Sequence[float]) -> float:
    """The part of `box` that lies in `other`, in [0, 1]."""
    across = max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
    down = max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
    return across * down / ((box[2] - box[0]) * (box[3] - box[1]))


def answer_pool(answers: Iterable[str]) -> list[str]:
    """
    The answers to choose a wrong one from, sorted and without repeats, so that the order of the rows plays no part.

    Args:
        answers (`Iterable[str]`):
            The classes, or the answers of all rows of one type.

    Returns:
        `list[str]`.
    """
    return sorted(set(answers))


def corrupt_class(label: str, classes: Sequence[str], rng: np.random.Generator) -> str:
    """
    Another class, all equally likely. Also another row's answer of the same type, with those answers as `classes`.

    Args:
        label (`str`):
            True label.
        classes (`list[str]`):
            Possible labels, from [`answer_pool`].
        rng (`numpy.random.Generator`):
            Generator of the row.

    Returns:
        `str`: One of `classes` that differs from `label` by more than case and outer spaces.
    """
    for index in rng.permutation(len(classes)):
        if classes[index].strip().casefold() != label.strip().casefold():
            return classes[index]
    raise BadInputError(f"There is no other answer than {label!r} to replace it with.")


def near_miss(value: int, rng: np.random.Generator) -> int:
    """
    An integer off by one or two, and not negative unless `value` is: an error that a careless annotator makes. Ours.

    Args:
        value (`int`):
            True answer.
        rng (`numpy.random.Generator`):
            Generator of the row.

    Returns:
        `int`: `value` plus one of -2, -1, 1, 2.
    """
    offsets = [offset for offset in (-2, -1, 1, 2) if value < 0 or value + offset >= 0]
    return value + offsets[rng.integers(len(offsets))]


def corrupt_answer(
    answer: str,
    answer_type: str,
    rng: np.random.Generator,
    pool: Sequence[str] = (),
    image_size: tuple[int, int] | None = None,
    kind: str = "random",
) -> str:
    """
    A wrong answer of the same type: boxes elsewhere for grounding and detection, another answer of the pool otherwise.

    Args:
        answer (`str`):
            True answer; for `"point"` and `"box"` a JSON list `[x1, y1, x2, y2]` in pixels, for `"detections"` one of
            `{"bbox_2d": [x1, y1, x2, y2], ..}`.
        answer_type (`str`):
            The row's answer type.
        rng (`numpy.random.Generator`):
            Generator of the row, from [`row_rng`].
        pool (`list[str]`, *optional*, defaults to `()`):
            Answers of the same type, from [`answer_pool`]. Not needed for boxes.
        image_size (`tuple[int, int]`, *optional*):
            Width and height of the image in pixels; needed for boxes.
        kind (`str`, *optional*, defaults to `"random"`):
            `"random"` (the paper's) or `"near_miss"` (ours), which moves whole numbers by one or two and treats every
            other answer like `"random"`.

    Returns:
        `str`: The wrong answer.
    """
    if kind not in ("random", "near_miss"):
        raise BadInputError(f"Unknown kind of label noise {kind!r}; choose 'random' or 'near_miss'.")
    if answer_type in PLACES:
        if image_size is None:
            raise BadInputError(f"A wrong box for {answer} needs the size of its image.")
        if answer_type == "detections":
            found = json.loads(answer)
            boxes = corrupt_boxes([item["bbox_2d"] for item in found], image_size, rng)
            return json.dumps([item | {"bbox_2d": box} for item, box in zip(found or [{}], boxes)])
        return json.dumps(corrupt_box(json.loads(answer), image_size, rng))
    if kind == "near_miss" and answer_type == "number" and re.fullmatch(r"[+-]?\d+", answer.strip()):
        return str(near_miss(int(answer), rng))
    return corrupt_class(answer, pool, rng)


def _place(low: float, high: float, rng: np.random.Generator) -> float:
    """Uniform between `low` and `high`, both included when they are integers."""
    if isinstance(low, int) and isinstance(high, int):
        return int(rng.integers(low, high + 1))
    return float(low + rng.random() * (high - low))


def _row_hash(seed: int, key: Hashable, purpose: str) -> int:
    # The purpose keeps a row's choice and the noise it gets independent of each other.
    return int.from_bytes(hashlib.blake2b(f"{purpose}:{seed}:{key}".encode(), digest_size=8).digest(), "big")
