# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Score completions against gold answers: extract one answer, compare it once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from typing import Any, NamedTuple

from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.rewards.answers import (
    ANSWER_TYPES,
    LOCATED_TYPES,
    completion_text,
    extract_answer,
    infer_answer_type,
    located_answer,
)
from mmr1_trl.rewards.boxes import STORED_PIXELS, Frame, frame_of
from mmr1_trl.rewards.compare import MAX_ANSWER_CHARS, Question, is_equal, looks_like_math
from mmr1_trl.rewards.intervals import parse_intervals
from mmr1_trl.rewards.locations import read_detections, read_gold
from mmr1_trl.rewards.values import clean, parse_quantity, split_list, strip_brackets
from mmr1_trl.rewards.verify_pool import VerifyPool, default_pool
from mmr1_trl.rewards.words import option_letters, read_yes_no


class Score(NamedTuple):
    """
    Outcome for one completion.

    Args:
        correct (`float`):
            1.0 for a right answer, else 0.0.
        extracted (`str` or `None`):
            The final answer that was found.
        reason (`str`):
            `"equal"`, `"different"`, `"no answer"`, `"too long"`, or what kept the comparison from finishing:
            `"timeout"`, `"memory"`, `"crash"`, `"unreadable"`, `"error .."`.
    """

    correct: float
    extracted: str | None
    reason: str


class _NeedsAlgebra(Exception):
    pass


def _postpone(gold: str, answer: str, tolerance: float | None, precision: int | None) -> bool:
    raise _NeedsAlgebra


def score_answer(
    completion: str | list[dict],
    gold: str,
    answer_type: str | None = None,
    options: Sequence[str] | None = None,
    *,
    tolerance: float | None = None,
    precision: int | None = None,
    frame: Frame = STORED_PIXELS,
) -> Score:
    r"""
    Score one completion.

    Args:
        completion (`str` or `list[dict]`):
            Text or messages.
        gold (`str`):
            The right answer.
        answer_type (`str`, *optional*):
            One of [`answers.ANSWER_TYPES`]. Inferred from the gold by default.
        options (`Sequence[str]`, *optional*):
            The choices of a multiple-choice question.
        tolerance (`float`, *optional*):
            Relative tolerance on numbers (0.05 for ChartQA). Exact by default.
        precision (`int`, *optional*):
            Decimals to round to before comparing (MathVista).
        frame (`Frame`, *optional*):
            What the coordinates of a predicted point or box mean. Pixels of the stored picture by default.

    Returns:
        `Score`: correct, extracted, reason.

    Example:
    ```python
    >>> score_answer(r"<think>3:4 is 0.75</think> \boxed{\frac{3}{4}}", "3:4")
    Score(correct=1.0, extracted='\\frac{3}{4}', reason='equal')
    ```
    """
    return score_answers([completion], [make_question(gold, answer_type, options, tolerance, precision, frame)])[0]


def make_question(
    gold: str,
    answer_type: str | None = None,
    options: Sequence[str] | None = None,
    tolerance: float | None = None,
    precision: float | None = None,
    frame: Frame = STORED_PIXELS,
) -> Question:
    """Build a `Question`, inferring the answer type when there is none (arguments as in [`score_answer`])."""
    gold = str(gold)
    answer_type = answer_type or infer_answer_type(gold, options)
    if answer_type not in ANSWER_TYPES:
        raise BadInputError(
            f"Unknown answer type {answer_type!r}.{did_you_mean(answer_type, ANSWER_TYPES)} "
            f"Known types: {', '.join(ANSWER_TYPES)}."
        )
    # Tolerance and precision come from float columns, where an empty cell may be NaN.
    tolerance, precision = (None if number is None or isnan(number) else number for number in (tolerance, precision))
    digits = None if precision is None else int(precision)
    return Question(gold, answer_type, tuple(map(str, options or ())), tolerance, digits, frame)


def row_question(row: Mapping[str, Any]) -> Question:
    """Build the `Question` of a prepared row from the columns that it has."""
    cells: dict[str, Any] = {name: row.get(name) for name in ("answer_type", "options", "tolerance", "precision")}
    question = make_question(row["solution"], **cells)
    if question.answer_type not in LOCATED_TYPES:
        return question
    return replace(question, frame=frame_of(row.get("coordinates"), row.get("image_size"), row.get("seen_size")))


def score_answers(
    completions: Sequence[str | list[dict]], questions: Sequence[Question], pool: VerifyPool | None = None
) -> list[Score]:
    """
    Score many completions; what needs algebra goes to the worker processes in one batch.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Texts or messages.
        questions (`Sequence[Question]`):
            One per completion.
        pool (`VerifyPool`, *optional*):
            Workers to use. Defaults to the pool of this process.

    Returns:
        `list[Score]`: One per completion.
    """
    scores: list[Score | None] = []
    postponed: list[tuple[Question, str]] = []
    for completion, question in zip(completions, questions, strict=True):
        located = question.answer_type in LOCATED_TYPES
        text = completion_text(completion)
        answer = located_answer(text, question.answer_type) if located else extract_answer(text)
        if answer is None:
            scores.append(Score(0.0, None, "no answer"))
        elif len(answer) > MAX_ANSWER_CHARS and not located:
            scores.append(Score(0.0, answer[:MAX_ANSWER_CHARS], "too long"))
        else:
            try:
                equal = is_equal(question, answer, _postpone)
                scores.append(Score(float(equal), answer, "equal" if equal else "different"))
            except _NeedsAlgebra:
                scores.append(None)
                postponed.append((question, answer))
    if not postponed:
        return [score for score in scores if score is not None]
    verdicts = zip(postponed, (pool or default_pool()).compare(postponed))
    return [score or _verdict_score(*next(verdicts)) for score in scores]


def _verdict_score(task: tuple[Question, str], status: str) -> Score:
    return Score(float(status == "equal"), task[1], status)


def check_gold(gold: str, answer_type: str | None = None, options: Sequence[str] | None = None) -> str | None:
    """
    Tell what is wrong with a gold answer, before training meets it.

    Args:
        gold (`str`):
            The gold answer of a row.
        answer_type (`str`, *optional*):
            Its declared type. Inferred by default.
        options (`Sequence[str]`, *optional*):
            The choices of a multiple-choice question.

    Returns:
        `str` or `None`: Why no completion could be scored against it, or `None` when it is fine.
    """
    if not isinstance(gold, str) or not gold.strip():
        return "the gold answer is empty"
    if len(gold) > MAX_ANSWER_CHARS and answer_type != "detections":
        return f"the gold answer has {len(gold)} characters, more than {MAX_ANSWER_CHARS}"
    question = make_question(gold, answer_type, options)
    readable = {
        "multiple_choice": lambda: option_letters(gold, question.options),
        "yes_no": lambda: read_yes_no(gold) is not None,
        "number": lambda: parse_quantity(clean(gold)) is not None or looks_like_math(clean(gold)),
        "ratio": lambda: ":" in clean(gold) or " to " in clean(gold) or parse_quantity(clean(gold)),
        "list": lambda: split_list(strip_brackets(clean(gold))[0]),
        "set": lambda: split_list(strip_brackets(clean(gold))[0]),
        "interval": lambda: parse_intervals(gold),
        "latex": lambda: clean(gold) and _braces_match(gold),
        "text": lambda: clean(gold),
        "point": lambda: read_gold(gold),
        "box": lambda: len(read_gold(gold) or ()) == 4,
        "detections": lambda: read_detections(gold) is not None,
        "class_label": lambda: clean(gold),
    }
    if readable[question.answer_type]():
        return None
    among = f" among {len(question.options)} options" if question.options else ""
    return f"{gold[:80]!r} cannot be read as {question.answer_type}{among}"


def _braces_match(latex: str) -> bool:
    bare = latex.replace("\\{", "").replace("\\}", "")
    return bare.count("{") == bare.count("}")
