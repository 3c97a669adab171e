# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What an answer is held against: the gold with all that its comparison needs, as a hashable value."""

from dataclasses import dataclass
from typing import Protocol

from mmr1_trl.rewards.grounding.boxes import STORED_PIXELS, Frame


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
