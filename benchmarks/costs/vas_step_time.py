# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Time per update with `vas_refresh="online"` over that with uniform sampling, in one process, taking turns.

Processor time of one thread, so that other programs on the machine matter little.

    python benchmarks/costs/vas_step_time.py

Writes `benchmarks/results/vas_step_time.{json,md}`.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback

from mmr1_trl import RLVRConfig, RLVRTrainer
from mmr1_trl.cli.commands.eval import load_model
from mmr1_trl.data.figures import load_figures
from mmr1_trl.rewards import accuracy_reward


RESULTS = Path(__file__).parents[1] / "results" / "vas_step_time"
ARMS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "online": {"prompt_sampling": "variance_aware"},
    "online, with self-BLEU": {"prompt_sampling": "variance_aware", "vas_diversity_weight": 0.2},
}


class _Clock(TrainerCallback):
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self.seconds.append(-time.process_time())

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.seconds[-1] += time.process_time()


def step_times(options: dict[str, Any], steps: int) -> list[float]:
    """Seconds per update of 32 prompts x 8 rollouts of at most 32 tokens, without the first two."""
    model, processor = load_model("figures/cold_start")
    with tempfile.TemporaryDirectory() as folder:
        args = RLVRConfig(
            output_dir=folder, max_steps=steps, num_generations=8, per_device_train_batch_size=256,
            gradient_accumulation_steps=1, beta=0.0, max_completion_length=32, freeze_vision_tower=True,
            freeze_merger=True, gradient_checkpointing=False, learning_rate=1e-6, logging_steps=1, report_to="none",
            save_strategy="no", bf16=False, use_cpu=True, disable_tqdm=True, **options,
        )  # fmt: skip
        trainer = RLVRTrainer(
            model=model.train(), reward_funcs=accuracy_reward, args=args, train_dataset=load_figures(num_rows=2048),
            processing_class=processor,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        clock = _Clock()
        trainer.add_callback(clock)
        trainer.train()
    return clock.seconds[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    times: dict[str, list[list[float]]] = {name: [] for name in ARMS}
    for _ in range(arguments.repeats):
        for name, options in ARMS.items():
            times[name].append(step_times(options, arguments.steps))
    RESULTS.with_suffix(".json").write_text(json.dumps(times) + "\n")
    medians = {name: [statistics.median(run) for run in runs] for name, runs in times.items()}
    lines = [
        f"{arguments.repeats} rounds of {arguments.steps} updates each, one CPU thread, `figures/cold_start`.",
        "",
        "| | processor seconds per update | over uniform, median of the rounds (smallest to largest) |",
        "| --- | --- | --- |",
    ]
    for name, values in medians.items():
        ratios = [value / base for value, base in zip(values, medians["uniform"])]
        lines.append(
            f"| {name} | {statistics.median(values):.3f} | {statistics.median(ratios):.3f} ({min(ratios):.3f} to "
            f"{max(ratios):.3f}) |"
        )
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
