# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
Score replies of other people's models that were published with a verdict, and say how often the verdicts agree.

    git clone --depth 1 https://github.com/mathllm/MATH-V CLONES/MATH-V
    git clone --depth 1 https://github.com/lupantech/MathVista CLONES/MathVista
    git clone --depth 1 https://github.com/MMMU-Benchmark/MMMU CLONES/MMMU
    git clone --depth 1 https://github.com/Deep-Agent/R1-V CLONES/R1-V
    git clone --depth 1 https://github.com/QwenLM/Qwen2.5-Math CLONES/Qwen2.5-Math
    python benchmarks/correctness/published_verdicts.py --clones CLONES [--show 40]

Writes `benchmarks/results/published_verdicts.{md,json}`. The published verdicts are no truth: MMMU's and MathVista's
parsers settle for the option that a reply mentions or resembles, R1-V's for a decimal's neighbour. `--show` prints the
disagreements, to be judged by eye.
"""

import argparse
import ast
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trl.rewards import accuracy_reward as trl_accuracy_reward


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import write_results

from mmr1_trl.rewards.scoring import make_question, score_answers


class Reply(NamedTuple):
    gold: str
    options: list[str]
    precision: int | None
    text: str
    verdict: bool


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def math_vision(clone: Path) -> Iterator[tuple[str, list[Reply]]]:
    rows = {row["id"]: row for row in _lines(clone / "data" / "test.jsonl")}
    for name in ("Gemini-Pro-CoT", "Qwen-VL-Max-CoT", "LLaVA-v1.5-13B"):
        (path,) = (clone / "outputs").rglob(f"{name}.jsonl")
        replies = []
        for line in _lines(path):
            row = rows[line["id"]]
            replies.append(Reply(str(row["answer"]), row["options"], None, line["response"], line["correct"]))
        yield f"MATH-Vision, {name}", replies


def math_vista(clone: Path) -> Iterator[tuple[str, list[Reply]]]:
    for name in ("bard/output_bard", "gpt4/output_gpt4_2shot_solution", "llava/output_llava_llama_2_13b"):
        rows = json.loads((clone / "results" / f"{name}.json").read_text(encoding="utf-8")).values()
        replies = []
        for row in rows:
            options = row["choices"] or []
            gold = "ABCDEFGHIJ"[options.index(row["answer"])] if options else str(row["answer"])
            precision = int(row["precision"]) if row["precision"] else None
            replies.append(Reply(gold, options, precision, str(row.get("response") or ""), row["true_false"]))
        yield f"MathVista, {name.rsplit('output_', 1)[1]}", replies


def mmmu(clone: Path) -> Iterator[tuple[str, list[Reply]]]:
    for name in ("cot", "direct"):
        rows = _lines(clone / "mmmu-pro" / "output" / f"gpt-4o_vision_{name}.jsonl")
        replies = []
        for row in rows:
            text = row["response"] if isinstance(row["response"], str) else ""
            replies.append(Reply(row["answer"], ast.literal_eval(row["options"]), None, text, bool(row["if_right"])))
        yield f"MMMU-Pro vision, gpt-4o, {name}", replies
    for model in ("llava1.5_13b", "qwen_vl"):
        folder = clone / "mmmu" / "example_outputs" / model
        parsed = json.loads((folder / "total_val_output.json").read_text(encoding="utf-8"))
        replies = []
        for path in sorted(folder.glob("*/output.json")):
            for row in json.loads(path.read_text(encoding="utf-8")):
                if row["question_type"] == "multiple-choice":
                    right = parsed[row["id"]] == row["answer"]
                    options = list(row["index2ans"].values())
                    replies.append(Reply(row["answer"], options, None, row["response"], right))
        yield f"MMMU, {model}, multiple choice", replies


def r1_v(clone: Path) -> Iterator[tuple[str, list[Reply]]]:
    for path in sorted((clone / "src" / "eval" / "logs").glob("*.json")):
        replies = []
        for row in json.loads(path.read_text(encoding="utf-8"))["results"]:
            text = row["model_output"][0] if isinstance(row["model_output"], list) else row["model_output"]
            gold = str(row["ground_truth"])
            right = row["is_correct"] if "is_correct" in row else str(row["extracted_answer"]) == gold
            replies.append(Reply(gold, [], None, text, right))
        yield f"R1-V, {path.stem.removesuffix('_legacy')}", replies


def qwen_math(clone: Path) -> Iterator[tuple[str, list[Reply]]]:
    rows = _lines(clone / "evaluation" / "data" / "eval_rm_maj_example" / "math_cot_100.jsonl")
    pairs = [(row["gt"], text, right) for row in rows for text, right in zip(row["code"], row["score"])]
    yield "MATH, Qwen2.5-Math", [Reply(gold, [], None, text, right) for gold, text, right in pairs]


SOURCES = {"MATH-V": math_vision, "MathVista": math_vista, "MMMU": mmmu, "R1-V": r1_v, "Qwen2.5-Math": qwen_math}


def counts(verdicts: list[bool], rewards: list[float | None]) -> dict[str, int]:
    pairs = list(zip(verdicts, (bool(reward) for reward in rewards)))
    return {
        "agree": sum(a == b for a, b in pairs),
        "only they": sum(a and not b for a, b in pairs),
        "only we": sum(b and not a for a, b in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clones", type=Path, required=True, help="folder of the clones; those that are there are used"
    )
    parser.add_argument("--show", type=int, default=0, help="how many disagreements of each file to print")
    a = parser.parse_args()
    if not any((a.clones / folder).is_dir() for folder in SOURCES):
        parser.error(f"none of the folders {', '.join(SOURCES)} is in {a.clones}: clone them as --help says")
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it prints whole completions when it times out
    report: dict[str, Any] = {}
    rows = ["| replies | of them right, as published | agree | right only there | right only here | agree, TRL |"]
    rows.append("|---|---|---|---|---|---|")
    for folder, read in SOURCES.items():
        if not (a.clones / folder).is_dir():
            print(f"no {a.clones / folder}: left out", file=sys.stderr)
            continue
        for name, replies in read(a.clones / folder):
            questions = [make_question(r.gold, None, r.options or None, None, r.precision) for r in replies]
            scores = score_answers([r.text for r in replies], questions)
            verdicts = [bool(r.verdict) for r in replies]
            ours = counts(verdicts, [score.correct for score in scores])
            messages = [[{"role": "assistant", "content": r.text}] for r in replies]
            theirs = counts(verdicts, trl_accuracy_reward(messages, [f"${r.gold.strip('$')}$" for r in replies]))
            report[name] = {"replies": len(replies), "right": sum(verdicts), "mmr1-trl": ours, "TRL": theirs}
            n = len(replies)
            cells = [name, f"{sum(verdicts)} of {n}", f"{ours['agree'] / n:.1%}", ours["only they"], ours["only we"]]
            rows.append("| " + " | ".join(map(str, [*cells, f"{theirs['agree'] / n:.1%}"])) + " |")
            print(rows[-1], flush=True)
            different = [(r, s) for r, s in zip(replies, scores) if bool(s.correct) != bool(r.verdict)]
            for r, s in different[: a.show]:
                side = "there" if r.verdict else "here"
                print(f"   only {side}: gold {r.gold!r} {r.options[:6]}, read {s.extracted!r}: ..{r.text[-120:]!r}")
    write_results("published_verdicts", "\n".join(rows), report)


if __name__ == "__main__":
    main()
