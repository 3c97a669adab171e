# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""MATH-Vision (arXiv 2402.14804): 3040 competition problems; the option's letter and its text both count."""

import re

from mmr1_trl.evaluation.benchmarks.base import Benchmark, Row, choice_row


def read(row: Row) -> Row:
    """One row. All markers of a question stand for parts of the one picture."""
    question = re.sub(r"<image(\d+)>", r"(figure \1)", re.sub(r"<image1>", "", row["question"])).strip()
    shared = {"subject": row["subject"], "level": str(row["level"])}
    if row["options"]:
        # Options that are drawn in the picture are listed by their letters alone.
        drawn = "".join(row["options"]) == "ABCDE"[: len(row["options"])]
        return {**choice_row(question, row["answer"], None if drawn else list(row["options"])), **shared}
    return {"question": question, "answer": row["answer"], "options": None, "answer_type": None, **shared}


def vlmevalkit_row(row: Row) -> Row:
    """What VLMEvalKit scores by."""
    return {
        "index": row["id"],
        "question": row["question"],
        "answer": row["answer"],
        "choices": str(list(row["options"])),
        "category": row["subject"],
    }


MATHVISION = Benchmark(
    name="mathvision",
    sources=(("MathLLMs/MathVision", None, "test"), ("lmms-lab-encoder/MathVision", None, "test")),
    image="decoded_image",  # `image` is the path of a file that the dataset does not hold
    read=read,
    by=("subject", "level"),
    prompt_style="boxed",  # as the benchmark asks
    id="id",
    lmms_eval="mathvision_test",
    vlmevalkit="MathVision",
    vlmevalkit_row=vlmevalkit_row,
)
