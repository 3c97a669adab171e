# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Whether lmms-eval's own code reads what `mmr1 eval --export lmms_eval` writes, and scores it as it should.

    python -m venv v && v/bin/pip install -e . lmms-eval==0.7.3
    v/bin/python benchmarks/correctness/exports.py

lmms-eval is no dependency of this package and pulls in torchvision, wandb and av: give it an environment of its own.
One row per benchmark is exported with a right answer and one with a wrong one; `from_log` reads them from the folder,
and the tasks whose scorers need neither a judge nor the dataset score them. Nothing is downloaded. Prints a table;
exits with 1 if an answer does not come back as it was written, or a score is not the expected one.
"""

import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lmms_eval.models.simple.from_log import FromLog
from lmms_eval.tasks.chartqa.utils import chartqa_process_results
from lmms_eval.tasks.screenspot.utils_rec import compute_center_accuracy, parse_float_sequence_within

from mmr1_trl.evaluation.benchmarks import BENCHMARKS
from mmr1_trl.evaluation.export import export_lmms_eval


# The answers that a model gave to two rows, the first right and the second wrong.
ANSWERS = {
    "mathvista": ("B", "A"),
    "mathverse": ("C", "D"),
    "mathvision": ("12", "13"),
    "logicvista": ("A, C", "B"),
    "chartqa": ("104", "106"),
    "hallusionbench": ("yes", "no"),
    "screenspot": ("[0.55, 0.3, 0.55, 0.3]", "[0.95, 0.3, 0.95, 0.3]"),
}


def score_chartqa(answer: str) -> bool:
    return chartqa_process_results({"type": "human_test", "answer": "100"}, [answer])["relaxed_overall"] == 1.0


def score_screenspot(answer: str) -> bool:
    return bool(compute_center_accuracy([0.5, 0.2, 0.6, 0.4], parse_float_sequence_within(answer)))


SCORERS = {"chartqa": score_chartqa, "screenspot": score_screenspot}


def prediction(row: int, answer: str) -> dict[str, Any]:
    completion = f"<think> so </think> <answer> {answer} </answer>"
    return {
        "row": row, "doc_id": row, "sample": -1, "question": "?", "solution": "?", "completion": completion,
        "extracted": answer, "correct": 1.0 - row,
    }  # fmt: skip


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, answers in ANSWERS.items():
            export_lmms_eval(
                [prediction(*pair) for pair in enumerate(answers)], folder, name, BENCHMARKS[name].lmms_eval
            )
        assert all(json.loads(path.read_text())["logs"] for path in Path(folder).rglob("*.json"))
        reader = FromLog(logs=folder)
        for name, answers in ANSWERS.items():
            task = BENCHMARKS[name].lmms_eval
            requests = [SimpleNamespace(args=("?", {}, None, row, task, "test")) for row in range(2)]
            read = reader.generate_until(requests)
            scores = [SCORERS[name](answer) for answer in read] if name in SCORERS else "by a judge, or not here"
            right = read == list(answers) and scores in ([True, False], "by a judge, or not here")
            wrong += not right
            print(f"{'ok' if right else 'WRONG':6} {task:26} read {read}, scored {scores}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
