# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Metric for `evaluate.load` on this folder: pass@k (arXiv 2107.03374), by the rewards' own scorer."""

from typing import Any

import evaluate

from mmr1_trl.evaluation.evaluate_metrics.shared import group_info, score_groups
from mmr1_trl.evaluation.metrics import is_right, pass_at_k


class PassAtK(evaluate.Metric):
    """Chance that one of k completions is right, by the unbiased estimator."""

    def _info(self) -> evaluate.MetricInfo:
        return group_info("Chance that at least one of k completions of a prompt is right.")

    def _compute(
        self,
        predictions: list[list[str]],
        references: list[str],
        k: list[int] | None = None,
        answer_types: list[str | None] | None = None,
        options: list[list[str] | None] | None = None,
    ) -> dict[str, Any]:
        groups = score_groups(predictions, references, answer_types, options)
        counts = [(len(scores), sum(is_right(score.correct) for score in scores)) for scores in groups]
        return {f"pass@{n}": sum(pass_at_k(*count, n) for count in counts) / len(counts) for n in k or [1]}
