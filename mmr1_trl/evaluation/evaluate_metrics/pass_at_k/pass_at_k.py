# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Metric for `evaluate.load` on this folder: pass@k (arXiv 2107.03374), by the rewards' own scorer."""

from typing import Any

import datasets
import evaluate

from mmr1_trl.evaluation.metrics import pass_at_k
from mmr1_trl.rewards.scoring import make_question, score_answers


class PassAtK(evaluate.Metric):
    """Chance that one of k completions is right, by the unbiased estimator."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Chance that at least one of k completions of a prompt is right. Rule-based.",
            citation="",
            inputs_description=(
                "predictions: for every prompt its completions as texts; references: one solution per prompt. "
                "Optional, one per prompt: answer_types, options, as in mmr1_trl.rewards.scoring.make_question."
            ),
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("string")),
                    "references": datasets.Value("string"),
                }
            ),
        )

    def _compute(
        self,
        predictions: list[list[str]],
        references: list[str],
        k: list[int] | None = None,
        answer_types: list[str | None] | None = None,
        options: list[list[str] | None] | None = None,
    ) -> dict[str, Any]:
        optional = (values or [None] * len(references) for values in (answer_types, options))
        questions = [make_question(*row) for row in zip(references, *optional, strict=True)]
        counts = []
        for texts, question in zip(predictions, questions, strict=True):
            scores = score_answers(texts, [question] * len(texts))
            counts.append((len(texts), sum(score.correct >= 0.5 for score in scores)))
        return {f"pass@{n}": sum(pass_at_k(*count, n) for count in counts) / len(counts) for n in k or [1]}
