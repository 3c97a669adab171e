# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Answers that are the number of a choice: whether a dataset's are, and whether it counts from 0 or from 1."""

from collections.abc import Sequence
from typing import Any

from mmr1_trl.errors import BadInputError


ANSWER_INDICES = ("auto", "zero_based", "one_based", "off")


def index_base(answers: Sequence[Any], options: Sequence[list[str] | None], answer_index: str = "auto") -> int | None:
    """
    Tell from what number a dataset counts its choices.

    Args:
        answers (`Sequence`):
            The answers as stored, of the rows that may be multiple choice.
        options (`Sequence[list[str]]`):
            The choices of these rows, `None` for a row without.
        answer_index (`str`, *optional*, defaults to `"auto"`):
            `"zero_based"`, `"one_based"`, `"off"` (answers are letters or texts), or `"auto"`: indices where every
            answer is a whole number from 0 to the number of choices, counted from 0 where one is 0, and from 1 where
            one equals the number of choices.

    Returns:
        `int` or `None`: 0 or 1; `None` when answers are no indices.

    Raises:
        [`BadInputError`]: They may be, and nothing says which.
    """
    if answer_index in ("zero_based", "one_based"):
        return int(answer_index == "one_based")
    rows = [(whole_number(answer), choices) for answer, choices in zip(answers, options, strict=True) if choices]
    if answer_index == "off" or not rows:
        return None
    numbers = [(number, len(choices)) for number, choices in rows if number is not None]
    if len(numbers) < len(rows) or any(not 0 <= number <= count for number, count in numbers):
        return None
    from_zero, from_one = any(number == 0 for number, _ in numbers), any(number == count for number, count in numbers)
    if from_zero and from_one:
        return None
    as_text = all(str(number) in {choice.strip() for choice in choices} for number, choices in rows)
    if as_text or not (from_zero or from_one):
        low, high = min(numbers)[0], max(numbers)[0]
        raise BadInputError(
            f"The answers are whole numbers from {low} to {high} beside choices, "
            + ("and each is also the text of a choice" if as_text else "and nothing says where they count from")
            + ". Pass --answer_index zero_based or one_based if they are indices, or off if they are texts."
        )
    return 0 if from_zero else 1


def whole_number(value: Any) -> int | None:
    """Read a whole number, also one stored as text or float; `None` if it is none."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 9:
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value in range(10**6):
        return int(value)
    return None


def letter_of(answer: Any, options: list[str], base: int) -> str:
    """
    Turn an index into the letter of its choice.

    Raises:
        [`BadInputError`]: There is no such choice.
    """
    number = whole_number(answer)
    if number is None or not 0 <= number - base < len(options):
        last = len(options) - 1 + base
        raise BadInputError(f"the answer {str(answer)[:40]!r} is no index from {base} to {last} of the choices")
    return chr(ord("A") + number - base)
