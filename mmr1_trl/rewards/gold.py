# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What an answer is held against: the gold with all that its comparison needs, as a hashable value."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.grounding.boxes import STORED_PIXELS, Frame


MAX_PRECISION = 100  # decimals


class MathEqual(Protocol):
    """Whether two LaTeX expressions are equal, exactly or within the question's tolerance."""

    def __call__(self, gold: str, answer: str, tolerance: float | None, precision: int | None) -> bool: ...


@dataclass(frozen=True)
class Question:
    r"""
    Everything that an answer is held against. Hashable, so that it can be a cache key.

    Args:
        gold (`str`):
            The right answer.
        answer_type (`str`):
            One of [`types.ANSWER_TYPES`].
        options (`tuple[str, ...]`):
            The choices of a multiple-choice question, empty when unknown.
        tolerance (`float`, *optional*):
            Relative tolerance on numbers; `0.05` is ChartQA's relaxed accuracy. For a `point` gold, pixels.
        precision (`int`, *optional*):
            Number of decimals to which numbers are rounded before the comparison (MathVista).
        frame (`Frame`):
            What the coordinates of an answer mean; those of the gold are pixels of the stored picture.
        others (`tuple[Question, ...]`):
            The same with the other accepted answers as golds: an answer that is right by one of them is right.
    """

    gold: str
    answer_type: str
    options: tuple[str, ...] = ()
    tolerance: float | None = None
    precision: int | None = None
    frame: Frame = STORED_PIXELS
    others: tuple["Question", ...] = ()


def gold_of(cell: Any) -> str | None:
    """The gold in the cell of a row; `None` where it is empty, or holds neither a text nor a number."""
    return str(cell) if isinstance(cell, str | int | float) and cell == cell else None


def require_tolerance(value: Any) -> None:
    """
    Refuse a tolerance that is no relative error ([`BadInputError`]); `None` stands for an exact answer.

    Args:
        value (`float`, *optional*):
            From a column `tolerance`, or an option.
    """
    if value is not None and not (_is_number(value) and 0 <= value <= 1):
        raise BadInputError(f"tolerance={value!r:.60} is no relative error between 0 and 1, such as 0.05")


def require_precision(value: Any) -> None:
    """
    Refuse a precision that is no number of decimals ([`BadInputError`]); `None` stands for an exact answer.

    Args:
        value (`float`, *optional*):
            From a column `precision`.
    """
    if value is not None and not (_is_number(value) and 0 <= value <= MAX_PRECISION and value == int(value)):
        raise BadInputError(f"precision={value!r:.60} is no number of decimals, such as 2 (at most {MAX_PRECISION})")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
