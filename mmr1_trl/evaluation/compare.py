# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Two evaluations of the same rows, compared pair by pair."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.metrics import bootstrap_interval, greedy_only


@dataclass
class Comparison:
    """
    The second evaluation minus the first, by greedy decoding on the same rows.

    Attributes:
        num_prompts (`int`):
            Rows that both evaluations scored.
        difference (`float`):
            Mean difference of the scores.
        interval (`tuple[float, float]`):
            Its 95 % interval, from a bootstrap over pairs: much narrower than what the two separate intervals
            suggest, because easy and hard rows cancel out.
        wins (`list[int]`):
            Rows that the second scored higher on.
        losses (`list[int]`):
            Rows that the second scored lower on.
    """

    num_prompts: int
    difference: float
    interval: tuple[float, float]
    wins: list[int]
    losses: list[int]


def compare(before: Iterable[dict[str, Any]], after: Iterable[dict[str, Any]], seed: int = 0) -> Comparison:
    """
    Compare two lists of predictions of the same dataset.

    Args:
        before (`Iterable[dict]`):
            Predictions of the first evaluation, as in `EvalResult.predictions`.
        after (`Iterable[dict]`):
            Predictions of the second.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the bootstrap.

    Returns:
        [`Comparison`]: Over the rows that both have.

    Raises:
        `BadInputError`: If the two share no row, or a shared row holds different questions.
    """
    first = {prediction["row"]: prediction for prediction in greedy_only(before)}
    second = {prediction["row"]: prediction for prediction in greedy_only(after)}
    rows = sorted(first.keys() & second.keys())
    if not rows:
        raise BadInputError("The two evaluations have no row in common; evaluate both models on the same dataset.")
    for row in rows:
        if any(first[row][key] != second[row][key] for key in ("prompt_id", "question", "solution")):
            raise BadInputError(
                f"Row {row} differs between the two evaluations ({first[row]['question']!r} and "
                f"{second[row]['question']!r}); evaluate both models on the same dataset."
            )
    differences = [second[row]["correct"] - first[row]["correct"] for row in rows]
    return Comparison(
        num_prompts=len(rows),
        difference=sum(differences) / len(rows),
        interval=bootstrap_interval(differences, seed),
        wins=[row for row, difference in zip(rows, differences) if difference > 0],
        losses=[row for row, difference in zip(rows, differences) if difference < 0],
    )
