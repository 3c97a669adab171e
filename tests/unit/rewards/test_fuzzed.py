# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A batch of degenerate completions is scored in a bounded time, whatever the policy writes."""

import random
from time import process_time
from typing import Any

from mmr1_trl.rewards.scoring import make_question, score_answers


# Of the training process, on average over completions of up to 20,000 characters. 100,000 take at most 150 seconds.
SECONDS_PER_COMPLETION = 1.5e-3
GOLDS = [
    ("B", "multiple_choice", ["3 cm", "A and B", "12 cm", "none"]), ("yes", "yes_no", None), ("12.5", "number", None),
    ("3:4", "ratio", None), ("1, 2, 3", "list", None), ("{1, 2}", "set", None), ("(1, 2]", "interval", None),
    ("\\frac{x^2+1}{2}", "latex", None), ("the red car", "text", None), ("[1, 2, 30, 40]", "point", None),
    ("[1, 2, 30, 40]", "box", None), ("Maine Coon", "class_label", None),
]  # fmt: skip
PIECES = (
    "A and B and ", "A, ", "(A) ", "and ",
    "a", "1", "9", ",", ".", " ", "\n", "$", "\\boxed{", "}", "{", "(", "[", ")",
    "]", "<answer>", "</answer>", "<think>", "</think>", "The answer is ", "answer: ", "\\frac{1}{2}", "\\text{", "x^",
    "\\sqrt{", "1,000", "12 cm", "=", "<", "\\le ", "\\cup ", "**", "- ", "1e9", "%", "\u221a", "\u00b2",
    "not ", "or ",
    "[1, 2, 3, 4]", '{"bbox_2d": [', "\u7b54\u6848\u662f", "A. ", "1 1/2", "x=", "_", "\\", "\u00bc", "7:30", "\0",
)  # fmt: skip


class _NoWorkers:
    """What needs algebra is decided by processes with a deadline, which are not measured here."""

    def compare(self, tasks: list[Any]) -> list[str]:
        return ["different"] * len(tasks)


def fuzzed(number: int, seed: int) -> list[str]:
    """Completions that repeat, nest and mix what answers are made of."""
    rng = random.Random(seed)
    texts = []
    for _ in range(number):
        size = int(10 ** rng.uniform(1, 4.3))
        pieces = [rng.choice(PIECES) for _ in range(rng.randint(1, 6))]
        body = "".join(pieces) * (size // max(1, len("".join(pieces))) + 1)
        if rng.random() < 0.5:
            body = "".join(rng.choice(pieces) for _ in range(size // 3 + 1))
        start = rng.choice(["", "The answer is ", "<answer>", "\\boxed{", "<think>x</think> ", "Answer: "])
        texts.append(start + body[:size] + rng.choice(["", "</answer>", "}", ".", "\n", " A"]))
    return texts


def seconds_of(number: int, seed: int = 0) -> float:
    """CPU seconds of this process for so many completions, an equal share of every answer type."""
    texts = fuzzed(number, seed)
    questions = [make_question(*GOLDS[index % len(GOLDS)]) for index in range(number)]
    start = process_time()
    scores = score_answers(texts, questions, pool=_NoWorkers())  # type: ignore[arg-type]
    assert len(scores) == number
    return process_time() - start


def test_a_batch_of_fuzzed_completions_scores_within_its_bound() -> None:
    seconds_of(24)  # imports
    assert seconds_of(2000) < 2000 * SECONDS_PER_COMPLETION


def test_no_completion_takes_longer_than_its_length_allows() -> None:
    for index, text in enumerate(fuzzed(300, seed=1)):
        question = make_question(*GOLDS[index % len(GOLDS)])
        start = process_time()
        score_answers([text], [question], pool=_NoWorkers())  # type: ignore[arg-type]
        assert process_time() - start < 0.25, text[:100]
