# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Score completions against gold answers: extract one answer, compare it once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from mmr1_trl.rewards.extraction import completion_text, extract_answer, located_answer
from mmr1_trl.rewards.gold import Question
from mmr1_trl.rewards.grounding.boxes import STORED_PIXELS, Frame
from mmr1_trl.rewards.pool import VerifyPool, default_pool
from mmr1_trl.rewards.types import LOCATED_TYPES, MAX_ANSWER_CHARS, check_gold, is_equal, make_question, row_question


__all__ = ["Score", "check_gold", "make_question", "row_question", "score_answer", "score_answers"]


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
    accepted: Sequence[str] | None = None,
) -> Score:
    r"""
    Score one completion.

    Args:
        completion (`str` or `list[dict]`):
            Text or messages.
        gold (`str`):
            The right answer.
        answer_type (`str`, *optional*):
            One of [`types.ANSWER_TYPES`]. Inferred from the gold by default.
        options (`Sequence[str]`, *optional*):
            The choices of a multiple-choice question.
        tolerance (`float`, *optional*):
            Relative tolerance on numbers (0.05 for ChartQA). Exact by default.
        precision (`int`, *optional*):
            Decimals to round to before comparing (MathVista).
        frame (`Frame`, *optional*):
            What the coordinates of a predicted point or box mean. Pixels of the stored picture by default.
        accepted (`Sequence[str]`, *optional*):
            Other answers that are right as well.

    Returns:
        `Score`: correct, extracted, reason.

    Example:
    ```python
    >>> score_answer(r"<think>3:4 is 0.75</think> \boxed{\frac{3}{4}}", "3:4")
    Score(correct=1.0, extracted='\\frac{3}{4}', reason='equal')
    ```
    """
    question = make_question(gold, answer_type, options, tolerance, precision, frame, accepted)
    return score_answers([completion], [question])[0]


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
    postponed: list[list[tuple[Question, str]]] = []  # of each such answer the accepted ones that it may be equal to
    for completion, question in zip(completions, questions, strict=True):
        located = question.answer_type in LOCATED_TYPES
        text = completion_text(completion)
        answer = located_answer(text, question.answer_type) if located else extract_answer(text)
        if answer is None:
            scores.append(Score(0.0, None, "no answer"))
        elif len(answer) > MAX_ANSWER_CHARS and not located:
            scores.append(Score(0.0, answer[:MAX_ANSWER_CHARS], "too long"))
        else:
            equal, undecided = False, []
            for gold in (replace(question, others=()), *question.others):
                try:
                    equal = equal or is_equal(gold, answer, _postpone)
                except _NeedsAlgebra:
                    undecided.append((gold, answer))
            if undecided and not equal:
                scores.append(None)
                postponed.append(undecided)
            else:
                scores.append(Score(float(equal), answer, "equal" if equal else "different"))
    if not postponed:
        return [score for score in scores if score is not None]
    verdicts = iter((pool or default_pool()).compare([task for tasks in postponed for task in tasks]))
    decided = (_best([(task[1], next(verdicts)) for task in tasks]) for tasks in postponed)
    return [score or next(decided) for score in scores]


def _best(verdicts: list[tuple[str, str]]) -> Score:
    """The score of an answer by its comparisons: equal by one of them, else what kept one from finishing."""
    answer, statuses = verdicts[0][0], [status for _, status in verdicts]
    if "equal" in statuses:
        return Score(1.0, answer, "equal")
    return Score(0.0, answer, next((status for status in statuses if status != "different"), "different"))
