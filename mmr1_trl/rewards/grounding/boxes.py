# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Points and boxes: the frames that models write them in, their geometry, and detections. Standard library only."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mmr1_trl.errors import BadInputError, did_you_mean


_OVERSHOOT = 0.02  # of a side: so far outside a point still counts as one on the edge

_PARTS = {"thousandths": 1000.0, "fractions": 1.0, "percent": 100.0}
COORDINATES = ("pixels", "resized", *_PARTS)


@dataclass(frozen=True)
class Frame:
    """
    What the numbers of a reply mean on one picture.

    Args:
        coordinates (`str`, *optional*, defaults to `"pixels"`):
            `"pixels"` of the stored picture, `"resized"` (pixels of the picture that the processor made of it),
            `"thousandths"`, `"fractions"` or `"percent"` of width and height.
        stored (`tuple[int, int]`, *optional*):
            Width and height of the stored picture in pixels; needed for anything but `"pixels"`.
        seen (`tuple[int, int]`, *optional*):
            Width and height of the picture that the model sees; needed for `"resized"`.

    Raises:
        [`BadInputError`]: The coordinates are unknown, or a size that they need is missing.
    """

    coordinates: str = "pixels"
    stored: tuple[int, int] | None = None
    seen: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.coordinates not in COORDINATES:
            raise BadInputError(
                f"Unknown coordinates {self.coordinates!r}: use {', '.join(map(repr, COORDINATES))}."
                + did_you_mean(str(self.coordinates), COORDINATES)
            )
        needed = {"image_size": self.stored} if self.coordinates != "pixels" else {}
        needed |= {"seen_size": self.seen} if self.coordinates == "resized" else {}
        if missing := [name for name, size in needed.items() if size is None]:
            raise BadInputError(
                f"Coordinates in {self.coordinates!r} need a dataset column `{missing[0]}` with [width, height]; the "
                "trainers and mmr1_trl.engines.frames.add_frames make it."
            )

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the stored picture per unit, across and down."""
        if self.coordinates == "pixels" or self.stored is None:
            return 1.0, 1.0
        width, height = self.stored
        if self.coordinates == "resized" and self.seen is not None:
            return width / self.seen[0], height / self.seen[1]
        return width / _PARTS[self.coordinates], height / _PARTS[self.coordinates]

    def to_stored(self, numbers: Iterable[float]) -> list[float]:
        """Bring coordinates (x, y, x, y, ..) of this frame into pixels of the stored picture."""
        return [number * self.scale[index % 2] for index, number in enumerate(numbers)]

    def from_stored(self, numbers: Iterable[float]) -> list[float]:
        """Write pixels of the stored picture in this frame."""
        return [number / self.scale[index % 2] for index, number in enumerate(numbers)]

    def place_point(self, numbers: Sequence[float]) -> list[float] | None:
        """
        Find the place of a predicted point in the stored picture. A box stands for the center of its visible part.

        Returns:
            `list[float]` or `None`: x and y in pixels. A point that overshoots the picture by at most 2 % of a side is
            moved to its edge; one that is further outside has no place.
        """
        point = self.to_stored(numbers)
        if len(point) == 4:
            left, top, right, bottom = self.place_box(numbers) or corners(point)
            point = [(left + right) / 2, (top + bottom) / 2]
        if self.stored is None:
            return point
        if any(not -_OVERSHOOT * side <= value <= (1 + _OVERSHOOT) * side for value, side in zip(point, self.stored)):
            return None
        return [min(max(value, 0.0), side) for value, side in zip(point, self.stored)]

    def place_box(self, numbers: Sequence[float]) -> list[float] | None:
        """Return the part of a predicted box that lies in the stored picture, in its pixels; `None` without one."""
        left, top, right, bottom = corners(self.to_stored(numbers))
        if self.stored is not None:
            left, right = (min(max(value, 0.0), self.stored[0]) for value in (left, right))
            top, bottom = (min(max(value, 0.0), self.stored[1]) for value in (top, bottom))
        return [left, top, right, bottom] if left < right and top < bottom else None

    def place_detections(self, found: Sequence["Detection"]) -> list["Detection"]:
        """Return detections with their boxes in the stored picture; one that lies outside it overlaps nothing."""
        nowhere = (0.0, 0.0, 0.0, 0.0)
        return [detection._replace(box=tuple(self.place_box(detection.box) or nowhere)) for detection in found]


STORED_PIXELS = Frame()


def frame_of(
    coordinates: str | None = None, image_size: Sequence[int] | None = None, seen_size: Sequence[int] | None = None
) -> Frame:
    """Build a [`Frame`] of the cells of a row, which may be empty."""
    stored, seen = (
        None if not size or None in size else (int(size[0]), int(size[1])) for size in (image_size, seen_size)
    )
    return Frame(coordinates or "pixels", stored, seen)


def corners(box: Sequence[float]) -> tuple[float, float, float, float]:
    """Put the corners of a box in order: `(left, top, right, bottom)`."""
    (left, right), (top, bottom) = sorted((box[0], box[2])), sorted((box[1], box[3]))
    return left, top, right, bottom


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes `(x1, y1, x2, y2)`, corners in any order, in [0, 1]."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = corners(a), corners(b)
    shared = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared
    return shared / union if union > 0 else 0.0


def point_in_box(point: Sequence[float], box: Sequence[float]) -> bool:
    """Whether `(x, y)` lies in `(x1, y1, x2, y2)`, edges included, corners in any order."""
    left, top, right, bottom = corners(box)
    return left <= point[0] <= right and top <= point[1] <= bottom


class Detection(NamedTuple):
    """One box `(x1, y1, x2, y2)` with its class name (`""` for none) and confidence."""

    box: tuple[float, ...]
    label: str
    confidence: float


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


def mean_precision(gold: list[Detection], given: list[Detection]) -> float:
    """
    Average precision at IoU 0.5, averaged over every class that either side names, in [0, 1].

    Golds without a class are of the one that the question names, and so are the predictions then, whatever they say.
    """
    if gold and not any(found.label for found in gold):
        given = [found._replace(label="") for found in given]
    labels = {found.label for found in gold + given}
    if not labels:
        return 1.0  # rightly nothing found
    by_label = [
        average_precision([g for g in gold if g.label == label], [d for d in given if d.label == label])
        for label in labels
    ]
    return sum(by_label) / len(by_label)


def visual_rft_score(gold: list[Detection], given: list[Detection]) -> float:
    """Visual-RFT's mean IoU of the predictions (0 below 0.5) plus its confidence term, in [0, 2]."""
    matches = _matches(gold, given, threshold=0.5)
    if not matches:
        return 0.0
    confidence = sum(found.confidence if overlap else 1 - found.confidence for found, overlap in matches)
    return (sum(overlap for _, overlap in matches) + confidence) / len(matches)
