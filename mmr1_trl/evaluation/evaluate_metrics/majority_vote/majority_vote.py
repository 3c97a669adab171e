# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Metric for `evaluate.load` on this folder: accuracy of the majority vote (arXiv 2203.11171)."""

from typing import Any

import datasets
import evaluate

from mmr1_trl.evaluation.metrics import majority_correct, mean_interval
from mmr1_trl.rewards.scoring import make_question, score_answers


class MajorityVote(evaluate.Metric):
    """Accuracy of the answer that most completions of a prompt agree on."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy of the answer that most completions of a prompt agree on. Rule-based.",
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
        answer_types: list[str | None] | None = None,
        options: list[list[str] | None] | None = None,
    ) -> dict[str, Any]:
        optional = (values or [None] * len(references) for values in (answer_types, options))
        questions = [make_question(*row) for row in zip(references, *optional, strict=True)]
        votes = []
        for texts, question in zip(predictions, questions, strict=True):
            scores = score_answers(texts, [question] * len(texts))
            votes.append(majority_correct([one.extracted for one in scores], [one.correct for one in scores]))
        return {"accuracy": sum(votes) / len(votes), "interval": mean_interval(votes)}
