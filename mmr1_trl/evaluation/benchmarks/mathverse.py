# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""MathVerse (arXiv 2403.14624): 788 problems in versions that put more and more of the text into the picture."""

from mmr1_trl.evaluation.benchmarks.base import Benchmark, Row, choice_row


def read(row: Row) -> Row:
    """One row. In the version "Vision Only" the whole question is in the picture."""
    question = row["question"].strip() or "Answer the question that is written in the picture."
    shared = {
        "problem_version": row["problem_version"],
        "kind": row["question_type"],
        "subject": row["metadata"]["subject"],
    }
    if row["question_type"] == "multi-choice":
        return {**choice_row(question, row["answer"]), **shared}
    return {"question": question, "answer": row["answer"], "options": None, "answer_type": None, **shared}


def vlmevalkit_row(row: Row) -> Row:
    """What VLMEvalKit scores by; it reads `metadata` as a dictionary in Python's own writing."""
    return {
        "index": row["sample_index"],
        "question": row["question"],
        "question_for_eval": row.get("question_for_eval", row["question"]),
        "question_type": row["question_type"],
        "answer": row["answer"],
        "problem_version": row["problem_version"],
        "metadata": str(row["metadata"]),
    }


MATHVERSE = Benchmark(
    name="mathverse",
    sources=(
        ("CaraJ/MathVerse-lmmseval", "testmini", "testmini"),
        ("AI4Math/MathVerse", "testmini", "testmini"),
    ),
    image="image",
    read=read,
    by=("problem_version", "kind", "subject"),
    note="published numbers extract and compare answers with a language model",
    id="sample_index",
    lmms_eval="mathverse_testmini",
    vlmevalkit="MathVerse_MINI",
    vlmevalkit_row=vlmevalkit_row,
)
