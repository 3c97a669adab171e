# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The readers of published verdicts, on folders with the layout of the repositories."""

import json
import sys
from pathlib import Path

import pytest


sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from correctness import published_verdicts as published


def _write(path: Path, value: object, lines: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, value)) if lines else json.dumps(value))


def test_every_repository_is_read_with_its_verdicts(tmp_path, monkeypatch, capsys):
    vision = [{"id": "1", "options": ["A", "B"], "answer": "A"}, {"id": "2", "options": [], "answer": "60"}]
    _write(tmp_path / "MATH-V/data/test.jsonl", vision, lines=True)
    for name in ("Gemini-Pro-CoT", "Qwen-VL-Max-CoT", "LLaVA-v1.5-13B"):
        said = [{"id": "1", "response": "(B)", "correct": False}, {"id": "2", "response": "60 cm", "correct": False}]
        _write(tmp_path / f"MATH-V/outputs/some/{name}.jsonl", said, lines=True)
    logs = [
        {"ground_truth": "5m", "model_output": ["<answer>5</answer>"], "extracted_answer": "5", "is_correct": True}
    ]
    counted = [{"ground_truth": 3, "model_output": "<answer>4</answer>", "extracted_answer": 4}]
    _write(tmp_path / "R1-V/src/eval/logs/geoqa_legacy.json", {"results": logs})
    _write(tmp_path / "R1-V/src/eval/logs/counting.json", {"results": counted})
    row = {"choices": ["7", "8"], "answer": "8", "precision": None, "response": "The value is 8.", "true_false": True}
    for name in ("bard/output_bard", "gpt4/output_gpt4_2shot_solution", "llava/output_llava_llama_2_13b"):
        _write(tmp_path / f"MathVista/results/{name}.json", {"1": row})
    for name in ("cot", "direct"):
        row = {"answer": "B", "options": "['x', 'y']", "response": "Answer: B", "if_right": True}
        _write(tmp_path / f"MMMU/mmmu-pro/output/gpt-4o_vision_{name}.jsonl", [row], lines=True)
    for model in ("llava1.5_13b", "qwen_vl"):
        folder = tmp_path / "MMMU/mmmu/example_outputs" / model
        row = {"id": "v1", "question_type": "multiple-choice", "answer": "A", "index2ans": {"A": "x", "B": "y"}}
        _write(folder / "total_val_output.json", {"v1": "A"})
        _write(folder / "Math/output.json", [row | {"response": "It is x, not y."}])
    math = [{"gt": "420", "code": ["\\boxed{420}", "\\boxed{421}"], "score": [True, False]}]
    _write(tmp_path / "Qwen2.5-Math/evaluation/data/eval_rm_maj_example/math_cot_100.jsonl", math, lines=True)

    written = {}
    monkeypatch.setattr(published, "write_results", lambda name, text, report: written.update(report))
    monkeypatch.setattr(sys, "argv", ["published_verdicts.py", "--clones", str(tmp_path), "--show", "1"])
    published.main()
    ours = {name: list(row["mmr1-trl"].values()) for name, row in written.items()}
    assert ours["MATH-Vision, Gemini-Pro-CoT"] == [1, 0, 1]
    assert ours["R1-V, geoqa"] == ours["R1-V, counting"] == ours["MathVista, bard"] == [1, 0, 0]
    assert ours["MMMU-Pro vision, gpt-4o, cot"] == [1, 0, 0] and ours["MMMU, qwen_vl, multiple choice"] == [0, 1, 0]
    assert ours["MATH, Qwen2.5-Math"] == [2, 0, 0]
    assert "only here: gold '60'" in capsys.readouterr().out


def test_a_folder_without_clones_is_refused_and_overwrites_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(published, "write_results", lambda *args: pytest.fail("written"))
    monkeypatch.setattr(sys, "argv", ["published_verdicts.py", "--clones", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        published.main()
    assert end.value.code == 2 and "MATH-V, MathVista, MMMU, R1-V, Qwen2.5-Math" in capsys.readouterr().err
