# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Oxford-IIIT Pet (37 breeds), test: the breed in words."""

from mmr1_trl.evaluation.benchmarks.base import Benchmark, Row


def read(row: Row) -> Row:
    """One row."""
    return {
        "question": "This picture shows a pet. Which breed is it?",
        "answer": row["label"].replace("_", " "),
        "answer_type": "class_label",
        "breed": row["label"].replace("_", " "),
    }


PETS37 = Benchmark(
    name="pets37",
    sources=(("timm/oxford-iiit-pet", None, "test"),),
    image="image",
    read=read,
    by=("breed",),
    prompt_style="visual_rft",
    id="image_id",
)
