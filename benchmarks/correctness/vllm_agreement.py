# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""How far apart are sampler and trainer when all is right, and when it is not? With a real vLLM in this process.

    .venv-vllm/bin/python benchmarks/correctness/vllm_agreement.py

`figures/grpo` in several settings, and with the faults of TRL 1.16 that `mmr1_trl/engines` mends put back: what the
guard's bound (`mmr1_trl/trainers/guards/agreement.py`) goes by. On a CPU vLLM samples in bfloat16.
"""

import os
import sys


os.environ |= {
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
}  # fmt: skip

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import vllm
from trl.generation import vllm_generation


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import write_results

from mmr1_trl.cli import main as mmr1
from mmr1_trl.engines.training import TrainingEngine
from mmr1_trl.trainers.guards.agreement import MISMATCH


TOWER = [
    "--learning_rate", "2e-3", "--num_train_rows", "4", "--per_device_train_batch_size", "32",
    "--steps_per_generation", "1", "--freeze_vision_tower", "false", "--freeze_merger", "false",
]  # fmt: skip
RIGHT: dict[str, list[str]] = {
    "trainer in 32 bits": [],
    "bf16 autocast": ["--bf16", "true"],
    "weights in bf16": ["--dtype", "bfloat16", "--bf16", "true"],
    "LoRA on all linear layers": [
        "--use_peft", "true", "--lora_target_modules", "all-linear", "--learning_rate", "1e-3",
    ],
    "four updates per generation batch": ["--steps_per_generation", "8", "--gradient_accumulation_steps", "2"],
    "without the correction": ["--vllm_importance_sampling_correction", "false"],
    "temperature 0.7": ["--temperature", "0.7"],
    "top_p 0.99": ["--top_p", "0.99"],
    "top_p 0.9": ["--top_p", "0.9"],
    "top_k 10": ["--top_k", "10"],
    "tower trained at a learning rate of 2e-3 on four rows": TOWER,
}  # fmt: skip
# What is done away with, by its name; and how the run is trained.
WRONG: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "fault: picture tokens expanded twice": (("one_token_per_picture", "_require_same"), []),
    "fault: encoded pictures kept after an update": (("_reset_encoder_cache",), TOWER),
}
NUMBERS = {
    "mean": "sampling/sampling_logp_difference/mean",
    "largest": "sampling/sampling_logp_difference/max",
    "ratio": "sampling/importance_sampling_ratio/mean",
    "removed": "sampling/removed_share",
}


class SharedEngine:
    """The engine of the first run, for all of them: each sends its own weights before it samples."""

    engine: Any = None

    def __new__(cls, **options: Any) -> Any:
        if cls.engine is None:
            cls.engine = vllm.LLM(**options)
        cls.engine.reset_prefix_cache()
        cls.engine.llm_engine.reset_encoder_cache()
        return cls.engine


def without(names: tuple[str, ...]) -> ExitStack:
    """Put faults back for a run."""
    stack = ExitStack()
    for name in names:
        if name == "one_token_per_picture":
            stack.enter_context(mock.patch(f"mmr1_trl.engines.training.{name}", lambda prompts, *_: prompts))
        else:
            stack.enter_context(mock.patch.object(TrainingEngine, name, lambda *_: None))
    return stack


def run(words: list[str], faults: tuple[str, ...], steps: int) -> dict[str, list[float]]:
    """Train, and return the guard's numbers of every generation batch."""
    with tempfile.TemporaryDirectory() as folder, without(faults):
        base = ["grpo", "--config", "figures/grpo", "--use_vllm", "true", "--vllm_mode", "colocate", "--output_dir"]
        base += [folder, "--max_steps", str(steps), "--logging_steps", "1", "--save_strategy", "no"]
        base += ["--disable_tqdm", "true", "--vllm_max_model_length", "256", "--on_mismatch", "warn"]
        assert mmr1([*base, *words]) == 0
        log = json.loads(Path(folder, "trainer_state.json").read_text())["log_history"]
    return {short: [entry[name] for entry in log if name in entry] for short, name in NUMBERS.items()}


def spread(values: list[float], form: str = ".3f") -> str:
    """The smallest and the largest value."""
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low} to {high}"


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """One line per run."""
    lines = ["| | mean difference | largest | mean ratio | removed | stopped at batch |", "|---|---|---|---|---|---|"]
    for name, numbers in found.items():
        stopped = next((str(i + 1) for i, mean in enumerate(numbers["mean"]) if mean > MISMATCH), "")
        lines.append(
            f"| {name} | {spread(numbers['mean'])} | {max(numbers['largest']):.2f} | {spread(numbers['ratio'])} | "
            f"{spread(numbers['removed'], '.0%')} | {stopped} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6, help="optimizer updates of each run")
    args = parser.parse_args()
    runs = {name: ((), words) for name, words in RIGHT.items()} | WRONG
    found = {}
    shared = mock.patch.object(vllm_generation, "LLM", SharedEngine)
    with shared, mock.patch.object(TrainingEngine, "shut_down", lambda self: None):
        for name, (faults, words) in runs.items():
            found[name] = run(words, faults, args.steps)
            write_results("vllm_agreement", table(found), {"bound": MISMATCH, "steps": args.steps, "runs": found})


if __name__ == "__main__":
    main()
