# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Score one completion, or many, against the gold answer."""

from typing import NamedTuple

from mmr1_trl.rewards.answers import completion_text, extract_answer


class Score(NamedTuple):
    """Outcome for one completion: `correct` in [0, 1], the extracted answer, and why."""

    correct: float
    extracted: str | None
    reason: str


def score_answer(
    completion: str | list[dict], gold: str, answer_type: str | None = None, options: list[str] | None = None
) -> Score:
    """Score one completion (see `Score`)."""
    extracted = extract_answer(completion_text(completion))
    if extracted is None:
        return Score(0.0, None, "no answer")
    same = extracted.casefold().strip(" .$()") == gold.casefold().strip(" .$()")
    return Score(float(same), extracted, "equal" if same else "different")
