# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the metrics of these folders share: functions, since `evaluate.load` takes the first class that it meets."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from mmr1_trl.rewards.gold import Question
from mmr1_trl.rewards.scoring import Score, make_question, score_answers


def make_questions(references: Sequence[str], *optional: Sequence[Any] | None) -> list[Question]:
    """
    Build one question per solution.

    Args:
        references (`Sequence[str]`):
            The solutions.
        *optional (`Sequence`, *optional*):
            Further arguments of [`~mmr1_trl.rewards.scoring.make_question`], one value per solution, or `None`.
    """
    columns = [[None] * len(references) if values is None else values for values in optional]
    return [make_question(*row) for row in zip(references, *columns, strict=True)]


def group_info(description: str) -> evaluate.MetricInfo:
    """Describe a metric over several completions of each prompt."""
    return evaluate.MetricInfo(
        description=f"{description} Rule-based.",
        citation="",
        inputs_description=(
            "predictions: for every prompt its completions as texts; references: one solution per prompt. "
            "Optional, one per prompt: answer_types, options, as in mmr1_trl.rewards.scoring.make_question."
        ),
        features=datasets.Features(
            {"predictions": datasets.Sequence(datasets.Value("string")), "references": datasets.Value("string")}
        ),
    )


def score_groups(
    predictions: Sequence[Sequence[str]], references: Sequence[str], *optional: Sequence[Any] | None
) -> list[list[Score]]:
    """
    Score several completions of each prompt.

    Args:
        predictions (`Sequence[Sequence[str]]`):
            For every prompt its completions.
        references, *optional:
            As for [`make_questions`].
    """
    questions = make_questions(references, *optional)
    return [score_answers(texts, [one] * len(texts)) for texts, one in zip(predictions, questions, strict=True)]
