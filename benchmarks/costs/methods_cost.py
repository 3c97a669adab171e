# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the methods cost beside a model: drawing prompts, updating the tracker, self-BLEU.

Usage: `python benchmarks/costs/methods_cost.py`. Writes `benchmarks/results/methods_cost.{md,json}`.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import machine, write_results

from mmr1_trl.methods.text_diversity import self_bleu
from mmr1_trl.methods.value_tracker import ValueTracker
from mmr1_trl.methods.variance_promotion import draw_prompts


BATCH_SIZE = 2048


def milliseconds(function: Callable[[], object], repeats: int) -> float:
    """Median time of a call, after one call to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def prompt_costs(num_prompts: int) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(num_prompts, generator=generator)
    tracker = ValueTracker(num_prompts)
    ids = torch.randint(num_prompts, (BATCH_SIZE,), generator=generator)
    groups = torch.randint(num_prompts, (BATCH_SIZE // 8,), generator=generator).repeat_interleave(8)
    rewards = torch.randint(2, (BATCH_SIZE,), generator=generator).float()
    return {
        "prompts": num_prompts,
        "draw_ms": milliseconds(lambda: draw_prompts(scores, BATCH_SIZE, generator=generator), 20),
        "update_ms": milliseconds(lambda: tracker.update(ids, rewards), 20),
        "update_groups_of_8_ms": milliseconds(lambda: tracker.update(groups, rewards), 20),
        "values_ms": milliseconds(lambda: tracker.values(ids), 20),
    }


def nltk_self_bleu(sequences: list[list[int]]) -> float:
    smoothing = SmoothingFunction().method1
    scores = [
        sentence_bleu(sequences[:i] + sequences[i + 1 :], s, weights=(1 / 3,) * 3, smoothing_function=smoothing)
        for i, s in enumerate(sequences)
    ]
    return sum(scores) / len(scores)


def bleu_costs(num_rollouts: int, num_tokens: int = 512) -> dict[str, float]:
    # Zipf-like tokens with a shared head, as rollouts of one prompt have.
    rng = np.random.default_rng(0)
    head = rng.zipf(1.3, num_tokens // 4) % 150_000
    sequences = [
        [*head.tolist(), *(rng.zipf(1.3, num_tokens - len(head)) % 150_000).tolist()] for _ in range(num_rollouts)
    ]
    ours_ms = milliseconds(lambda: self_bleu(sequences), 10)
    nltk_ms = milliseconds(lambda: nltk_self_bleu(sequences), 1)
    return {
        "rollouts": num_rollouts,
        "tokens": num_tokens,
        "self_bleu_ms": ours_ms,
        "nltk_ms": nltk_ms,
        "times_faster": nltk_ms / ours_ms,
        "difference": abs(self_bleu(sequences) - nltk_self_bleu(sequences)),
    }


def table(rows: list[dict[str, float]]) -> str:
    def cell(value: float) -> str:
        return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"

    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---:|" * len(rows[0])]
    lines += ["| " + " | ".join(cell(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    torch.set_num_threads(1)
    prompts = [prompt_costs(10**exponent) for exponent in (3, 4, 5, 6)]
    bleu = [bleu_costs(num_rollouts) for num_rollouts in (8, 16, 32)]
    text = f"""# Cost of the methods

Medians in milliseconds; {machine()}. Written by `benchmarks/costs/methods_cost.py`.

## A batch of {BATCH_SIZE} prompts: drawing it (half by score, half uniform) and updating the value tracker

{table(prompts)}

## Self-BLEU of one prompt's rollouts, against NLTK's `sentence_bleu`

{table(bleu)}
"""
    numbers = {"machine": machine(), "batch_size": BATCH_SIZE, "prompts": prompts, "self_bleu": bleu}
    write_results("methods_cost", text, numbers)


if __name__ == "__main__":
    main()
