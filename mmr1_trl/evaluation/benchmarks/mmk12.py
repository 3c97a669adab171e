# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""MMK12 (arXiv 2503.07365), test: 2000 school questions, 500 each of mathematics, physics, chemistry and biology."""

from mmr1_trl.evaluation.benchmarks.base import Benchmark, Row, choice_row


def read(row: Row) -> Row:
    """One row; the choices stand in the question."""
    return {**choice_row(row["question"], row["answer"]), "subject": row["subject"]}


MMK12 = Benchmark(
    name="mmk12",
    sources=(("FanqingM/MMK12", None, "test"),),
    image="image",
    read=read,
    by=("subject",),
    id="id",
)
