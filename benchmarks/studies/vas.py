# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What drawing prompts by their variance is worth, per rollout.

python benchmarks/studies/vas.py            # train what is missing, then write the tables and the plot
python benchmarks/studies/vas.py --replot   # train nothing
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np


sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.lines import (
    RESULTS,
    area,
    by_arm,
    draw,
    final,
    mean_interval,
    paired,
    percent,
    ratio_of_rollouts,
    run_study,
)
from studies.setup import Arm, Setting


SETTING = Setting(
    start="uneven",
    num_starts=1,
    train_families=("add", "range", "sum3", "times", "count", "locate", "longest", "classify"),
    eval_families=("add", "range", "sum3", "times"),
    num_train_rows=256,
    num_eval_rows=400,
    num_late_rows=400,
    budget=10_240,
    options={
        "num_generations": 8,
        "per_device_train_batch_size": 64,
        "gradient_accumulation_steps": 1,
        "learning_rate": 3e-5,
        "beta": 0.0,
        "epsilon_high": 0.3,
        "max_completion_length": 32,
        "freeze_vision_tower": True,
        "freeze_merger": True,
    },
)


VAS = {"prompt_sampling": "variance_aware"}
FULL = VAS | {"vas_refresh": "full", "vas_rollouts": 8, "vas_update_steps": 48}
LEARNING = (
    Arm("uniform"),
    Arm("VAS online", VAS | {"vas_refresh": "online", "vas_diversity_weight": 0.0}),
    Arm("VAS full", FULL),
    Arm("dynamic sampling", {"prompt_sampling": "dynamic"}),
)
BASE = "base: lambda .5, weights .8/.2, N 8, T 48"
ABLATION_BUDGET = 8192
# Each changes one thing of the base, the procedure of the paper at this scale.
ABLATIONS = (
    Arm("uniform"),
    Arm(BASE, FULL),
    Arm("lambda .2", FULL | {"vas_weighted_fraction": 0.2}),
    Arm("lambda .8", FULL | {"vas_weighted_fraction": 0.8}),
    Arm("lambda 1", FULL | {"vas_weighted_fraction": 1.0}),
    Arm("weights 1/0", FULL | {"vas_outcome_weight": 1.0, "vas_diversity_weight": 0.0}),
    Arm("weights .5/.5", FULL | {"vas_outcome_weight": 0.5, "vas_diversity_weight": 0.5}),
    Arm("N 4", FULL | {"vas_rollouts": 4}),
    Arm("N 16", FULL | {"vas_rollouts": 16}),
    Arm("T 24", FULL | {"vas_update_steps": 24}),
    Arm("T 96", FULL | {"vas_update_steps": 96}),
)


def report(runs: list[dict[str, Any]]) -> None:
    """Write the tables and the plots of what has been run."""
    learning, ablations = by_arm(runs, "learning"), by_arm(runs, "ablations")
    path = RESULTS / "study_vas.md"
    lines = [
        "Greedy accuracy on 400 held-out prompts; means over seeds with 95 % intervals by Student's t. All seeds have",
        "one start, so the intervals are about that start. Differences and ratios are taken seed by seed. Every",
        "rollout counts, those for scoring and those thrown away included.",
        "",
        f"Learning, {SETTING.budget:,} rollouts:",
        "",
        "| | area under the curve, % | minus uniform | at the end, % | rollouts to 80 %, against uniform | "
        "rollouts to uniform's final accuracy, against uniform | groups with a signal, % | updates |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in learning:
        lines.append(_row(learning, name, SETTING.budget, ratios=True))
    lines += [
        "",
        f"Ablations of `full`, {ABLATION_BUDGET:,} rollouts; each arm changes one thing of the base:",
        "",
        "| | area under the curve, % | minus base | at the end, % | area over the first 48 updates, minus base | "
        "groups with a signal, % | updates |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in ablations:
        lines.append(_row(ablations, name, ABLATION_BUDGET, ratios=False))
    path.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))

    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    draw(axes[0], learning, SETTING.budget)
    axes[0].set(title="learning", xlabel="all rollouts", ylabel="held-out greedy accuracy")
    draw(axes[1], learning, 10_000, x="step")
    axes[1].set(title="the same runs over updates", xlabel="optimizer updates")
    names = [name for name in ablations if name != BASE][::-1]
    for place, name in enumerate(names):
        seeds = sorted(ablations[name].keys() & ablations[BASE].keys())
        gains = [
            area(ablations[name][seed], ABLATION_BUDGET) - area(ablations[BASE][seed], ABLATION_BUDGET)
            for seed in seeds
        ]
        mean, low, high = mean_interval(gains)
        axes[2].errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color="black", capsize=3)
        axes[2].plot(gains, [place] * len(gains), ".", color="tab:blue", alpha=0.5)
    axes[2].axvline(0, color="gray", linewidth=1)
    axes[2].set_yticks(range(len(names)), names)
    axes[2].set(title="ablations: area under the curve, minus base", xlabel="difference, per seed and mean")
    axes[0].legend(fontsize=8, loc="lower right")
    figure.savefig(path.with_suffix(".png"), dpi=110)


def _row(arms: dict[str, dict[int, dict[str, Any]]], name: str, budget: int, ratios: bool) -> str:
    mine, against = arms[name], "uniform" if ratios else BASE
    useful = [1.0 - np.mean(run["log"]["frac_reward_zero_std"]) for run in mine.values()]
    updates = round(np.mean([run["curve"][-1]["step"] for run in mine.values()]))
    cells = [name, percent(area(run, budget) for run in mine.values())]
    same = name == against
    cells.append("" if same else paired(arms, name, against, lambda run: area(run, budget)))
    cells.append(percent(final(run) for run in mine.values()))
    if ratios:
        cells += ["", ""] if same else [ratio_of_rollouts(arms, name, against, level) for level in (0.8, None)]
    else:
        cells.append("" if same else paired(arms, name, against, lambda run: area(run, 48, x="step")))
    return f"| {' | '.join([*cells, percent(useful), str(updates)])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--parts", nargs="+", default=["learning", "ablations"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--replot", action="store_true", help="run nothing")
    parser.add_argument("--starts", type=Path, help="folder of packed starts (starts.py); by default made here")
    arguments = parser.parse_args()
    jobs = []
    for part in () if arguments.replot else arguments.parts:
        arms = LEARNING if part == "learning" else ABLATIONS
        setting = SETTING if part == "learning" else replace(SETTING, budget=ABLATION_BUDGET)
        jobs += [(part, setting, arm, seed) for seed in arguments.seeds for arm in arms]
    report(run_study("study_vas", jobs, arguments.workers, starts=arguments.starts))


if __name__ == "__main__":
    main()
