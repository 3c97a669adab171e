# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Folders that `evaluate.load` takes: `evaluate.load(metric_path("answer_accuracy"))`."""

from pathlib import Path

from mmr1_trl.errors import BadInputError, did_you_mean


METRICS = ("answer_accuracy", "pass_at_k", "majority_vote")


def metric_path(name: str) -> str:
    """
    Return the folder of the metric `name`, for `evaluate.load`.

    Raises:
        [`BadInputError`]: There is no such metric.
    """
    if name not in METRICS:
        raise BadInputError(
            f"There is no metric {name!r}.{did_you_mean(name, METRICS)} The metrics are: {', '.join(METRICS)}."
        )
    return str(Path(__file__).parent / name)
