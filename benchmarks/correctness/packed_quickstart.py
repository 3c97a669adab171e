# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Does a whole training learn the same with each prompt once? The quickstart's rows, start and length, packed and not.

    python benchmarks/correctness/packed_quickstart.py --methods grpo mssr --seeds 0 1 2

`share_prompts auto` leaves these rows alone, which spare fewer than 32 tokens per prompt and completion. Here that one
number is set to 0, so that their passes are packed wherever it spares a tenth of the tokens. Packed and plain runs
sample the same until rounding parts them, from when on they are two samples of the same training: read their
difference beside that between seeds. Goes on where it stopped; writes `benchmarks/results/packed_quickstart.md` and
`.json`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import RESULTS, machine, write_results


EVAL_ROWS = 600
SHARES = ("off", "auto")


def run(method: str, seed: int, share: str, max_steps: int | None) -> dict[str, Any]:
    """Train as `mmr1 METHOD --config figures/METHOD`, and measure on held-out prompts as the quickstart does."""
    from mmr1_trl.cli.commands.eval import load_model
    from mmr1_trl.cli.commands.train import train
    from mmr1_trl.data.figures import load_figures
    from mmr1_trl.evaluation.runner import evaluate_model
    from mmr1_trl.trainers.packing import installation

    installation.TOKENS_SPARED = 0
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        words = ["--config", f"figures/{method}", "--output_dir", folder, "--seed", str(seed)]
        words += ["--share_prompts", share, "--save_strategy", "no", "--disable_tqdm", "true"]
        words += ["--max_steps", str(max_steps)] if max_steps else []
        if train(method, words):
            raise SystemExit(f"{method}, seed {seed}, {share}: the training stopped")
        seconds = time.process_time() - begin
        log = json.loads(Path(folder, "trainer_state.json").read_text())["log_history"]
        model, processor = load_model(folder)
        result = evaluate_model(
            model, processor, load_figures("test", EVAL_ROWS, seed), num_samples=4, max_new_tokens=32, batch_size=256,
            seed=seed, prompt_style="figures", progress=False,
        )  # fmt: skip
    tokens = {name: sum(entry.get(f"tokens/{name}", 0.0) for entry in log) for name in ("asked", "computed")}
    return {
        "method": method, "seed": seed, "share_prompts": share, "max_steps": max_steps,
        "greedy": result.greedy_accuracy, "sampled": result.sampled_accuracy, **tokens, "train_seconds": seconds,
        "rewards": [entry["reward"] for entry in log if "reward" in entry], "machine": machine(),
    }  # fmt: skip


def table(runs: list[dict[str, Any]]) -> str:
    """A line per pair of runs, and the mean difference of each method."""
    lines = [
        "| method | seed | greedy: off, packed | difference, points | sampled: off, packed | difference, points "
        "| tokens computed / asked, packed | processor seconds of training: off, packed |",
        "| --- " * 8 + "|",
    ]
    found = {(one["method"], one["seed"], one["share_prompts"]): one for one in runs}
    sums = []
    for method in dict.fromkeys(one["method"] for one in runs):
        gaps: dict[str, list[float]] = {"greedy": [], "sampled": []}
        for seed in sorted({one["seed"] for one in runs}):
            if any((method, seed, share) not in found for share in SHARES):
                continue
            off, packed = (found[method, seed, share] for share in SHARES)
            cells = [method, str(seed)]
            for name, gap in gaps.items():
                gap.append(100 * (packed[name] - off[name]))
                cells += [f"{off[name]:.3f}, {packed[name]:.3f}", f"{gap[-1]:+.1f}"]
            cells += [f"{packed['computed'] / packed['asked']:.2f}"]
            cells += [f"{off['train_seconds']:.0f}, {packed['train_seconds']:.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
        for name, gap in gaps.items():
            if len(gap) > 1:
                error = statistics.stdev(gap) / len(gap) ** 0.5
                mean = statistics.mean(gap)
                sums.append(f"{method}, {name}: packed - off {mean:+.1f} points, standard error {error:.1f}.")
    return "\n".join([*lines, "", *sums])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["grpo", "mssr"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--max_steps", type=int, help="updates; by default those of the config")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(run(*json.loads(arguments.run))))
        return
    file = RESULTS / "packed_quickstart.json"
    runs: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
    names = ("method", "seed", "share_prompts", "max_steps")
    done = {tuple(one[name] for name in names) for one in runs}
    for seed in arguments.seeds:
        for method in arguments.methods:
            for share in SHARES:
                job = (method, seed, share, arguments.max_steps)
                if job not in done:
                    words = [sys.executable, "-W", "ignore", __file__, "--run", json.dumps(job)]
                    environment = os.environ | {"OMP_NUM_THREADS": "1"}
                    result = subprocess.run(words, capture_output=True, text=True, env=environment)
                    if result.returncode:
                        raise SystemExit(result.stdout[-1000:] + result.stderr[-3000:])
                    runs.append(json.loads(result.stdout.splitlines()[-1]))
                    write_results("packed_quickstart", table(runs), runs)


if __name__ == "__main__":
    main()
