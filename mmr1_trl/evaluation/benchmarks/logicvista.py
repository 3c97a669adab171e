# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""LogicVista (arXiv 2407.04973): 448 logic puzzles; some have several right letters, all of which must be named."""

from mmr1_trl.evaluation.benchmarks.base import Benchmark, Row, choice_row


def read(row: Row) -> Row:
    """One row; the choices stand in the question or in the picture."""
    return choice_row(row["question"], row["answer"])


def vlmevalkit_row(row: Row) -> Row:
    """What is known of VLMEvalKit's table; its accuracy by skill needs a column that the dataset does not hold."""
    return {"question": row["question"], "answer": row["answer"]}


LOGICVISTA = Benchmark(
    name="logicvista",
    sources=(("lscpku/LogicVista", None, "test"),),
    image="image",
    read=read,
    note="published numbers extract the letters with a language model",
    lmms_eval="logicvista_reasoning",
    vlmevalkit="LogicVista",
    vlmevalkit_row=vlmevalkit_row,
)
