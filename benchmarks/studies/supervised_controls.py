# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the quickstart's gain is worth: MSSR against as many seconds of further supervised training.

    python benchmarks/studies/supervised_controls.py --seeds 5

From the same cold start: MSSR with `figures/mssr`; supervised training on the same mixture of answers that the cold
start ended with; and supervised training on clean, step-by-step answers. The supervised runs take as long as MSSR's
training did, so an idle machine is needed. Results are added seed by seed to
`benchmarks/results/supervised_controls.json` (a seed that is there is not run again) and tabled in the `.md` beside.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch


sys.path.insert(0, str(Path(__file__).parents[1]))

from mmr1_trl.cli.commands.eval import load_model
from mmr1_trl.cli.commands.train import train
from mmr1_trl.data.figures import MIXED, TraceMixture, load_figures
from mmr1_trl.evaluation.runner import evaluate_model
from mmr1_trl.models.cold_start import ColdStartStage, train_stage
from studies.lines import percent


RESULTS = Path(__file__).parents[1] / "results" / "supervised_controls"
CALIBRATION_STEPS = 60
NAMES = {
    "start": "cold start",
    "mssr": "+ MSSR (`figures/mssr`)",
    "mixed": "+ supervised, same mixture, same seconds",
    "clean": "+ supervised, clean traces, same seconds",
}


def accuracy(model: Any, processor: Any, seed: int) -> dict[str, float]:
    """Greedy and sampled accuracy on 600 held-out prompts, the same for all runs of a seed."""
    rows = load_figures("test", num_rows=600, seed=seed)
    result = evaluate_model(
        model, processor, rows, num_samples=4, max_new_tokens=32, batch_size=256, seed=seed, prompt_style="figures",
        progress=False,
    )  # fmt: skip
    return {"greedy": result.greedy_accuracy, "sampled": result.sampled_accuracy}


def supervised(mixture: TraceMixture, seconds: float, seed: int, folder: str) -> tuple[dict[str, float], int]:
    """Train on `mixture` for as many steps as fit into `seconds`; return the accuracies and the steps."""

    def run(steps: int) -> tuple[float, Any, Any]:
        model, processor = load_model("figures/cold_start")
        model.train()
        stage = ColdStartStage(mixture, steps=steps, learning_rate=6e-4, num_rows=12_000)
        begin = time.perf_counter()
        train_stage(model, processor, stage, folder, seed=100 + seed, progress=False)
        return time.perf_counter() - begin, model, processor

    short, long = run(CALIBRATION_STEPS)[0], run(3 * CALIBRATION_STEPS)[0]
    per_step = (long - short) / (2 * CALIBRATION_STEPS)
    steps = max(CALIBRATION_STEPS, int((seconds - short) / per_step) + CALIBRATION_STEPS)
    _, model, processor = run(steps)
    return accuracy(model.eval(), processor, seed), steps


def one_seed(seed: int) -> dict[str, Any]:
    """Run MSSR and both controls."""
    with tempfile.TemporaryDirectory() as folder:
        start, processor = load_model("figures/cold_start")
        values: dict[str, Any] = {"start": accuracy(start, processor, seed)}
        words = ["--config", "figures/mssr", "--output_dir", f"{folder}/mssr", "--seed", str(seed)]
        assert train("mssr", [*words, "--save_strategy", "no", "--disable_tqdm", "true"]) == 0
        seconds = json.loads(Path(folder, "mssr", "train_results.json").read_text())["train_runtime"]
        values["mssr"] = accuracy(*load_model(f"{folder}/mssr"), seed)
        for name, mixture in (("mixed", MIXED), ("clean", TraceMixture())):
            values[name], steps = supervised(mixture, seconds, seed, f"{folder}/{name}")
            values[f"{name}_steps"] = steps
        return values | {"seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    path = RESULTS.with_suffix(".json")
    done = json.loads(path.read_text()) if path.is_file() else {}
    for seed in range(arguments.seeds):
        if str(seed) not in done:
            done[str(seed)] = one_seed(seed)
            path.write_text(json.dumps(done, indent=1) + "\n")
            print(seed, done[str(seed)], flush=True)
    lines = [
        f"{len(done)} seeds; MSSR trained for {np.mean([run['seconds'] for run in done.values()]):.0f} s on average.",
        "Means over seeds, with 95 % intervals by Student's t.",
        "",
        "| | greedy accuracy, % | sampled accuracy, % |",
        "| --- | --- | --- |",
    ]
    for key, name in NAMES.items():
        cells = [percent(run[key][kind] for run in done.values()) for kind in ("greedy", "sampled")]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
