# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Do the methods learn when vLLM samples? The shipped configs on the embedded pictures, with and without it.

    .venv-vllm/bin/python benchmarks/studies/vllm_learning.py --steps 40

The runs are `mmr1 grpo`, `mmr1 mssr` and `mmr1 vas` as anyone would start them, in the environment that `make vllm`
makes. On a CPU vLLM samples in bfloat16 from weights that are trained in float32.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import RESULTS


METHODS = ("grpo", "mssr", "vas")
SAMPLERS = ("transformers", "vLLM")
# What the log of a run is kept of.
LOGGED = (
    "reward", "grad_norm", "entropy", "sampling/sampling_logp_difference/mean",
    "sampling/sampling_logp_difference/max", "sampling/importance_sampling_ratio/mean",
)  # fmt: skip


def run(method: str, sampler: str, options: list[str]) -> dict[str, Any]:
    """Train once, and return the run's log."""
    vllm = ["--use_vllm", "true", "--vllm_mode", "colocate", "--vllm_max_model_length", "256"]
    with tempfile.TemporaryDirectory() as folder:
        words = ["--config", f"figures/{method}", "--output_dir", folder, "--logging_steps", "1", *options]
        words += ["--save_strategy", "no", "--disable_tqdm", "true", *(vllm if sampler == "vLLM" else [])]
        subprocess.run([sys.executable, "-m", "mmr1_trl.cli", method, *words], check=True)
        history = json.loads(Path(folder, "trainer_state.json").read_text())["log_history"]
    entries = [{name: entry[name] for name in ("step", *LOGGED) if name in entry} for entry in history]
    return {"method": method, "sampler": sampler, "options": options, "log": [e for e in entries if len(e) > 1]}


def curve(one: dict[str, Any], name: str) -> tuple[list[int], list[float]]:
    """The logged steps of a run and a value at each."""
    entries = [entry for entry in one["log"] if name in entry]
    return [entry["step"] for entry in entries], [entry[name] for entry in entries]


def table(runs: list[dict[str, Any]]) -> str:
    """One line per run: the reward of the first and of the last quarter, and how far sampler and trainer are apart."""
    lines = [
        "| method | sampler | reward, first quarter | reward, last quarter | gradient norm, median | log-prob "
        "difference per token, mean (largest of all batches) |",
        "|---|---|---|---|---|---|",
    ]
    for one in runs:
        rewards = curve(one, "reward")[1]
        quarter = max(1, len(rewards) // 4)
        differences = curve(one, "sampling/sampling_logp_difference/mean")[1]
        apart = f"{np.mean(differences):.4f} ({max(differences):.4f})" if differences else "not measured"
        lines.append(
            f"| {one['method']} | {one['sampler']} | {np.mean(rewards[:quarter]):.3f} | "
            f"{np.mean(rewards[-quarter:]):.3f} | {np.median(curve(one, 'grad_norm')[1]):.2f} | {apart} |"
        )
    return "\n".join(lines)


def plot(runs: list[dict[str, Any]], path: Path) -> None:
    """The reward of every generation batch, and its mean over five of them."""
    figure, axes = plt.subplots(1, len(METHODS), figsize=(10, 3.2), sharey=True, layout="constrained")
    for axis, method in zip(axes, METHODS):
        for one, color in zip((one for one in runs if one["method"] == method), ("tab:gray", "tab:blue")):
            steps, rewards = curve(one, "reward")
            smooth = [np.mean(rewards[max(0, i - 4) : i + 1]) for i in range(len(rewards))]
            axis.plot(steps, rewards, color=color, alpha=0.25)
            axis.plot(steps, smooth, color=color, label=one["sampler"])
        axis.set(title=method, xlabel="optimizer update")
    axes[0].set_ylabel("accuracy of the rollouts")
    axes[0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="optimizer updates of each run")
    parser.add_argument("--num_train_rows", type=int, default=512, help="prompts, all scored by vas before it starts")
    parser.add_argument(
        "--report", action="store_true", help="only the table and the plot, of the runs that are there"
    )
    args = parser.parse_args()
    os.environ |= {
        "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }  # fmt: skip
    options = ["--max_steps", str(args.steps), "--num_train_rows", str(args.num_train_rows)]
    raw = RESULTS / "vllm_learning.jsonl"
    if not args.report:
        raw.write_text("")
        for method in METHODS:
            for sampler in SAMPLERS:
                with raw.open("a") as file:
                    file.write(json.dumps(run(method, sampler, options)) + "\n")
    runs = [json.loads(line) for line in raw.read_text().splitlines()]
    plot(runs, RESULTS / "vllm_learning.png")
    (RESULTS / "vllm_learning.md").write_text(table(runs) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main()
