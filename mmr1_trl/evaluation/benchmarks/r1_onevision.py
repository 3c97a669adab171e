# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""R1-Onevision-Bench (arXiv 2503.10615): 942 questions of school and university, most of them with choices."""

from mmr1_trl.evaluation.benchmarks.base import Benchmark, Row, choice_row


def read(row: Row) -> Row:
    """One row. The hint that stands before "Question:" asks for another answer form than the prompt style does."""
    question = row["question"].split("Question: ")[-1].strip()
    choices = (row["choices"] or "").strip()
    shared = {"category": row["category"], "level": str(row["level"])}
    if choices:
        if choices not in question:
            question = f"{question}\n{choices}"
        return {**choice_row(question, row["answer"].strip()), **shared}
    return {"question": question, "answer": row["answer"], "options": None, "answer_type": None, **shared}


R1_ONEVISION = Benchmark(
    name="r1_onevision",
    sources=(("Fancy-MLLM/R1-Onevision-Bench", None, "train"),),  # its only split
    image="image",
    read=read,
    by=("category", "level"),
    note="published numbers extract and compare answers with a language model",
    id="index",
    base64_images=True,
)
