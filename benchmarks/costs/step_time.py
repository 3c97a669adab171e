# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What a training step costs beside an earlier version: processor seconds of the same short trainings, in turns.

    git worktree add --detach ../earlier 2ff92b6
    python benchmarks/costs/step_time.py ../earlier

Each measurement is a process of its own with one thread, which trains the tiny model by each method for `UPDATES`
updates of 16 rollouts and counts the processor's seconds in the steps, set-up and the first two steps left out. The
versions take turns, so that whatever else the machine does meets both. Writes a line for each pair to
`benchmarks/results/step_time.jsonl`, goes on from there when started again, and sums up in `step_time.md`.
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

HERE = Path(__file__).parents[2]
RESULTS = HERE / "benchmarks/results"
PAIRS = 7
UPDATES = 40
SKIPPED = 2
METHODS = {
    "mssr": ("MSSR", {"beta": 0.0, "tracker_forgetting": "fixed"}),
    "grpo": ("RLVR", {"num_generations": 8}),
    "vas": ("VAS", {"num_generations": 8, "beta": 0.0}),
}


def train(method: str) -> float:
    """Train by a method of whatever `mmr1_trl` is imported; return the processor seconds of its steps."""
    from common import reward
    from transformers import TrainerCallback

    import mmr1_trl
    from mmr1_trl.data.figures import load_figures
    from mmr1_trl.models import build_tiny_vlm

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            times.append(time.process_time())

    name, options = METHODS[method]
    model, processor = build_tiny_vlm()
    with tempfile.TemporaryDirectory() as folder:
        args = getattr(mmr1_trl, f"{name}Config")(
            output_dir=folder, use_cpu=True, bf16=False, per_device_train_batch_size=16, max_steps=UPDATES + SKIPPED,
            gradient_accumulation_steps=1, max_completion_length=8, report_to="none", save_strategy="no",
            disable_tqdm=True, logging_steps=10, **options,
        )  # fmt: skip
        getattr(mmr1_trl, f"{name}Trainer")(
            model=model, reward_funcs=reward, args=args, train_dataset=load_figures(num_rows=128),
            processing_class=processor, callbacks=[Clock()],
        ).train()  # fmt: skip
    return times[-1] - times[SKIPPED - 1]


def measure(tree: Path) -> dict[str, float]:
    """The seconds of each method in a process that imports a version."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    child = subprocess.run(
        [sys.executable, __file__, "--one"],
        capture_output=True,
        text=True,
        env=os.environ | one | {"PYTHONPATH": str(tree), "TOKENIZERS_PARALLELISM": "false"},
    )
    if child.returncode:
        raise SystemExit(child.stderr)
    return json.loads(child.stdout.splitlines()[-1])


def table(lines: list[dict[str, Any]]) -> str:
    """Medians per step with their range, and the median ratio of the pairs."""
    rows = ["| | earlier, ms | now, ms | now / earlier |", "| --- | ---: | ---: | ---: |"]
    for method in METHODS:
        cells = []
        seconds = {version: [each[version][method] for each in lines] for version in ("earlier", "now")}
        for values in seconds.values():
            steps = [1000 * value / UPDATES for value in values]
            cells.append(f"{statistics.median(steps):.0f} ({min(steps):.0f} to {max(steps):.0f})")
        ratios = [now / then for now, then in zip(seconds["now"], seconds["earlier"])]
        cells.append(f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
        rows.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("earlier", nargs="?", type=Path, help="folder of the earlier version")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="measurements of each version")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps({method: train(method) for method in METHODS}))
        return
    if given.earlier is None:
        parser.error("name the folder of the earlier version")
    path = RESULTS / "step_time.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    for number in range(len(lines), given.pairs):
        trees = {"earlier": given.earlier.resolve(), "now": HERE}
        order = sorted(trees, reverse=bool(number % 2))  # each goes first in half of the pairs
        lines.append({version: measure(trees[version]) for version in order})
        with open(path, "a") as file:
            file.write(json.dumps(lines[-1]) + "\n")
        print(f"pair {number + 1} of {given.pairs}\n{table(lines)}", flush=True)
    text = (
        f"Processor milliseconds per step, {UPDATES} steps of 16 rollouts in each of {len(lines)} pairs of processes; "
        f"medians, lowest and highest.\n\n{table(lines)}"
    )
    (RESULTS / "step_time.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
