# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
Score the labeled table of answers with this package, TRL's `accuracy_reward` and bare math-verify, side by side.

Run: `python benchmarks/correctness/rewards_correctness.py`. Writes `benchmarks/results/rewards_correctness.{md,json}`.
"""

import json
import logging
import sys
import time
from collections import defaultdict
from pathlib import Path

import math_verify
from trl.rewards import accuracy_reward as trl_accuracy_reward


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import write_results

from mmr1_trl.rewards.scoring import make_question, score_answers


ROOT = Path(__file__).resolve().parents[2]
SCORERS = ("mmr1-trl", "TRL accuracy_reward", "TRL, gold in $..$", "math-verify")


def score_with_ours(cases: list[dict]) -> list[float | None]:
    questions = [
        make_question(c["gold"], c["answer_type"], c["options"], c.get("tolerance"), c.get("precision")) for c in cases
    ]
    return [score.correct for score in score_answers([case["completion"] for case in cases], questions)]


def score_with_trl(cases: list[dict]) -> list[float | None]:
    completions = [[{"role": "assistant", "content": case["completion"]}] for case in cases]
    return trl_accuracy_reward(completions, [case["gold"] for case in cases])


def score_with_trl_and_delimiters(cases: list[dict]) -> list[float | None]:
    # The friendliest way to call it: its parser wants LaTeX, and most datasets store bare answers.
    return score_with_trl([case | {"gold": f"${case['gold'].strip('$')}$"} for case in cases])


def score_with_math_verify(cases: list[dict]) -> list[float | None]:
    return [
        float(math_verify.verify(math_verify.parse(case["gold"]), math_verify.parse(case["completion"])))
        for case in cases
    ]


def main() -> None:
    logging.disable(logging.WARNING)  # math-verify prints whole completions when it times out
    lines = (ROOT / "tests" / "data" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    topics: dict[str, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        topics[case["topic"]].append(index)
    report: dict = {"cases": len(cases), "right_answers": sum(case["expected"] for case in cases)}
    rewards = {}
    scorers = (score_with_ours, score_with_trl, score_with_trl_and_delimiters, score_with_math_verify)
    for name, scorer in zip(SCORERS, scorers):
        start = time.perf_counter()
        rewards[name] = scorer(cases)
        seconds = time.perf_counter() - start
        pairs = [(reward, case["expected"]) for reward, case in zip(rewards[name], cases)]
        report[name] = {
            "agree": sum(reward == expected for reward, expected in pairs),
            "paid_wrong_answers": sum(bool(reward) and not expected for reward, expected in pairs),
            "refused_right_answers": sum(reward == 0.0 and expected == 1 for reward, expected in pairs),
            "none": sum(reward is None for reward, _ in pairs),
            "seconds": round(seconds, 1),
        }
    rows = ["| | agree | wrong answers paid | right answers refused | no reward (`None`) |", "|---|---|---|---|---|"]
    for name in SCORERS:
        r = report[name]
        rows.append(
            f"| {name} | {r['agree']} / {len(cases)} | {r['paid_wrong_answers']} | {r['refused_right_answers']} "
            f"| {r['none']} |"
        )
    rows += ["", "Disagreements with the labels, by topic:", "", "| topic | cases | " + " | ".join(SCORERS) + " |"]
    rows.append("|---|---|" + "---|" * len(SCORERS))
    report["topics"] = {}
    for topic, members in sorted(topics.items()):
        wrong = [sum(rewards[name][i] != cases[i]["expected"] for i in members) for name in SCORERS]
        report["topics"][topic] = {"cases": len(members)} | dict(zip(SCORERS, wrong))
        rows.append(f"| {topic} | {len(members)} | " + " | ".join(map(str, wrong)) + " |")
    write_results("rewards_correctness", "\n".join(rows), report)


if __name__ == "__main__":
    main()
