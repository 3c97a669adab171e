# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Gold boxes and detections, brought from a dataset's own frame into pixels of the stored picture, once."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.rewards.grounding.boxes import COORDINATES
from mmr1_trl.rewards.grounding.locations import locate, read_detections


BOX_FORMATS = ("xyxy", "xywh")
GOLD_COORDINATES = ("auto", "pixels", "thousandths", "fractions")
_SLACK, _SLACK_PIXELS = 0.02, 2.0  # of a side: annotations overshoot by so much; what is further outside was misread

# "between 0 and 1000", "from 0 to 1000", "0-1000", "[0, 1000]"
_THOUSANDTHS = re.compile(r"(?<![\d.,])0 ?(?:and|to|-|–|~|,) ?1,?000(?![\d.,]\d)(?!\d)")
_UNITS = {
    "pixels": "in pixels of the original picture, which is {0} x {1}",
    "resized": "in pixels",
    "thousandths": "in thousandths of the picture's width and height, from 0 to 1000",
    "fractions": "as fractions of the picture's width and height, from 0 to 1",
    "percent": "in percent of the picture's width and height, from 0 to 100",
}


@dataclass(frozen=True)
class Places:
    """
    How a dataset writes its gold boxes, and how a model is asked to write its own.

    Args:
        box_format (`str`, *optional*, defaults to `"xyxy"`):
            `"xyxy"` (left, top, right, bottom) or `"xywh"` (left, top, width, height).
        gold_coordinates (`str`, *optional*, defaults to `"auto"`):
            `"pixels"` of the stored picture, `"thousandths"` or `"fractions"` of its sides; `"auto"`: fractions when
            no number of an answer exceeds 1, else pixels.
        coordinates (`str`, *optional*):
            One of [`~rewards.grounding.boxes.COORDINATES`]: what the prompts ask for. They say nothing by default.

    Raises:
        [`BadInputError`]: One of them is something else.
    """

    box_format: str = "xyxy"
    gold_coordinates: str = "auto"
    coordinates: str | None = None

    def __post_init__(self) -> None:
        for name, choices in (
            ("box_format", BOX_FORMATS), ("gold_coordinates", GOLD_COORDINATES), ("coordinates", COORDINATES),
        ):  # fmt: skip
            value = getattr(self, name)
            if value not in choices and (name, value) != ("coordinates", None):
                near = did_you_mean(str(value), choices)
                raise BadInputError(f"{name}={value!r} is not one of {', '.join(choices)}.{near}")

    def as_asked(self, question: str) -> "Places":
        """The same for one row, whose question may say by itself that places are in thousandths (Visual-RFT's do)."""
        if not _THOUSANDTHS.search(question):
            return self
        gold = "thousandths" if self.gold_coordinates == "auto" else self.gold_coordinates
        return replace(self, coordinates="thousandths", gold_coordinates=gold)

    def unit(self, size: tuple[int, int] | None) -> str:
        """Say to a model in which frame to write, on a picture of this width and height; `""` without either."""
        if self.coordinates is None or size is None:
            return ""
        return f"Coordinates are {_UNITS[self.coordinates].format(*size)}."

    def gold(self, value: Any, answer_type: str, size: tuple[int, int] | None) -> str:
        """
        Bring a gold answer into pixels of the stored picture.

        Args:
            value (`list[float]` or `str`):
                Four numbers or a text that names them; for `"detections"` a text with a list of boxes.
            answer_type (`str`):
                `"point"` or `"box"`, which both have a box for a gold, or `"detections"`.
            size (`tuple[int, int]`, *optional*):
                Width and height of the picture in pixels; needed for anything but pixels.

        Returns:
            `str`: The JSON list `[left, top, right, bottom]`, rounded to hundredths of a pixel, or a JSON list of
            `{"bbox_2d": [left, top, right, bottom], "label": ..}`.

        Raises:
            [`BadInputError`]: Not four numbers, a box without area, or one outside the picture.
        """
        if answer_type != "detections":
            return json.dumps(self._in_pixels(_four_numbers(value), self._frame([_four_numbers(value)]), size))
        found = read_detections(str(value))
        if found is None:
            raise BadInputError(f"the gold {str(value)[:60]!r} is not a list of boxes")
        frame = self._frame([detection.box for detection in found])
        labels = [{"label": detection.label} if detection.label else {} for detection in found]
        boxes = [{"bbox_2d": self._in_pixels(detection.box, frame, size)} for detection in found]
        return json.dumps([box | label for box, label in zip(boxes, labels)])

    def _frame(self, boxes: Sequence[Sequence[float]]) -> str:
        if self.gold_coordinates != "auto":
            return self.gold_coordinates
        return "fractions" if max((max(box) for box in boxes), default=2) <= 1 else "pixels"

    def _in_pixels(self, box: Sequence[float], frame: str, size: tuple[int, int] | None) -> list[float]:
        left, top, right, bottom = box
        if self.box_format == "xywh":
            right, bottom = left + right, top + bottom
        if not (left < right and top < bottom):
            other = "xyxy" if self.box_format == "xywh" else "xywh"
            raise BadInputError(
                f"the box {list(box)} has no area between left < right and top < bottom (read as {self.box_format}; "
                f"the other reading is --box_format {other})"
            )
        if size is None:
            if frame != "pixels" or left < 0 or top < 0:
                raise BadInputError(f"the box {list(box)} is one in {frame} of the image, and the row has no image")
            return [round(number, 2) for number in (left, top, right, bottom)]
        part = {"pixels": 1.0, "thousandths": 1000.0, "fractions": 1.0}[frame]
        across, down = (side / part if frame != "pixels" else 1.0 for side in size)
        inside = []
        for number, unit, side in zip((left, top, right, bottom), (across, down) * 2, size * 2):
            slack = max(_SLACK_PIXELS, _SLACK * side)
            if not -slack <= number * unit <= side + slack:
                raise BadInputError(
                    f"the box {list(box)}, read as {self.box_format} in {frame}, does not lie in the picture of "
                    f"{size[0]} x {size[1]} pixels; see --gold_coordinates ({', '.join(GOLD_COORDINATES[1:])}) and "
                    f"--box_format ({', '.join(BOX_FORMATS)})"
                )
            inside.append(round(min(max(number * unit, 0.0), side), 2))
        if not (inside[0] < inside[2] and inside[1] < inside[3]):
            raise BadInputError(f"the box {list(box)} has no area inside the picture of {size[0]} x {size[1]} pixels")
        return inside


def _four_numbers(value: Any) -> tuple[float, ...]:
    try:
        numbers = locate(value, "box") if isinstance(value, str) else tuple(float(number) for number in value)
    except (TypeError, ValueError, OverflowError):
        numbers = None
    if numbers is None or len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise BadInputError(f"the box {str(value)[:60]!r} is not a list of four numbers")
    return numbers
