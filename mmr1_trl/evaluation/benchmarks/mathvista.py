# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""MathVista (arXiv 2310.02255), the 1000 rows of testmini; the answers of the test split are not public."""

from mmr1_trl.evaluation.benchmarks.base import Benchmark, Row, choice_row


_TYPES = {"integer": "number", "float": "number", "text": "text", "list": "list"}
_HINTS = {
    "integer": "Give an integer.",
    "float": "Give a number with {precision} decimal place(s).",
    "list": "Give a list, e.g. [1, 2, 3].",
    "text": "",
}


def read(row: Row) -> Row:
    """One row: typed answers, numbers compared after rounding to the given precision."""
    question = row["question"] + (f" (Unit: {row['unit']})" if row["unit"] else "")
    shared = {"task": row["metadata"]["task"], "kind": row["question_type"], "precision": None}
    if row["question_type"] == "multi_choice":
        return {**choice_row(question, _letter(row), list(row["choices"])), **shared}
    precision = None if row["precision"] is None else int(row["precision"])
    hint = _HINTS[row["answer_type"]].format(precision=precision)
    return {
        "question": f"{question} {hint}".strip(),
        "answer": row["answer"],
        "options": None,
        "answer_type": _TYPES[row["answer_type"]],
        **shared,
        "precision": None if precision is None else float(precision),
    }


def _letter(row: Row) -> str:
    """The letter of the right choice. The answer is its text, which may itself be a letter: that of another choice."""
    return chr(ord("A") + row["choices"].index(row["answer"]))


def vlmevalkit_row(row: Row) -> Row:
    """What VLMEvalKit scores by: choices and skills are lists in Python's own writing there."""
    choices = row["choices"] if row["question_type"] == "multi_choice" else None
    return {
        "index": row["pid"],
        "question": row["query"],
        "question_type": row["question_type"],
        "answer_type": row["answer_type"],
        "answer": row["answer"],
        "answer_option": _letter(row) if choices else "",
        "choices": str(list(choices or [])),
        "precision": row["precision"],
        "task": row["metadata"]["task"],
        "skills": str(list(row["metadata"]["skills"])),
    }


MATHVISTA = Benchmark(
    name="mathvista",
    sources=(("AI4Math/MathVista", None, "testmini"), ("lmms-lab-encoder/MathVista", None, "testmini")),
    image="decoded_image",  # `image` is the path of a file that the dataset does not hold
    read=read,
    by=("task", "kind"),
    note="published numbers extract the answer with a language model",
    id="pid",
    lmms_eval="mathvista_testmini_format",
    vlmevalkit="MathVista_MINI",
    vlmevalkit_row=vlmevalkit_row,
)
