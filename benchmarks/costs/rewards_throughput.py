# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
Answers per second of this package's `accuracy_reward` and of TRL's, on completions of about 2 kB and on the labeled
table of answers with all its kinds; the same with 1 % of expressions that never finish; and the memory of it all.

Run: `python benchmarks/costs/rewards_throughput.py [--completions 2000] [--base FOLDER]`, where FOLDER holds another
version of the package (`git worktree add FOLDER 2ff92b6`), which is then measured in turns with this one. Writes
`benchmarks/results/rewards_throughput.{md,json}`.
"""

import argparse
import json
import logging
import os
import random
import subprocess
import sys
import time
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import write_results

from mmr1_trl.rewards import accuracy_reward


ROOT = Path(__file__).resolve().parents[2]
TURNS = 3


SENTENCES = (
    "Looking at the figure, the side AB is marked with a single tick and so is the side AC.",
    "The triangle is therefore isosceles, and its base angles are equal.",
    r"By the law of cosines, $c^2 = a^2 + b^2 - 2ab\cos\gamma$.",
    r"Substituting gives $\frac{3}{4} \cdot 12 = 9$ for the height.",
    "The bar for 2015 is a little taller than the one for 2014.",
    r"Wait, let me check this again: $x + 3 = 10$, hence $x = 7$.",
)


def answer_pair(generator: random.Random) -> tuple[str, str]:
    """A gold answer and another spelling of it; as in the public multimodal RL sets, most are choices and numbers."""
    a, b, c = (generator.randint(2, 400) for _ in range(3))
    kind = generator.random()
    if kind < 0.35:
        letter = generator.choice("ABCD")
        return letter, generator.choice([letter, f"({letter})", rf"\text{{{letter}}}"])
    if kind < 0.65:
        return str(a), generator.choice([str(a), f"{a}.0", rf"{a}\text{{ cm}}", f"{a}^\\circ"])
    if kind < 0.80:
        return rf"\frac{{{a}}}{{{b}}}", rf"\dfrac{{{a}}}{{{b}}}"
    if kind < 0.85:
        return f"{a}, {b}", f"{b}, {a}"
    if kind < 0.93:
        return rf"{a}\sqrt{{{b}}}", rf"\sqrt{{{a * a * b}}}"
    return f"{a}x^2 + {b}x + {c}", f"{c} + {b}x + {a}x^2"


def make_batch(number: int, seed: int, hanging: float = 0.0) -> tuple[list[list[dict]], list[str]]:
    """Completions of about 2 kB and their golds; half of the answers are right."""
    generator = random.Random(seed)
    completions, golds = [], []
    for index in range(number):
        gold, right = answer_pair(generator)
        answer = right if generator.random() < 0.5 else answer_pair(generator)[1]
        if index < hanging * number:
            gold, answer = r"2\sqrt{3}", f"9^{{9^{{9^{{{generator.randint(5, 10**6)}}}}}}}"
        reasoning = " ".join(generator.choice(SENTENCES) for _ in range(30))
        golds.append(gold)
        completions.append(
            [{"role": "assistant", "content": rf"<think>{reasoning}</think> The answer is \boxed{{{answer}}}."}]
        )
    order = list(range(number))
    generator.shuffle(order)
    return [completions[i] for i in order], [golds[i] for i in order]


def labeled_table() -> dict[str, list]:
    """The arguments of `accuracy_reward` for the labeled table, without what only newer versions know."""
    lines = (ROOT / "tests" / "data" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [case for case in map(json.loads, lines) if case["answer_type"] not in ("time", "detections")]
    names = ("answer_type", "options", "tolerance", "precision")
    columns = {name: [case.get(name) for case in cases] for name in names}
    return columns | {
        "completions": [case["completion"] for case in cases],
        "solution": [case["gold"] for case in cases],
        "expected": [case["expected"] for case in cases],
    }


def one_turn(number: int, seed: int) -> None:
    """Time the package that is on the path, in this fresh process, and print what it took as JSON."""
    accuracy_reward([r"\boxed{1+x}"] * 4, ["x+1", "x+2", "y+1", "x+3"])  # starts the workers
    seconds, rewards = timed(accuracy_reward, *make_batch(number, seed))
    table = labeled_table()
    expected = table.pop("expected")
    start = time.perf_counter()
    found = accuracy_reward(**table)
    took = time.perf_counter() - start
    paid = sum(bool(reward) and not right for reward, right in zip(found, expected))
    refused = sum(not reward and bool(right) for reward, right in zip(found, expected))
    mean = sum(filter(None, rewards)) / number
    report = {"mixture": seconds, "table": took, "answers": len(found), "mean": mean, "paid": paid, "refused": refused}
    print(json.dumps(report))


def in_turns(base: Path | None, number: int) -> dict[str, list[dict]]:
    """Measure this version and another one by turns, each in processes of its own, so that both meet the same load."""
    versions = {"this version": ROOT} | ({"before": base} if base else {})
    turns: dict[str, list[dict]] = {name: [] for name in versions}
    for seed in range(TURNS):
        for name, folder in versions.items():
            environment = os.environ | {"PYTHONPATH": str(folder)}
            command = [sys.executable, __file__, "--turn", str(seed), "--completions", str(number)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            turns[name].append(json.loads(done.stdout.splitlines()[-1]))
    return turns


def resident_mib() -> float:
    """Resident memory of this process and of the workers with their children."""
    from mmr1_trl.rewards.pool import default_pool

    ids = [os.getpid()]
    for worker in default_pool().process_ids():
        children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
        ids += [worker, *map(int, children)]
    pages = sum(int(Path(f"/proc/{i}/statm").read_text().split()[1]) for i in ids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def timed(function, completions: list, golds: list[str]) -> tuple[float, list]:
    start = time.perf_counter()
    rewards = function(completions, golds)
    return time.perf_counter() - start, rewards


def turn_rows(turns: dict[str, list[dict]], number: int) -> list[str]:
    """The quickest of each version's turns, and its errors on the labeled table."""
    rows = [
        f"| best of {TURNS} turns | answers/s, mixture | answers/s, labeled table | paid wrong | refused right |",
        "|---|---|---|---|---|",
    ]
    for name, found in turns.items():
        mixture, table = (min(turn[key] for turn in found) for key in ("mixture", "table"))
        last = found[-1]
        speeds = f"{number / mixture:,.0f} | {last['answers'] / table:,.0f}"
        rows.append(f"| {name} | {speeds} | {last['paid']} | {last['refused']} |")
    return rows


def main() -> None:
    logging.disable(logging.WARNING)  # math-verify prints whole completions when it times out
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--completions", type=int, default=2000)
    parser.add_argument("--base", type=Path, help="folder of another version of the package")
    parser.add_argument("--turn", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    number = arguments.completions
    if arguments.turn is not None:
        return one_turn(number, arguments.turn)
    from trl.rewards import accuracy_reward as trl_accuracy_reward

    from mmr1_trl.rewards.gold import Question
    from mmr1_trl.rewards.pool import DEADLINE_SECONDS, default_pool

    turns = in_turns(arguments.base and arguments.base.resolve(), number)
    start = time.perf_counter()
    default_pool().compare([(Question("x+1", "latex"), "1+x")])
    started = time.perf_counter() - start

    completions, golds = make_batch(number, seed=0)
    ours, our_rewards = timed(accuracy_reward, completions, golds)
    again, _ = timed(accuracy_reward, completions, golds)
    theirs, their_rewards = timed(trl_accuracy_reward, completions, golds)
    memory = [resident_mib()]

    rounds = []
    hanging = number // 100
    for seed in (1, 2, 3):
        clean, _ = timed(accuracy_reward, *make_batch(number, seed + 100))
        completions, golds = make_batch(number, seed, hanging=0.01)
        metrics: dict[str, float] = {}
        start = time.perf_counter()
        rewards = accuracy_reward(completions, golds, log_metric=metrics.__setitem__)
        seconds = time.perf_counter() - start
        honest, honest_golds = make_batch(number, seed, hanging=0.01)
        kept = [i for i, c in enumerate(honest) if "9^{9^{9^" not in c[0]["content"]]
        alone = accuracy_reward([honest[i] for i in kept], [honest_golds[i] for i in kept])
        rounds.append(
            {
                "seconds": round(seconds, 2),
                "timeouts": round(metrics["rewards/timeout_frac"] * number),
                "others_unharmed": [rewards[i] for i in kept] == alone,
                "without_hanging_seconds": round(clean, 2),
                # Each hanging item takes a worker away for the deadline and at most the caller's grace of 1 s.
                "bound_seconds": round(
                    clean + -(-hanging // len(default_pool()._workers)) * (DEADLINE_SECONDS + 1), 2
                ),
            }
        )
        memory.append(resident_mib())

    report = {
        "completions": number,
        "mean_characters": round(sum(len(c[0]["content"]) for c in completions) / number),
        "cores": os.cpu_count(),
        "workers": len(default_pool()._workers),
        "deadline_seconds": DEADLINE_SECONDS,
        "start_of_workers_seconds": round(started, 2),
        "ours_answers_per_second": round(number / ours),
        "ours_repeated_answers_per_second": round(number / again),
        "trl_answers_per_second": round(number / theirs),
        "turns": turns,
        "ours_mean_reward": sum(filter(None, our_rewards)) / number,
        "trl_none": sum(reward is None for reward in their_rewards),
        "with_one_percent_hanging": rounds,
        "resident_mib_before_and_after_each_round": [round(m) for m in memory],
    }
    rows = [
        "| | answers/s | seconds |",
        "|---|---|---|",
        f"| mmr1-trl, {report['workers']} workers | {number / ours:,.0f} | {ours:.2f} |",
        f"| mmr1-trl, the same batch again (cached) | {number / again:,.0f} | {again:.2f} |",
        f"| TRL `accuracy_reward` | {number / theirs:,.0f} | {theirs:.2f} |",
        "",
        f"{number} completions of {report['mean_characters']} characters on {report['cores']} cores; the workers "
        f"start once, in {started:.1f} s. TRL's reward gives `None` for {report['trl_none']} of them.",
        "",
        *turn_rows(turns, number),
        "",
        "| with 1 % hanging expressions | seconds | without them | bound | timeouts | all others scored alike | MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for index, (entry, mib) in enumerate(zip(rounds, memory[1:]), start=1):
        unharmed = "yes" if entry["others_unharmed"] else "no"
        rows.append(
            f"| round {index} | {entry['seconds']} | {entry['without_hanging_seconds']} | {entry['bound_seconds']} "
            f"| {entry['timeouts']} | {unharmed} | {mib:.0f} |"
        )
    rows += ["", "The bound is the time without them + hanging items / workers * (deadline + 1 s of grace)."]
    rows += [f"Resident memory before the first round: {memory[0]:.0f} MiB."]
    write_results("rewards_throughput", "\n".join(rows), report)


if __name__ == "__main__":
    main()
