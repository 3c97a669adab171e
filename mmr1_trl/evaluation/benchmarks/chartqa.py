# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""ChartQA (arXiv 2203.10244), test: relaxed accuracy, i.e. numbers within 5 %, words without regard to case."""

from mmr1_trl.evaluation.benchmarks.base import Benchmark, Row


def read(row: Row) -> Row:
    """One row."""
    answer = row["answer"][0] if isinstance(row["answer"], list) else row["answer"]
    try:
        float(answer.strip().rstrip("%").replace(",", ""))
        answer_type = "number"
    except ValueError:
        answer_type = "text"
    return {
        "question": row["question"],
        "answer": answer,
        "answer_type": answer_type,
        "tolerance": 0.05,
        "type": row["type"],
    }


def vlmevalkit_row(row: Row) -> Row:
    """What VLMEvalKit scores by; its splits are named the other way round."""
    answer = row["answer"][0] if isinstance(row["answer"], list) else row["answer"]
    split = "_".join(reversed(row["type"].split("_")))
    return {"question": row["question"], "answer": answer, "split": split}


CHARTQA = Benchmark(
    name="chartqa",
    sources=(("lmms-lab-encoder/ChartQA", None, "test"), ("lmms-lab/ChartQA", None, "test")),
    image="image",
    read=read,
    by=("type",),
    lmms_eval="chartqa",
    vlmevalkit="ChartQA_TEST",
    vlmevalkit_row=vlmevalkit_row,
)
