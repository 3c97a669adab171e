# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Step time of `RLVRTrainer` with every switch off against TRL's own `GRPOTrainer`, on the same work in one process.

    python benchmarks/costs/grpo_vs_trl.py

Runs of the two trainers alternate, because a shared machine drifts; the figure to read is the ratio of the medians.
Both train the same model on the same rows with the same seed, and the script stops if their losses differ by more than
the rounding of gradients that are summed in another order. Writes
`benchmarks/results/grpo_vs_trl.md` and `.json`.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import reward, rows, write_results

from mmr1_trl import RLVRConfig, RLVRTrainer
from mmr1_trl.models import build_tiny_vlm


# Pictures are small for the tiny model; the stored ones are large and reduced by the processor, as real ones are.
SETTINGS: dict[str, dict[str, Any]] = {
    "figures, 56 px, aligned": {"gradient_accumulation_steps": 2, "num_generations": 8},
    "figures, 56 px, 4 updates": {"steps_per_generation": 4, "gradient_accumulation_steps": 1, "num_generations": 8},
    "stored 512 px, aligned": {"gradient_accumulation_steps": 2, "num_generations": 8, "pixels": 512},
    "stored 512 px, 4 updates": {
        "steps_per_generation": 4, "gradient_accumulation_steps": 1, "num_generations": 8, "pixels": 512,
    },
}  # fmt: skip


class StepTimes(TrainerCallback):
    """Wall time from one optimizer step to the next, without the first step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())


def run(ours: bool, dataset: Dataset, options: dict[str, Any], batches: int) -> tuple[list[float], list[float]]:
    """Train a few generation batches; return the time per step of each but the first, and the losses."""
    window = options.get("steps_per_generation", 1)  # optimizer steps per generation batch
    model, processor = build_tiny_vlm()
    times = StepTimes()
    with tempfile.TemporaryDirectory() as folder:
        config_class, trainer_class = (RLVRConfig, RLVRTrainer) if ours else (GRPOConfig, GRPOTrainer)
        args = config_class(
            output_dir=folder, use_cpu=True, bf16=False, per_device_train_batch_size=16, max_completion_length=12,
            learning_rate=1e-4, max_steps=batches * window, logging_steps=1, report_to="none", save_strategy="no",
            disable_tqdm=True, gradient_checkpointing=False, **options,
        )  # fmt: skip
        trainer = trainer_class(
            model=model, reward_funcs=reward, args=args, train_dataset=dataset, processing_class=processor,
            callbacks=[times],
        )  # fmt: skip
        trainer.train()
    ends = times.ends[window - 1 :: window]  # whole windows, so that every value holds one generation
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return [(b - a) / window for a, b in zip(ends, ends[1:])], losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4, help="runs of each trainer per setting")
    parser.add_argument("--batches", type=int, default=6, help="generation batches per run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for name, setting in SETTINGS.items():
        options = dict(setting)
        dataset = rows(options.pop("pixels", None))
        times: dict[bool, list[float]] = {True: [], False: []}
        losses: dict[bool, list[float]] = {}
        for repeat in range(arguments.repeats):
            for ours in (True, False) if repeat % 2 else (False, True):
                measured, losses[ours] = run(ours, dataset, options, arguments.batches)
                times[ours] += measured
        if not np.allclose(losses[True], losses[False], atol=1e-5):
            raise SystemExit(f"{name}: the two trainers did different work: {losses[True]} and {losses[False]}")
        trl, mmr1 = statistics.median(times[False]), statistics.median(times[True])
        ratios = [a / b for a, b in zip(times[True], times[False])]
        low, high = np.quantile([np.median(np.random.default_rng(i).choice(ratios, len(ratios))) for i in range(500)],
                                [0.025, 0.975])  # fmt: skip
        results.append({"setting": name, "trl_s": trl, "mmr1_s": mmr1, "ratio": mmr1 / trl, "interval": [low, high]})
        print(f"{name}: TRL {trl:.3f} s, mmr1 {mmr1:.3f} s a step, ratio {mmr1 / trl:.3f} ({low:.3f} to {high:.3f})")
    lines = ["| setting | TRL s/step | mmr1 s/step | mmr1 / TRL | 95 % interval |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {r['setting']} | {r['trl_s']:.3f} | {r['mmr1_s']:.3f} | **{r['ratio']:.2f}** | "
        f"{r['interval'][0]:.2f} to {r['interval'][1]:.2f} |"
        for r in results
    ]
    write_results("grpo_vs_trl", "\n".join(lines), results)


if __name__ == "__main__":
    main()
