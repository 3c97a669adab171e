# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""DeepSpeed ZeRO on two processes of a CPU: the same losses without it, after a resume, with pictures encoded once.

    pip install deepspeed && DS_ACCELERATOR=cpu python benchmarks/zero_on_cpu.py

MSSR with variance-aware sampling, so that the two ranks have different numbers of distinct pictures; two updates per
generation batch, a reference model, a checkpoint in the middle of a generation batch. Writes
`benchmarks/results/zero_on_cpu.md` and `.json`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from grpo_vs_trl import reward
from writing import write_results

from mmr1_trl import MSSRConfig, MSSRTrainer
from mmr1_trl.data.figures import load_figures
from mmr1_trl.models import build_tiny_vlm


STEPS, SAVED = 6, 3


def train(folder: str, stage: int, frozen: bool, encode_once: bool, resume: bool) -> None:
    """One of two processes: train, and leave the losses in `losses.json`."""
    zero = {
        "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto", "gradient_clipping": "auto",
        "zero_optimization": {"stage": stage}, "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }  # fmt: skip
    model, processor = build_tiny_vlm()
    rows: Dataset = load_figures(num_rows=16)
    trainer = MSSRTrainer(
        model=model, reward_funcs=reward, train_dataset=rows, processing_class=processor,
        args=MSSRConfig(
            output_dir=folder, use_cpu=True, per_device_train_batch_size=4, steps_per_generation=2,
            gradient_accumulation_steps=1, max_completion_length=6, max_steps=STEPS, logging_steps=1, report_to="none",
            save_steps=SAVED, disable_tqdm=True, gradient_checkpointing=False, learning_rate=1e-3,
            deepspeed=zero if stage else None, freeze_vision_tower=frozen, freeze_merger=frozen,
            prompt_sampling="variance_aware", vas_weighted_fraction=1.0, encode_once=encode_once,
        ),
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=f"{folder}/checkpoint-{SAVED}" if resume else None)
    if trainer.is_world_process_zero():
        history = trainer.state.log_history
        result = {name: [entry[name] for entry in history if name in entry] for name in ("loss", "vision/encoded")}
        Path(folder, "losses.json").write_text(json.dumps(result))
    torch.distributed.barrier()
    os._exit(0)  # without freeing Gloo's threads, which now and then aborts


def launch(*words: Any) -> dict[str, list[float]]:
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    result = subprocess.run(
        [*command, __file__, "--one", json.dumps(words)], capture_output=True, text=True, timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
    )  # fmt: skip
    if result.returncode:
        raise SystemExit(result.stdout[-1000:] + result.stderr[-3000:])
    return json.loads(Path(words[0], "losses.json").read_text())


def furthest(one: dict[str, list[float]], other: dict[str, list[float]]) -> float:
    return max(abs(a - b) for a, b in zip(one["loss"], other["loss"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        train(*json.loads(arguments.one))
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for frozen in (False, True):
            base: dict[str, list[float]] = {}
            for stage in (0, 2, 3):
                folder = f"{scratch}/{stage}-{frozen}"
                whole = launch(folder, stage, frozen, True, False)
                base = base or whole
                resumed = launch(folder, stage, frozen, True, True)
                plain = launch(f"{folder}-plain", stage, frozen, False, False)
                results.append(
                    {
                        "tower": "frozen" if frozen else "trained",
                        "stage": stage,
                        "from_stage_0": furthest(whole, base),
                        "from_resumed": furthest(whole, resumed),
                        "from_plain": furthest(whole, plain),
                        "pictures_encoded": sum(whole["vision/encoded"]),
                    }
                )
    lines = [
        f"Largest difference between the losses of {STEPS} updates; two processes, tiny model, float32.",
        "",
        "| tower | ZeRO stage | from stage 0 | from the run resumed at step 3 | from `encode_once=False` |",
        "| --- | --- | --- | --- | --- |",
    ]
    for r in results:
        gaps = " | ".join(f"{r[name]:.1g}" for name in ("from_stage_0", "from_resumed", "from_plain"))
        lines.append(f"| {r['tower']} | {r['stage'] or 'none'} | {gaps} |")
    write_results("zero_on_cpu", "\n".join(lines), results)


if __name__ == "__main__":
    main()
