# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Step time and peak memory of each method against TRL's own `GRPOTrainer`, at the same rollouts.

    python benchmarks/costs/methods_step_cost.py

Each run is a process of its own with one thread, and the trainers take turns. TRL always trains GRPO with groups of
eight; it has a reference model where the method has one. MSSR is measured twice: with one rollout per prompt, as it is
meant, which has eight times as many pictures, and with eight, on the same pictures as TRL. Writes
`benchmarks/results/methods_step_cost.md` and `.json`.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import RESULTS, write_results
from costs.vision_once import ROLLOUTS, ratio_of_times, run_apart


SETTINGS: dict[str, dict[str, Any]] = {
    "tiny, 56 px": {"model": "tiny", "checkpointing": False, "prompts": 4, "steps": 12, "window": 2},
    "tiny, 56 px, frozen": {
        "model": "tiny", "checkpointing": False, "prompts": 4, "steps": 12, "window": 2, "frozen": True,
    },
    "vision-heavy, 448 px, frozen": {"model": "vision_heavy", "pixels": 448, "prompts": 2, "steps": 2, "frozen": True},
    "vision-heavy, 448 px": {"model": "vision_heavy", "pixels": 448, "prompts": 2, "steps": 2},
    "vision-heavy, 1024 px, frozen": {
        "model": "vision_heavy", "pixels": 1024, "prompts": 2, "steps": 1, "frozen": True,
    },
}  # fmt: skip

KL = {"beta": 0.01}
# Name, trainer, its options, and those that TRL's has as well.
METHODS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "mmr1 grpo": ("mmr1", {}, {}),
    "mmr1 vas": ("vas", {}, {}),
    "mmr1 two-stage": ("two-stage", {}, {}),
    "mmr1 mssr, 8 rollouts a prompt": ("mssr", {}, KL),
    "mmr1 mssr, 1 rollout a prompt": ("mssr", {"num_generations": 1}, KL),
}


def measure(setting: dict[str, Any], repeats: int) -> dict[str, Any]:
    """All methods and TRL with and without a reference model, `repeats` times in turn."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for _ in range(repeats):
        for name, options in {"TRL": {}, "TRL with reference": KL}.items():
            runs.setdefault(name, []).append(run_apart(setting | {"options": options}, "trl"))
        for name, (who, own, shared) in METHODS.items():
            runs.setdefault(name, []).append(run_apart(setting | {"options": own | shared}, who))
    result: dict[str, Any] = {}
    for name, (_, _, shared) in METHODS.items():
        base = runs["TRL with reference" if shared else "TRL"]
        memory = [statistics.median(r["peak_mib"] for r in group) for group in (base, runs[name])]
        result[name] = {
            "rounds": repeats,
            "cpu_ratio": ratio_of_times(runs[name], base, 1),
            "wall_ratio": ratio_of_times(runs[name], base, 0),
            "trl_cpu_s": statistics.median(t[1] for r in base for t in r["times"]),
            "trl_mib": memory[0],
            "memory_ratio": memory[1] / memory[0],
            "counts": runs[name][0]["counts"],
            "trl_counts": base[0]["counts"],
        }
    return result


def table(results: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| setting | method | processor time / TRL (range) | clock time / TRL (range) | peak memory / TRL "
        "| pictures encoded per batch: TRL, method | rounds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for setting, methods in results.items():
        prompts = SETTINGS[setting].get("prompts", 1)
        for name, r in methods.items():
            form = "{:.2f} ({:.2f} to {:.2f})" if r["rounds"] > 1 else "{:.2f}"  # one round has no range
            times = [form.format(*r[f"{clock}_ratio"]) for clock in ("cpu", "wall")]
            encoded = [f"{prompts * r[key]['encoded']:g}" for key in ("trl_counts", "counts")]
            lines.append(
                f"| {setting} | {name} | {times[0]} | {times[1]} | {r['memory_ratio']:.2f} | {', '.join(encoded)} "
                f"| {r['rounds']} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    arguments = parser.parse_args()
    file = RESULTS / "methods_step_cost.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    for setting in arguments.settings:
        known[setting] = measure(SETTINGS[setting], arguments.repeats)
        results = {name: known[name] for name in SETTINGS if name in known}
        head = f"{ROLLOUTS} rollouts a prompt unless said, one CPU thread; medians over rounds (smallest to largest)."
        write_results("methods_step_cost", f"{head}\n\n{table(results)}", results)


if __name__ == "__main__":
    main()
