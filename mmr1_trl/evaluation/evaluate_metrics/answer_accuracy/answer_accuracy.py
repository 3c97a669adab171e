# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Metric for `evaluate.load` on this folder: share of right answers, by the rewards' own scorer."""

from typing import Any

import datasets
import evaluate

from mmr1_trl.evaluation.evaluate_metrics.shared import make_questions
from mmr1_trl.evaluation.metrics import mean_interval
from mmr1_trl.rewards.scoring import score_answers


class AnswerAccuracy(evaluate.Metric):
    """Extracts an answer from every completion and compares it with the solution."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of completions whose extracted answer is right, with a 95 % interval. Rule-based.",
            citation="",
            inputs_description=(
                "predictions: completions as text; references: solutions. Optional, one per prediction: answer_types, "
                "options (lists of choices), tolerances, precisions, as in mmr1_trl.rewards.scoring.make_question."
            ),
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(
        self,
        predictions: list[str],
        references: list[str],
        answer_types: list[str | None] | None = None,
        options: list[list[str] | None] | None = None,
        tolerances: list[float | None] | None = None,
        precisions: list[float | None] | None = None,
    ) -> dict[str, Any]:
        scores = score_answers(predictions, make_questions(references, answer_types, options, tolerances, precisions))
        correct = [score.correct for score in scores]
        return {
            "accuracy": sum(correct) / len(correct),
            "interval": mean_interval(correct),
            "unparsed": sum(score.extracted is None for score in scores) / len(scores),
            "correct": correct,
            "extracted": [score.extracted for score in scores],
        }
