# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Metric for `evaluate.load` on this folder: accuracy of the majority vote (arXiv 2203.11171)."""

from typing import Any

import evaluate

from mmr1_trl.evaluation.evaluate_metrics.shared import group_info, score_groups
from mmr1_trl.evaluation.metrics import majority_correct, mean_interval


class MajorityVote(evaluate.Metric):
    """Accuracy of the answer that most completions of a prompt agree on."""

    def _info(self) -> evaluate.MetricInfo:
        return group_info("Accuracy of the answer that most completions of a prompt agree on.")

    def _compute(
        self,
        predictions: list[list[str]],
        references: list[str],
        answer_types: list[str | None] | None = None,
        options: list[list[str] | None] | None = None,
    ) -> dict[str, Any]:
        groups = score_groups(predictions, references, answer_types, options)
        votes = [majority_correct([one.extracted for one in g], [one.correct for one in g]) for g in groups]
        return {"accuracy": sum(votes) / len(votes), "interval": mean_interval(votes)}
