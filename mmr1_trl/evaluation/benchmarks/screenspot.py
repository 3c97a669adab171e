# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""ScreenSpot (arXiv 2401.10935): name the point of a screen element; right when it lies in the element's box."""

from mmr1_trl.evaluation.benchmarks.base import Benchmark, Row


def read(row: Row) -> Row:
    """One row; the box is given in fractions of the picture's sides."""
    return {
        "question": row["instruction"],
        "answer": list(row["bbox"]),
        "answer_type": "point",
        "data_source": row["data_source"],
        "data_type": row["data_type"],
    }


SCREENSPOT = Benchmark(
    name="screenspot",
    sources=(("rootsautomation/ScreenSpot", None, "test"),),
    image="image",
    read=read,
    by=("data_source", "data_type"),
    prompt_style="ui_r1",
    gold_coordinates="fractions",
    lmms_eval="screenspot_rec_test",
)
