# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Points and boxes as models write them, and their geometry. Standard library only."""

import re
from collections.abc import Sequence


# Replies are untrusted and may be a megabyte long: a word is taken whole and possessively, with its digits.
_WORD_OR_NUMBER = re.compile(r"[A-Za-z_]\w*+|(-?(?:\d++(?:\.\d++)?|\.\d++))")
_BRACKETS = re.compile(r"[\[(]([^\[\]()]*+)[\])]")
MAX_CHARS = 20_000


def read_numbers(text: str) -> list[float]:
    """
    Read the coordinates of a point or a box.

    Args:
        text (`str`):
            `"[10, 20]"`, `"(10, 20)"`, `"x=10, y=20"`, or JSON such as `'[{"coordinate": [10, 20]}]'`.

    Returns:
        `list[float]`: The numbers in order; digits that belong to a name ("point_2d") are not numbers.
    """
    if len(text) > MAX_CHARS:
        return []
    brackets = _BRACKETS.findall(text)
    return [float(number) for number in _WORD_OR_NUMBER.findall(brackets[-1] if brackets else text) if number]


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes `(x1, y1, x2, y2)`, corners in any order, in [0, 1]."""
    ax1, ax2, ay1, ay2 = *sorted((a[0], a[2])), *sorted((a[1], a[3]))
    bx1, bx2, by1, by2 = *sorted((b[0], b[2])), *sorted((b[1], b[3]))
    shared = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared
    return shared / union if union > 0 else 0.0


def point_in_box(point: Sequence[float], box: Sequence[float]) -> bool:
    """Whether `(x, y)` lies in `(x1, y1, x2, y2)`, edges included, corners in any order."""
    (x1, x2), (y1, y2) = sorted((box[0], box[2])), sorted((box[1], box[3]))
    return x1 <= point[0] <= x2 and y1 <= point[1] <= y2
