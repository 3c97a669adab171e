# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Memory and time of the entropy term: one update (forward, loss, backward) with the term on against off.

Usage: `python benchmarks/costs/entropy_cost.py`. Random weights; with a GPU in bfloat16 at the size of a 3B model's
head (vocabulary 151,936, hidden 2,048, 8 x 1,024 completion tokens), without one at a small size. Both ways run in
turn, each repeat in a process of its own, so that one peak cannot hide the other. Writes
`benchmarks/results/entropy_cost.{md,json}`.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import write_results

from mmr1_trl import RLVRConfig, RLVRTrainer
from mmr1_trl.data.figures import load_figures
from mmr1_trl.models import build_tiny_vlm
from mmr1_trl.rewards import accuracy_reward


COMPLETIONS, PROMPT_TOKENS = 8, 16
SIZES = {
    "cuda": {"vocabulary": 151_936, "hidden": 2048, "layers": 4, "tokens": 1024, "updates": 10},
    "cpu": {"vocabulary": 32_768, "hidden": 256, "layers": 2, "tokens": 32, "updates": 3},
    "small": {"vocabulary": 1024, "hidden": 256, "layers": 1, "tokens": 4, "updates": 1},
}


def measure(size_name: str, term: bool) -> dict[str, float]:
    """Peak memory of this process in MiB and the median seconds of an update, after one to warm up."""
    size, device = SIZES[size_name], "cuda" if torch.cuda.is_available() else "cpu"
    tiny, processor = build_tiny_vlm("qwen2_5_vl")
    config = tiny.config
    text = config.text_config
    text.vocab_size, text.hidden_size, text.num_hidden_layers = size["vocabulary"], size["hidden"], size["layers"]
    text.intermediate_size, text.num_attention_heads, text.num_key_value_heads = 4 * size["hidden"], 8, 2
    text.layer_types = ["full_attention"] * size["layers"]
    text.rope_parameters["mrope_section"] = [4, 6, size["hidden"] // 16 - 10]  # adds up to half of a head
    config.vision_config.out_hidden_size = size["hidden"]
    with torch.device(device):
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        args = RLVRConfig(
            output_dir=folder, use_cpu=device == "cpu", bf16=device == "cuda", beta=0.0, report_to="none",
            gradient_checkpointing=device == "cuda", num_generations=COMPLETIONS,
            per_device_train_batch_size=COMPLETIONS, gradient_accumulation_steps=1, freeze_vision_tower=True,
            entropy_schedule="two_stage" if term else "none", explore_coef=0.01, exploit_coef=0.01, max_steps=100,
        )  # fmt: skip
        trainer: Any = RLVRTrainer(
            model=model, reward_funcs=accuracy_reward, args=args, train_dataset=load_figures(num_rows=8),
            processing_class=processor,
        )  # fmt: skip
    trainer.state.max_steps, trainer.current_gradient_accumulation_steps = 100, 1
    generator = torch.Generator().manual_seed(0)
    shape = (COMPLETIONS, PROMPT_TOKENS + size["tokens"])
    ids = torch.randint(300, size["vocabulary"], shape, generator=generator).to(device)
    mask = torch.ones_like(ids)
    inputs = {
        "prompt_ids": ids[:, :PROMPT_TOKENS],
        "prompt_mask": mask[:, :PROMPT_TOKENS],
        "completion_ids": ids[:, PROMPT_TOKENS:],
        "completion_mask": mask[:, PROMPT_TOKENS:],
        "advantages": torch.randn(COMPLETIONS, generator=generator).to(device),
        "num_items_in_batch": torch.tensor(COMPLETIONS * size["tokens"], device=device),
    }
    trainer.model.to(device).train()
    # On a CPU its own time, which other processes on the machine change little.
    clock = time.perf_counter if device == "cuda" else time.process_time
    seconds = []
    for _ in range(1 + size["updates"]):
        start = clock()
        trainer._compute_loss(trainer.model, inputs).backward()
        trainer.model.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"peak_mib": peak, "seconds": statistics.median(seconds[1:])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", choices=("on", "off"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    if a.one:
        print(json.dumps(measure(device, a.one == "on")))
        return
    runs: dict[str, list[dict[str, float]]] = {"off": [], "on": []}
    for _ in range(a.repeats):
        for way, found in runs.items():
            words = [sys.executable, __file__, "--one", way]
            output = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
            found.append(json.loads(output.splitlines()[-1]))
    ratios = {
        name: [on[name] / off[name] for on, off in zip(runs["on"], runs["off"])] for name in ("peak_mib", "seconds")
    }
    where = torch.cuda.get_device_name() if device == "cuda" else "one CPU thread, float32"
    machine = f"{where}, Python {platform.python_version()}, torch {torch.__version__}"
    size = SIZES[device]
    seconds = "time of an update, s" if device == "cuda" else "CPU time of an update, s"
    rows = [
        f"| {label} | {statistics.median(r[name] for r in runs['off']):.4g} | "
        f"{statistics.median(r[name] for r in runs['on']):.4g} | {statistics.median(ratios[name]):.3f} | "
        f"{min(ratios[name]):.3f} to {max(ratios[name]):.3f} |"
        for name, label in (("peak_mib", "peak memory, MiB"), ("seconds", seconds))
    ]
    text = "\n".join(
        [
            "# Cost of the entropy term",
            "",
            f"Forward, loss and backward over {COMPLETIONS} x {size['tokens']:,} completion tokens, vocabulary "
            f"{size['vocabulary']:,}, hidden size {size['hidden']:,}, {size['layers']} layers, random weights; "
            f"{machine}. {a.repeats} pairs of processes, the term off and on in turn; the ratio is the median over "
            "pairs, beside its range. Peak memory is "
            + ("what CUDA tensors took." if device == "cuda" else "the process's resident set, with Python and torch.")
            + " Written by `benchmarks/costs/entropy_cost.py`.",
            "",
            "| | off | on | on / off | range over pairs |",
            "|---|---:|---:|---:|---:|",
            *rows,
        ]
    )
    write_results("entropy_cost", text, {"machine": machine, "size": size, "runs": runs, "ratios": ratios})


if __name__ == "__main__":
    main()
