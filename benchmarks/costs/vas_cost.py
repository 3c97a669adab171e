# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What `vas_refresh="online"` costs per generation batch beside a model: scores, draw, counts, metrics, diversity.

Usage: `python benchmarks/costs/vas_cost.py`. Writes `benchmarks/results/vas_cost.{md,json}`.
"""

import statistics
import sys
import time
from pathlib import Path

import torch


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import machine, write_results

from mmr1_trl import VASConfig
from mmr1_trl.data.prompts import Prompts
from mmr1_trl.trainers.rollouts import RolloutBatch
from mmr1_trl.trainers.samplers import Online


PROMPTS, GROUP, TOKENS, BATCHES = 64, 8, 512, 25


def costs(num_prompts: int, diversity_weight: float) -> dict[str, float]:
    """Medians over batches, without the first one, in milliseconds."""
    args = VASConfig(
        use_cpu=True, beta=0.0, num_generations=GROUP, per_device_train_batch_size=PROMPTS * GROUP,
        gradient_accumulation_steps=1, vas_diversity_weight=diversity_weight,
    )  # fmt: skip
    sampler = Online(Prompts(torch.arange(num_prompts)), args)
    generator = torch.Generator().manual_seed(0)
    draw, observe = [], []
    for _ in range(BATCHES):
        completions = torch.randint(5000, (PROMPTS * GROUP, TOKENS), generator=generator).tolist()
        rewards = torch.randint(2, (PROMPTS * GROUP,), generator=generator).float()
        start = time.perf_counter()
        rows, num_weighted = sampler.next_batch()
        drawn = time.perf_counter()
        every = rows.repeat_interleave(GROUP)
        sampler.observe(RolloutBatch(every, every, rewards, GROUP, num_weighted, completion_ids=completions))
        draw.append(drawn - start)
        observe.append(time.perf_counter() - drawn)
    return {"draw_ms": 1000 * statistics.median(draw[1:]), "update_ms": 1000 * statistics.median(observe[1:])}


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for num_prompts in (10**3, 10**4, 10**5, 10**6):
        outcomes = costs(num_prompts, diversity_weight=0.0)
        with_diversity = costs(num_prompts, diversity_weight=0.2)["update_ms"]
        rows.append({"prompts": num_prompts, **outcomes, "update_with_self_bleu_ms": with_diversity})
    cells = [
        f"| {row['prompts']:,} | {row['draw_ms']:.2g} | {row['update_ms']:.2g} | "
        f"{row['update_with_self_bleu_ms']:.3g} |"
        for row in rows
    ]
    text = "\n".join(
        [
            "# Cost of online variance-aware sampling",
            "",
            f"Medians in milliseconds for a generation batch of {PROMPTS} prompts x {GROUP} rollouts of {TOKENS} "
            f"tokens; {machine()}. Written by `benchmarks/costs/vas_cost.py`.",
            "",
            "| prompts | scores and draw | counts and metrics | the same with self-BLEU |",
            "|---:|---:|---:|---:|",
            *cells,
        ]
    )
    write_results("vas_cost", text, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
