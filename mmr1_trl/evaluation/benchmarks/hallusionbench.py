# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""HallusionBench (arXiv 2310.14566), the part with pictures: yes or no, per question, per pair and per figure."""

from mmr1_trl.evaluation.benchmarks.base import Benchmark, Row


_SET = ("category", "subcategory", "set_id")


def read(row: Row) -> Row:
    """One row; the same question is asked about an original and an edited figure, and several about one figure."""
    return {
        "question": row["question"] + " Answer yes or no.",
        "answer": {"1": "yes", "0": "no"}[str(row["gt_answer"])],
        "answer_type": "yes_no",
        **{name: str(row[name]) for name in (*_SET, "figure_id", "question_id")},
    }


def vlmevalkit_row(row: Row) -> Row:
    """
    What VLMEvalKit scores by. It reads set, figure and question from the fourth to sixth part of `index`; how the
    three parts before them are spelled in its own table could not be established.
    """
    parts = ["image", row["category"], row["subcategory"], row["set_id"], row["figure_id"], row["question_id"]]
    return {
        "index": "_".join(str(part) for part in parts),
        "question": row["question"],
        "answer": {"1": "Yes", "0": "No"}[str(row["gt_answer"])],
        "category": row["category"],
        "l2-category": row["subcategory"],
    }


HALLUSIONBENCH = Benchmark(
    name="hallusionbench",
    sources=(("lmms-lab-encoder/HallusionBench", None, "image"), ("lmms-lab/HallusionBench", None, "image")),
    image="image",
    read=read,
    by=("category", "subcategory"),
    note="greedy accuracy is aAcc; published numbers let a language model judge the answers",
    # qAcc: one question right for every figure of its set; fAcc: every question about one figure right.
    all_right={"qAcc": (*_SET, "question_id"), "fAcc": (*_SET, "figure_id")},
    lmms_eval="hallusion_bench_image",
    vlmevalkit="HallusionBench",
    vlmevalkit_row=vlmevalkit_row,
)
