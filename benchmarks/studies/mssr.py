# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Single rollouts against groups, at equal rollouts and at every number of updates per rollout batch.

    python benchmarks/studies/mssr.py stability   # five methods x 1, 2, 4 and 16 updates, large learning rate
    python benchmarks/studies/mssr.py speed       # the same at a smaller learning rate
    python benchmarks/studies/mssr.py shaping     # what the entropy bonus does: sources, strengths, controls, others
    python benchmarks/studies/mssr.py tracker     # forgetting rules and initial values
    python benchmarks/studies/mssr.py ceiling     # with families of questions that nobody here can learn
    python benchmarks/studies/mssr.py combined    # MSSR, VAS and two-stage entropy alone and together
    python benchmarks/studies/mssr.py controls    # as many seconds of supervised training

Every seed has a cold start of its own (about two minutes each, kept in the cache), and its own prompts, order, samples
and held-out prompts. Finished runs are lines of results/study_mssr.jsonl and are not run again; `--tables` trains
nothing.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch


sys.path.insert(0, str(Path(__file__).parents[1]))

from mmr1_trl import RLVRTrainer
from mmr1_trl.cli.commands.eval import load_model
from mmr1_trl.data.figures import MIXED, TraceMixture, load_figures
from mmr1_trl.models.cold_start import ColdStartStage, train_stage
from mmr1_trl.trainers.entropy import EntropyBonus
from studies.inference import median_time
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
    read_study,
    rollouts_to,
    run_study,
)
from studies.setup import Arm, Setting, accuracies, train_and_measure
from studies.starts import start_folder


matplotlib.use("Agg")
import matplotlib.pyplot as plt


STUDY = "study_mssr"
ROLLOUTS = 256  # of a generation batch
BATCHES = 48
UPDATES = (1, 2, 4, 16)  # per generation batch
LEARNING_RATES = {"stability": 3e-4, "speed": 1e-4}
SEEDS = (0, 1, 2, 3, 4)

SETTING = Setting(
    start="cold",
    num_train_rows=1024,
    num_late_rows=300,
    budget=BATCHES * ROLLOUTS,
    eval_every=BATCHES * ROLLOUTS // 6,
    options={
        "beta": 0.0,
        "epsilon": 0.2,
        "epsilon_high": 0.3,
        "delta": 3.0,
        "max_grad_norm": 1.0,
        "max_completion_length": 32,
        "gradient_accumulation_steps": 1,
        "freeze_vision_tower": True,
        "freeze_merger": True,
    },
)


class SameBonusForAll(EntropyBonus):
    """The shaping's bonus when it knows nothing of the token's entropy: that of the mean over the batch."""

    def shape(
        self, advantages: torch.Tensor, logps: torch.Tensor, entropies: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        mean = (entropies * mask).sum() / mask.sum().clamp(min=1)
        return super().shape(advantages, logps, mean.expand_as(entropies), mask)


class ConstantBonusTrainer(RLVRTrainer):
    """A control of entropy shaping."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shapings = [SameBonusForAll(self.args.shaping_alpha, self.args.shaping_kappa)]


GROUP = {"num_generations": 8}
SINGLE = {"num_generations": 1, "advantage_baseline": "value_tracker", "tracker_forgetting": "fixed"}
SHAPED = SINGLE | {"entropy_shaping": True}
METHODS = {
    "GRPO": GROUP,
    # Reward minus the mean of the others is 8/7 of reward minus the mean, a factor that Adam takes out again.
    "RLOO": GROUP | {"scale_rewards": "none"},
    # A tracker that never moves: the reward alone, normalized over the batch.
    "REINFORCE++": SINGLE | {"tracker_rho_min": 1 - 1e-6, "tracker_rho_max": 1 - 1e-6},
    "MVSR": SINGLE,
    "MSSR": SHAPED,
}


def arm(name: str, updates: int, options: dict[str, Any], trainer: Any = "RLVRTrainer") -> Arm:
    batch = {
        "per_device_train_batch_size": ROLLOUTS // updates,
        "steps_per_generation": updates,
        "logging_steps": updates,
        "max_steps": BATCHES * updates,
    }
    return Arm(f"{name}, {updates}", batch | options, trainer)


GRID = tuple(arm(name, updates, options) for updates in UPDATES for name, options in METHODS.items())
SHAPING = (
    arm("MVSR", 16, SINGLE),
    arm("MSSR", 16, SHAPED),
    arm("alpha 1", 16, SHAPED | {"shaping_alpha": 1.0}),
    arm("alpha 2", 16, SHAPED | {"shaping_alpha": 2.0}),
    arm("sampled token", 16, SHAPED | {"entropy_source": "sampled_token"}),
    arm("sampled token, alpha 2", 16, SHAPED | {"entropy_source": "sampled_token", "shaping_alpha": 2.0}),
    arm("constant bonus", 16, SHAPED, ConstantBonusTrainer),
    arm("constant bonus, alpha 2", 16, SHAPED | {"shaping_alpha": 2.0}, ConstantBonusTrainer),
    arm("negatives halved", 16, SINGLE | {"negatives": "halved"}),
    arm("entropy loss .01", 16, SINGLE | {"entropy_coef": 0.01}),
    arm("entropy loss .002", 16, SINGLE | {"entropy_coef": 0.002}),
    arm("no clip-higher", 16, SINGLE | {"epsilon_high": 0.2}),
    arm("reference KL .01", 16, SINGLE | {"beta": 0.01}),
)
TRACKER = (
    arm("MVSR", 2, SINGLE),
    arm("paper's forgetting, reference KL .01", 2, SINGLE | {"tracker_forgetting": "paper", "beta": 0.01}),
    arm("monotone, reference KL .01", 2, SINGLE | {"tracker_forgetting": "monotone", "beta": 0.01}),
    arm("per prompt (SPO)", 2, SINGLE | {"tracker_forgetting": "per_prompt", "tracker_kl_source": "policy"}),
    arm("first value 0", 2, SINGLE | {"tracker_initial_value": 0.0}),
    arm("one rollout for the first value", 2, SINGLE | {"tracker_initial_rollouts": 1}),
)
CEILING = tuple(arm(name, updates, METHODS[name]) for updates in (2, 16) for name in ("GRPO", "MVSR", "MSSR"))
VAS = {"prompt_sampling": "variance_aware"}
TWO_STAGE = {"entropy_schedule": "two_stage"}
COMBINED = (
    arm("GRPO", 2, GROUP),
    arm("MSSR", 2, SHAPED),
    arm("VAS", 2, GROUP | VAS),
    arm("two-stage", 2, GROUP | TWO_STAGE),
    arm("all three", 2, SHAPED | VAS | TWO_STAGE),
)
CONTROLS = (Arm("supervised, same mixture", {"mixture": MIXED}), Arm("supervised, clean", {"mixture": TraceMixture()}))
# As many optimizer steps of 32 rows as fit into the time of a run with two updates per batch.
CONTROL_STEPS = 300

# Naming a tile by its color is not part of the start and is hardly learned from it: two families in seven stay low.
MIXED_FAMILIES = ("add", "gap", "sum3", "range", "times", "color_add", "color_gap")
HARD = {"train_families": MIXED_FAMILIES, "eval_families": MIXED_FAMILIES}
NOISY = {"label_noise": 0.5, "label_noise_kind": "near_miss"}


def with_rate(regime: str, **changes: Any) -> Setting:
    return replace(SETTING, options=SETTING.options | {"learning_rate": LEARNING_RATES[regime]}, **changes)


# Command: the parts of the study that it runs. Two commands may share a part and then share runs.
COMMANDS: dict[str, dict[str, tuple[Setting, tuple[Arm, ...]]]] = {
    "stability": {"stability": (with_rate("stability"), GRID)},
    "speed": {"speed": (with_rate("speed"), GRID)},
    "shaping": {"stability": (with_rate("stability"), SHAPING)},
    "tracker": {"speed": (with_rate("speed"), TRACKER)},
    "ceiling": {"ceiling": (with_rate("stability", **HARD), CEILING)},
    "combined": {
        "speed": (with_rate("speed"), COMBINED),
        "50% near misses": (with_rate("speed", **NOISY), COMBINED),
    },
    "controls": {"controls": (SETTING, CONTROLS)},
}


def supervised(setting: Setting, arm: Arm, seed: int, starts: Path | None = None) -> dict[str, Any]:
    """A control: further supervised training from the same start, measured as the other runs are."""
    torch.set_num_threads(1)
    model, processor = load_model(str(start_folder(setting.start_of(seed), starts)))
    rows = load_figures("test", setting.num_eval_rows, seed)
    length = setting.options["max_completion_length"]
    curve = [{"rollouts": 0, "step": 0} | accuracies(model, processor, rows, seed, length)]
    stage = ColdStartStage(arm.options["mixture"], steps=CONTROL_STEPS, learning_rate=6e-4, num_rows=12_000)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train_stage(model.train(), processor, stage, folder, seed=100 + seed, progress=False)
    seconds = round(time.perf_counter() - begin, 1)
    curve.append({"rollouts": 0, "step": CONTROL_STEPS} | accuracies(model.eval(), processor, rows, seed, length))
    return {"curve": curve, "log": {}, "seconds": seconds}


# ---- Tables and plots ----


def second_half(metric: str) -> Callable[[dict[str, Any]], float]:
    """Mean over the second half of the rollouts: one evaluation of an unstable run says little."""
    return lambda run: area(run, SETTING.budget, metric, start=SETTING.budget // 2)


def to_level(runs: dict[int, dict[str, Any]], level: float) -> str:
    """Median of the rollouts to a level over seeds (Kaplan-Meier), and on how many it was reached."""
    found = median_time(
        [rollouts_to(run, level) for run in runs.values()], [run["curve"][-1]["rollouts"] for run in runs.values()]
    )
    text = f"{found.median:,.0f}" if math.isfinite(found.median) else "-"
    return text if found.reached == found.runs else f"{text} ({found.reached} of {found.runs})"


def logged(runs: dict[int, dict[str, Any]], name: str, last: int = 8) -> str:
    """Mean over seeds of what was logged for the last generation batches."""
    values = [np.mean(run["log"][name][-last:]) for run in runs.values() if name in run["log"]]
    return f"{np.mean(values):.3f}" if values else ""


HEAD = (
    "greedy, second half, %", "sampled, second half, %", "greedy, end, %", "rollouts to 60 %", "to 80 %", "to 90 %",
    "entropy, end", "clipped", "seconds", "seeds",
)  # fmt: skip


def rows_of(arms: dict[str, dict[int, dict[str, Any]]], names: Sequence[str]) -> list[str]:
    lines = []
    for name in names:
        if not (runs := arms.get(name)):
            continue
        cells = [percent(map(second_half(metric), runs.values())) for metric in ("greedy", "sampled")]
        cells += [percent(final(run) for run in runs.values()), *(to_level(runs, level) for level in (0.6, 0.8, 0.9))]
        cells += [logged(runs, "entropy"), logged(runs, "clip_ratio/region_mean")]
        cells += [f"{np.mean([run['seconds'] for run in runs.values()]):.0f}", str(len(runs))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def control_rows() -> list[str]:
    """What every table begins with: the start, and what supervised training makes of it in the same time."""
    lines = []
    for name, runs in by_arm(read_study(STUDY), "controls").items():
        ends = {metric: percent(final(run, metric) for run in runs.values()) for metric in ("greedy", "sampled")}
        if not lines:
            start = [percent(run["curve"][0][metric] for run in runs.values()) for metric in ("greedy", "sampled")]
            lines.append(f"| start | {start[0]} | {start[1]} | {start[0]} |" + " |" * 6 + f" {len(runs)} |")
        seconds = f"{np.mean([run['seconds'] for run in runs.values()]):.0f}"
        cells = f"{ends['greedy']} | {ends['sampled']} | {ends['greedy']} |" + " |" * 5
        lines.append(f"| {name} | {cells} {seconds} | {len(runs)} |")
    return lines


def comparison(arms: dict[str, dict[int, dict[str, Any]]], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Differences that were fixed before the runs, seed by seed."""
    lines = ["| | greedy, second half, points | sampled, second half, points | rollouts to 80 %, ratio |"]
    lines.append("| --- | --- | --- | --- |")
    for one, other in pairs:
        if arms.get(one, {}).keys() & arms.get(other, {}).keys():
            cells = [paired(arms, one, other, second_half(metric)) for metric in ("greedy", "sampled")]
            cells.append(ratio_of_rollouts(arms, one, other, 0.8))
            lines.append(f"| {one} against {other} | {' | '.join(cells)} |")
    return lines


def overview(runs: list[dict[str, Any]], metric: str) -> list[str]:
    """Methods by updates of both learning rates, and the differences between methods, also averaged over all cells."""
    grids = [by_arm(runs, regime) for regime in LEARNING_RATES]
    cells = [(grid, updates) for grid in grids for updates in UPDATES]
    head = [f"{LEARNING_RATES[regime]:g}: {updates}" for regime in LEARNING_RATES for updates in UPDATES]
    lines = ["", f"| {metric}, second half, % | " + " | ".join(head) + " | |", "|---" * (len(head) + 2) + "|"]
    for method in METHODS:
        found = [grid.get(f"{method}, {updates}", {}) for grid, updates in cells]
        means = [
            f"{100 * np.mean([second_half(metric)(r) for r in arm.values()]):.1f}" if arm else "" for arm in found
        ]
        lines.append(f"| {method} | {' | '.join(means)} | |")
    for one, other in (
        ("RLOO", "GRPO"),
        ("MVSR", "GRPO"),
        ("MVSR", "REINFORCE++"),
        ("MSSR", "MVSR"),
        ("MSSR", "GRPO"),
        ("MSSR", "REINFORCE++"),
    ):
        differences = []
        for grid, updates in cells:
            first, second = (grid.get(f"{name}, {updates}", {}) for name in (one, other))
            value = second_half(metric)
            differences.append(
                {seed: value(first[seed]) - value(second[seed]) for seed in first.keys() & second.keys()}
            )
        texts = [percent(cell.values(), signed=True) if cell else "" for cell in differences]
        seeds = set.intersection(*map(set, differences))
        texts.append(
            percent((np.mean([c[s] for c in differences]) for s in sorted(seeds)), signed=True) if seeds else ""
        )
        lines.append(f"| {one} - {other} | {' | '.join(texts)} |")
    return lines


GRID_PAIRS = (
    *((f"{method}, 16", f"{method}, 1") for method in METHODS),
    *((f"MVSR, {updates}", f"GRPO, {updates}") for updates in UPDATES),
    *((f"MSSR, {updates}", f"MVSR, {updates}") for updates in UPDATES),
    *((f"MSSR, {updates}", f"GRPO, {updates}") for updates in UPDATES),
    *((f"MSSR, {updates}", f"REINFORCE++, {updates}") for updates in UPDATES),
    *((f"MVSR, {updates}", f"REINFORCE++, {updates}") for updates in UPDATES),
    ("MVSR, 16", "GRPO, 2"),  # as the released configurations compare them
    ("MSSR, 16", "GRPO, 2"),
)


def pairs_of(command: str) -> Sequence[tuple[str, str]]:
    if command in ("stability", "speed"):
        return GRID_PAIRS
    if command == "ceiling":
        return [(f"{a}, {m}", f"{b}, {m}") for m in (2, 16) for a, b in (("MVSR", "GRPO"), ("MSSR", "MVSR"))]
    (_, arms), *_ = COMMANDS[command].values()
    return [(other.name, arms[0].name) for other in arms[1:]]


def write_tables() -> None:
    lines = [
        "Written by `python benchmarks/studies/mssr.py --tables`. "
        f"{SETTING.budget:,} rollouts, {ROLLOUTS} per batch; the",
        "number behind a method is that of the optimizer updates per batch. Learning rates: "
        + ", ".join(f"{rate:g} ({regime})" for regime, rate in LEARNING_RATES.items()) + ".",
        f"Held-out accuracy on {SETTING.num_eval_rows} prompts every {SETTING.eval_every:,} rollouts; means",
        "over seeds, each with a start of its own, and their 95 % intervals by Student's t.",
    ]  # fmt: skip
    runs = read_study(STUDY)
    lines += ["", "## Updates per batch, by learning rate (last column: mean over all)"]
    lines += overview(runs, "greedy") + overview(runs, "sampled")
    for command, parts in COMMANDS.items():
        for part, (_, arms) in parts.items() if command != "controls" else ():
            found = by_arm(runs, part)
            if not any(arm.name in found for arm in arms):
                continue
            lines += ["", f"## {command}" + (f", {part}" if len(parts) > 1 else ""), ""]
            lines += ["| | " + " | ".join(HEAD) + " |", "|---" * (1 + len(HEAD)) + "|"]
            lines += control_rows() + rows_of(found, [arm.name for arm in arms])
            lines += ["", *comparison(found, pairs_of(command))]
    path = RESULTS / f"{STUDY}.md"
    path.write_text("\n".join(lines) + "\n")
    print(path.read_text())
    plot(runs)


def plot(runs: list[dict[str, Any]]) -> None:
    """Above: accuracy against updates per batch. Below: curves at 2 and 16 updates of the larger learning rate."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for axis, regime in zip(axes[0], LEARNING_RATES):
        arms = by_arm(runs, regime)
        for index, method in enumerate(METHODS):
            points = [u for u in UPDATES if arms.get(f"{method}, {u}")]
            values = [mean_interval(map(second_half("greedy"), arms[f"{method}, {u}"].values())) for u in points]
            if values:
                means, lows, highs = map(np.array, zip(*values))
                places = np.array(points) * 1.04 ** (index - 2)
                errors = [means - lows, highs - means]
                axis.errorbar(places, means, errors, marker="o", capsize=2, label=method, color=f"C{index}")
        axis.set_xscale("log", base=2)
        axis.set_xticks(UPDATES, [str(u) for u in UPDATES])
        axis.set(title=f"{regime}: learning rate {LEARNING_RATES[regime]:g}", xlabel="updates per batch")
        axis.set_ylim(0.4, 1)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("held-out greedy accuracy, second half")
    axes[0][0].legend(fontsize=8, loc="lower left")
    for axis, updates in zip(axes[1], (2, 16)):
        arms = by_arm(runs, "stability")
        chosen = {m: arms[f"{m}, {updates}"] for m in METHODS if f"{m}, {updates}" in arms}
        if chosen:
            draw(axis, chosen, SETTING.budget)
        axis.set(
            title=f"{updates} updates per batch, learning rate {LEARNING_RATES['stability']:g}", xlabel="rollouts"
        )
    axes[1][0].set_ylabel("held-out greedy accuracy (all seeds)")
    figure.savefig(RESULTS / f"{STUDY}.png", dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="command", help=f"{', '.join(COMMANDS)}; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--arms", nargs="+", help="only these, by the names in the tables")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tables", action="store_true", help="train nothing")
    parser.add_argument("--starts", type=Path, help="folder of packed starts (starts.py); by default made here")
    a = parser.parse_args()
    if unknown := sorted(set(a.commands) - COMMANDS.keys()):
        parser.error(f"no such command: {', '.join(unknown)}; choose from {', '.join(COMMANDS)}")
    for command in () if a.tables else a.commands or COMMANDS:
        jobs = [
            (part, setting, arm, seed)
            for seed in a.seeds
            for part, (setting, arms) in COMMANDS[command].items()
            for arm in arms
            if not a.arms or arm.name in a.arms
        ]
        run_study(STUDY, jobs, a.workers, supervised if command == "controls" else train_and_measure, a.starts)
    write_tables()


if __name__ == "__main__":
    main()
