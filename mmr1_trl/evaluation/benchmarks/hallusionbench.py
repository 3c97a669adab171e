# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""HallusionBench (arXiv 2310.14566), the part with pictures: yes or no, right answers per question (aAcc)."""

from mmr1_trl.evaluation.benchmarks.base import Benchmark, Row


def read(row: Row) -> Row:
    """One row."""
    return {
        "question": row["question"] + " Answer yes or no.",
        "answer": {"1": "yes", "0": "no"}[str(row["gt_answer"])],
        "answer_type": "yes_no",
        "category": row["category"],
        "subcategory": row["subcategory"],
    }


HALLUSIONBENCH = Benchmark(
    name="hallusionbench",
    sources=(("lmms-lab-encoder/HallusionBench", None, "image"), ("lmms-lab/HallusionBench", None, "image")),
    image="image",
    read=read,
    by=("category", "subcategory"),
    note="this is aAcc; qAcc and fAcc, over all questions of a pair or a figure, are lower",
)
