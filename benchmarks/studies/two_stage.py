# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The two-stage entropy paper's three stages of evidence on the figures, and the sweep that sets the coefficients.

python benchmarks/studies/two_stage.py noise    # five schedules x noise 0, 50 and 100 % x three tasks
python benchmarks/studies/two_stage.py order    # order of the stages, oracles that know the wrong labels (50 %)
python benchmarks/studies/two_stage.py switch   # the switch at 50, 70, 80 and 90 % of the steps
python benchmarks/studies/two_stage.py sweep    # coefficients, on seeds of their own

Finished runs are kept in results/two_stage.jsonl and are not run again; a run that two commands need is made once.
`--tables` writes tables and plots from what is there and trains nothing.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np


sys.path.insert(0, str(Path(__file__).parents[1]))

from studies.lines import RESULTS, by_arm, final, percent, read_study, run_study
from studies.setup import Arm, Setting


matplotlib.use("Agg")
import matplotlib.pyplot as plt


ROLLOUTS = 128  # of a generation batch, which is used for one update
STEPS = 60
NOISE = (0.0, 0.5, 1.0)
SEEDS = (0, 1, 2, 3, 4)
SWEEP_SEEDS = (200, 201)
# From trials with one seed: 0.1 ends in random text, and 0.01 is too little to bring entropy down again.
EXPLORE, EXPLOIT = (0.001, 0.003, 0.01), (0.03, 0.3)
# Of these the best by held-out accuracy, averaged over both tasks, all noise levels and the sweep's seeds (greedy and
# sampled agree). All other commands use them.
CHOSEN = {"explore_coef": 0.003, "exploit_coef": 0.03}
SWITCHES = (0.5, 0.7, 0.8, 0.9)

# Few prompts and many epochs, so that a wrong label can be memorized: 160 rollouts for each prompt.
SETTING = Setting(
    start="shapes",
    num_starts=1,
    levels=(1,),
    num_train_rows=48,
    num_late_rows=300,
    budget=STEPS * ROLLOUTS,
    eval_every=STEPS * ROLLOUTS // 3,
    options={
        "max_steps": STEPS,
        "num_generations": 8,
        "per_device_train_batch_size": ROLLOUTS,
        "gradient_accumulation_steps": 1,
        "learning_rate": 2e-4,
        "beta": 0.0,
        "max_completion_length": 16,
        "freeze_vision_tower": True,
    },
)
NUMBERS = {"start": "cold", "levels": None, "label_noise_kind": "near_miss"}
TASKS = {
    "point": replace(SETTING, train_families=("point",), eval_families=("point",)),
    "classify": replace(SETTING, train_families=("classify",), eval_families=("classify",)),
    # Near misses are defined for numbers alone; a step-by-step answer to these takes up to 24 tokens.
    "gap": replace(
        SETTING, train_families=("gap",), eval_families=("gap",), **NUMBERS,
        options=SETTING.options | {"max_completion_length": 24},
    ),
}  # fmt: skip


def schedule(name: str, kind: str, **options: Any) -> Arm:
    return Arm(name, {"entropy_schedule": kind} | CHOSEN | options)


GRPO = Arm("GRPO")
MINIMIZE, MAXIMIZE = schedule("minimize", "minimize"), schedule("maximize", "maximize")
TWO_STAGE, REVERSED = schedule("two-stage", "two_stage"), schedule("reversed", "minimize_then_maximize")
ORACLES = (schedule("LF.Max LT.Min", "maximize_noisy"), schedule("LT.Max LF.Min", "minimize_noisy"))
SWITCHED = tuple(
    TWO_STAGE if share == 0.8 else schedule(f"switch at {share:.0%}", "two_stage", switch_fraction=share)
    for share in SWITCHES
)
SWEPT = tuple(
    schedule(f"explore {explore:g}, exploit {exploit:g}", "two_stage", explore_coef=explore, exploit_coef=exploit)
    for explore in EXPLORE
    for exploit in EXPLOIT
)
COMMANDS: dict[str, tuple[Arm, ...]] = {
    "noise": (GRPO, MINIMIZE, MAXIMIZE, TWO_STAGE, REVERSED),
    "order": (GRPO, TWO_STAGE, REVERSED, *ORACLES),
    "switch": (GRPO, *SWITCHED),
    "sweep": (GRPO, *SWEPT),
}


def part_name(task: str, noise: float) -> str:
    return f"{task} {noise:.0%}"


def same_run(arm: Arm, noise: float) -> str:
    """Where all labels are wrong, or none is, an oracle has nothing to tell apart and is a constant schedule."""
    if noise == 0.5 or arm not in ORACLES:
        return arm.name
    return (MAXIMIZE if (arm == ORACLES[0]) == (noise == 1.0) else MINIMIZE).name


def jobs(
    command: str,
    tasks: Sequence[str],
    noises: Sequence[float],
    seeds: Sequence[int],
    only: Sequence[str] | None = None,
) -> list[Any]:
    arms = {arm.name: arm for arm in (*COMMANDS["noise"], *COMMANDS[command])}
    return [
        (part_name(task, noise), replace(TASKS[task], label_noise=noise), arms[same_run(arm, noise)], seed)
        for seed in seeds
        for noise in noises
        for task in tasks
        for arm in COMMANDS[command]
        if only is None or arm.name in only
    ]


# ---- Tables and plots ----


def shared_seeds(runs: dict[str, dict[int, Any]], names: Sequence[str]) -> list[int]:
    """Seeds that all arms have finished: every row of a table averages over the same ones."""
    return sorted(set.intersection(*(set(runs.get(name, {})) for name in names)))


def table(command: str, study: str, task: str, noises: Sequence[float], metric: str) -> list[str]:
    """Mean and 95 % interval over seeds, and the difference to GRPO of the same seed."""
    arms = COMMANDS[command]
    cells: dict[str, list[str]] = {arm.name: [] for arm in arms}
    head = []
    for noise in noises:
        runs = by_arm(read_study(study), part_name(task, noise))
        names = {arm.name: same_run(arm, noise) for arm in arms}
        seeds = shared_seeds(runs, list(names.values()))
        head.append(f"{noise:.0%} noise ({len(seeds)} seeds) | - GRPO")
        for arm, name in names.items():
            if not seeds:
                cells[arm] += ["", ""]
                continue
            values = np.array([final(runs[name][seed], metric) for seed in seeds])
            base = np.array([final(runs[GRPO.name][seed], metric) for seed in seeds])
            cells[arm] += [percent(values), "" if arm == GRPO.name else percent(values - base, signed=True)]
    lines = [f"| {task}, {metric}, % | " + " | ".join(head) + " |", "|---" * (1 + 2 * len(noises)) + "|"]
    return lines + [f"| {arm} | " + " | ".join(row) + " |" for arm, row in cells.items()] + [""]


def overall(command: str, study: str, tasks: Sequence[str], noises: Sequence[float], metric: str) -> list[str]:
    """Differences between arms, averaged over the tasks of a seed: what the tasks agree on."""
    arms = [arm.name for arm in COMMANDS[command]]
    lines = [
        f"| all tasks, {metric}, points | " + " | ".join(f"{n:.0%}: - GRPO | two-stage - this" for n in noises) + " |"
    ]
    lines.append("|---" * (1 + 2 * len(noises)) + "|")
    for arm in arms[1:]:
        cells = []
        for noise in noises:
            runs = {task: by_arm(read_study(study), part_name(task, noise)) for task in tasks}
            seeds = sorted(set.intersection(*(set(shared_seeds(runs[task], arms)) for task in tasks)))
            for one, other in ((arm, GRPO.name), (TWO_STAGE.name, arm)):
                gaps = [
                    np.mean([final(runs[t][one][seed], metric) - final(runs[t][other][seed], metric) for t in tasks])
                    for seed in seeds
                ]
                cells.append(percent(gaps, signed=True) if gaps and one != other else "")
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return [*lines, ""]


def plot(command: str, study: str, tasks: Sequence[str], noises: Sequence[float], metric: str) -> None:
    """Held-out accuracy over rollouts, and token entropy over steps: means over seeds."""
    shape = {"nrows": 2 * len(tasks), "ncols": len(noises), "squeeze": False}
    figure, axes = plt.subplots(**shape, figsize=(3.6 * len(noises), 4.6 * len(tasks)), sharey="row")
    for column, noise in enumerate(noises):
        for row, task in enumerate(tasks):
            above, below = axes[2 * row][column], axes[2 * row + 1][column]
            runs = by_arm(read_study(study), part_name(task, noise))
            names = [same_run(arm, noise) for arm in COMMANDS[command]]
            seeds = shared_seeds(runs, names)  # as in the tables
            for index, (arm, name) in enumerate(zip(COMMANDS[command], names)):
                found = [runs[name][seed] for seed in seeds]
                if not found:
                    continue
                curves = np.array([[point[metric] for point in run["curve"]] for run in found])
                rollouts = [point["rollouts"] for point in found[0]["curve"]]
                above.plot(rollouts, 100 * curves.mean(axis=0), color=f"C{index}", label=arm.name)
                entropy = np.array([run["log"]["entropy"] for run in found]).mean(axis=0)
                below.plot(found[0]["log"]["step"], entropy, color=f"C{index}")
            above.set_title(f"{task}, {noise:.0%} wrong labels", fontsize=10)
            above.set_xlabel("rollouts", fontsize=8)
            below.set_xlabel("update", fontsize=8)
            if column == 0:
                above.set_ylabel(f"clean held-out accuracy, %\n({metric})", fontsize=8)
                below.set_ylabel("token entropy, nats", fontsize=8)
            for axis in (above, below):
                axis.spines[["top", "right"]].set_visible(False)
                axis.grid(alpha=0.25)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncol=5, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(RESULTS / f"two_stage_{command}.png", dpi=110)
    plt.close(figure)


TEXT = f"""\
{ROLLOUTS} rollouts (16 prompts x 8) per update, {STEPS} updates over {SETTING.num_train_rows} prompts, learning rate \
{SETTING.options["learning_rate"]:g}, beta 0.
Accuracy on {SETTING.num_eval_rows} held-out prompts with right labels, after the last update: greedy, and sampled at
temperature 1. Mean over seeds with its 95 % interval by Student's t; "- GRPO" is the mean of the differences between
runs of one seed. All runs have one start, so the intervals are about that start and leave out how starts differ. Wrong
labels are random (point: a box elsewhere; classify:
another class) or near misses (gap: off by one or two)."""


def write_tables(command: str, tasks: Sequence[str], noises: Sequence[float]) -> None:
    study = "two_stage_sweep" if command == "sweep" else "two_stage"
    lines = [f"# Two-stage entropy: {command}", "", TEXT, ""]
    lines += [f"Written by `python benchmarks/studies/two_stage.py {command} --tables`.", ""]
    for task in tasks:
        for metric in ("greedy", "sampled"):
            lines += table(command, study, task, noises, metric)
    if command == "noise":
        lines += overall(command, study, tasks, noises, "greedy") + overall(command, study, tasks, noises, "sampled")
    path = RESULTS / f"two_stage_{command}.md"
    path.write_text("\n".join(lines))
    print(path.read_text())
    plot(command, study, tasks, noises, "sampled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=list(COMMANDS))
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), help="default: point and classify; noise: all")
    parser.add_argument("--noise", nargs="+", type=float, choices=NOISE, help="default: all; order: 0.5")
    parser.add_argument("--arms", nargs="+", help="run only these; tables have all")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 to 4; of the sweep 200 and 201")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tables", action="store_true", help="write tables and plots from the runs that are there")
    parser.add_argument("--starts", type=Path, help="folder of packed starts (starts.py); by default made here")
    a = parser.parse_args()
    names = [arm.name for arm in COMMANDS[a.command]]
    if unknown := set(a.arms or ()) - set(names):
        parser.error(f"unknown arms {sorted(unknown)}; {a.command} has {names}")
    sweep = a.command == "sweep"
    tasks = a.tasks or list(TASKS)[: 3 if a.command == "noise" else 2]
    noises = a.noise or ((0.5,) if a.command == "order" else NOISE)  # elsewhere an oracle has one kind of label
    if not a.tables:
        seeds = a.seeds or (SWEEP_SEEDS if sweep else SEEDS)
        study = "two_stage_sweep" if sweep else "two_stage"
        run_study(study, jobs(a.command, tasks, noises, seeds, a.arms), a.workers, starts=a.starts)
    write_tables(a.command, tasks, noises)


if __name__ == "__main__":
    main()
