# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the learning studies share: train with the public trainers, measure on held-out pictures, keep the curves.

A run is one arm of a study with one seed. Finished runs are lines of a `.jsonl` file under `benchmarks/results`, and
are not run again; tables and plots are made from these lines alone.
"""

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from studies.inference import estimate
from tqdm.auto import tqdm
from transformers import PrinterCallback, TrainerCallback

import mmr1_trl
from mmr1_trl.cli.commands.eval import load_model
from mmr1_trl.data.figures import load_figures
from mmr1_trl.data.noise import apply_label_noise
from mmr1_trl.evaluation.runner import evaluate_model
from mmr1_trl.models.cold_start import ColdStartConfig, cold_start_path
from mmr1_trl.rewards import accuracy_reward
from mmr1_trl.trainers.scoring import rollouts_made


RESULTS = Path(__file__).parent / "results"
# Logged by the trainers and kept with each run, where they exist.
LOGGED = (
    "reward", "entropy", "grad_norm", "frac_reward_zero_std", "kl", "clip_ratio/region_mean",
    "completions/mean_length", "vas/frac_zero_variance_weighted", "vas/frac_zero_variance_uniform",
    "vas/effective_sample_size", "vas/coverage", "entropy/coef", "entropy/response_mean", "mssr/rho",
    "mssr/value_mean", "study/dropped_share",
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """
    One way of training in a study.

    Args:
        name (`str`):
            What tables call it.
        options (`dict`):
            Options of the config class, over those of the study.
        trainer (`type` or `str`, *optional*, defaults to `"RLVRTrainer"`):
            The trainer class, or its name in `mmr1_trl`.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    trainer: Any = "RLVRTrainer"


@dataclass(frozen=True)
class Setting:
    """
    What all arms of a study have in common.

    Args:
        model (`str`):
            Where training starts: a built-in name, a folder or a Hub id.
        options (`dict`):
            Options of the config class. A schedule over the steps needs the `max_steps` that the budget comes to.
        budget (`int`):
            Rollouts after which training stops, those spent on scoring included.
        eval_every (`int`):
            Rollouts between two evaluations.
        num_train_rows (`int`, *optional*, defaults to `512`):
            Training prompts, drawn with the run's seed.
        num_eval_rows (`int`, *optional*, defaults to `500`):
            Held-out prompts, drawn with the run's seed.
        train_families, eval_families (`tuple[str, ...]`, *optional*):
            Families of pictures. Default to those of [`~mmr1_trl.data.figures.load_figures`].
        levels (`tuple[int, ...]`, *optional*):
            Levels of the training and the held-out prompts. Defaults to all.
        label_noise (`float`, *optional*, defaults to `0.0`):
            Share of training rows with a wrong label.
        label_noise_kind (`str`, *optional*, defaults to `"random"`):
            `"random"` or `"near_miss"`.
        vary_cold_start (`bool`, *optional*, defaults to `False`):
            Whether each seed starts from a `figures/cold_start` of its own, made with that seed.
    """

    model: str
    options: dict[str, Any]
    budget: int
    eval_every: int
    num_train_rows: int = 512
    num_eval_rows: int = 500
    train_families: tuple[str, ...] | None = None
    eval_families: tuple[str, ...] | None = None
    levels: tuple[int, ...] | None = None
    label_noise: float = 0.0
    label_noise_kind: str = "random"
    vary_cold_start: bool = False

    def start(self, seed: int) -> tuple[Any, Any]:
        """Model and processor that the run with this seed starts from."""
        return load_model(str(cold_start_path(ColdStartConfig(seed=seed))) if self.vary_cold_start else self.model)


class _Measure(TrainerCallback):
    """Evaluates every so many rollouts, and stops the training when the budget is spent."""

    def __init__(self, setting: Setting, seed: int) -> None:
        self.setting, self.seed = setting, seed
        self.rows = load_figures("test", setting.num_eval_rows, seed, setting.eval_families, setting.levels)
        self.trainer: Any = None
        self.curve: list[dict[str, Any]] = []
        self.seconds = 0.0  # of all evaluations

    def measure(self, rollouts: int) -> None:
        begin = time.perf_counter()
        trainer = self.trainer
        point = {"rollouts": rollouts, "step": trainer.state.global_step}
        model = trainer.accelerator.unwrap_model(trainer.model)
        length = trainer.args.max_completion_length
        self.curve.append(point | accuracies(model, trainer.processing_class, self.rows, self.seed, length))
        self.seconds += time.perf_counter() - begin

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.measure(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Only when the rollouts at hand are used up: the next step would sample new ones.
        if state.global_step % args.steps_per_generation:
            return
        rollouts = rollouts_made(self.trainer)
        finished = rollouts >= self.setting.budget
        if finished or rollouts // self.setting.eval_every > self.curve[-1]["rollouts"] // self.setting.eval_every:
            self.measure(rollouts)
        control.should_training_stop = control.should_training_stop or finished


def accuracies(model: Any, processor: Any, rows: Any, seed: int, max_new_tokens: int) -> dict[str, Any]:
    """Greedy accuracy, accuracy of one sample per prompt, and greedy accuracy by family."""
    result = evaluate_model(
        model, processor, rows, num_samples=1, max_new_tokens=max_new_tokens, batch_size=250, seed=seed,
        prompt_style="figures", progress=False,
    )  # fmt: skip
    return {
        "greedy": round(result.greedy_accuracy, 4),
        "sampled": round(result.sampled_accuracy or 0.0, 4),
        "family": {name: round(values["greedy_accuracy"], 4) for name, values in result.by["family"].items()},
    }


def train_and_measure(setting: Setting, arm: Arm, seed: int) -> dict[str, Any]:
    """
    One run: train an arm until its budget of rollouts is spent.

    Returns:
        `dict`: `curve` (a list of evaluations with `rollouts`, `step`, `greedy`, `sampled`, `family`), `log` (what the
        trainer logged, by name, beside `step`) and `seconds` (of training on the clock, evaluations left out).
    """
    torch.set_num_threads(1)
    trainer_class = getattr(mmr1_trl, arm.trainer) if isinstance(arm.trainer, str) else arm.trainer
    model, processor = setting.start(seed)
    model.train()
    measure = _Measure(setting, seed)
    rows = load_figures("train", setting.num_train_rows, seed, setting.train_families, setting.levels)
    if setting.label_noise:
        rows = apply_label_noise(rows, setting.label_noise, seed, setting.label_noise_kind)
    with tempfile.TemporaryDirectory() as folder:
        args = trainer_class._config_class(
            output_dir=folder, seed=seed, report_to="none", save_strategy="no", disable_tqdm=True,
            lr_scheduler_type="constant", bf16=False, use_cpu=not torch.cuda.is_available(),
            gradient_checkpointing=False,
            **{"max_steps": 1_000_000, "logging_steps": 1} | setting.options | arm.options,
        )  # fmt: skip
        trainer = trainer_class(
            model=model, reward_funcs=accuracy_reward, args=args, train_dataset=rows, processing_class=processor,
            callbacks=[measure],
        )  # fmt: skip
        measure.trainer = trainer
        trainer.remove_callback(PrinterCallback)
        begin = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begin - measure.seconds
    log: dict[str, list[Any]] = {"step": []}
    for entry in trainer.state.log_history:
        if "reward" in entry:
            log["step"].append(entry["step"])
            for name in LOGGED:
                if name in entry:
                    log.setdefault(name, []).append(round(float(entry[name]), 5))
    return {"curve": measure.curve, "log": log, "seconds": round(seconds, 1)}


def run_study(
    name: str,
    jobs: Sequence[tuple[str, Setting, Arm, int]],
    workers: int,
    run: Callable[[Setting, Arm, int], dict[str, Any]] = train_and_measure,
) -> list[dict[str, Any]]:
    """
    Run what is not in `results/<name>.jsonl` yet.

    Args:
        name (`str`):
            Name of the study.
        jobs (`list[tuple]`):
            Part of the study, setting, arm and seed of each run.
        workers (`int`):
            Processes, one thread each.

    Returns:
        `list[dict]`: All runs of the study: `part`, `arm`, `seed`, `curve` and `log`.
    """
    path = RESULTS / f"{name}.jsonl"
    done = {(line["part"], line["arm"], line["seed"]) for line in read_study(name)}
    todo = [job for job in jobs if (job[0], job[2].name, job[3]) not in done]
    if todo:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            seeds = {seed for _, setting, _, seed in todo if setting.vary_cold_start}
            list(pool.map(cold_start_path, [ColdStartConfig(seed=seed) for seed in sorted(seeds)]))  # each once
            futures = {pool.submit(run, *job[1:]): job for job in todo}
            for future in tqdm(as_completed(futures), total=len(todo), desc=name):
                part, _, arm, seed = futures[future]
                if future.exception() is not None:  # the other runs are worth keeping
                    tqdm.write(f"{part} {arm.name} seed {seed} failed: {future.exception()!r}")
                    continue
                line = {"part": part, "arm": arm.name, "seed": seed, **future.result()}
                with path.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    return read_study(name)


def read_study(name: str) -> list[dict[str, Any]]:
    """All finished runs of a study."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


# ---- From curves to numbers ----


def area(run: dict[str, Any], budget: int, metric: str = "greedy", start: int = 0, x: str = "rollouts") -> float:
    """Mean of a metric over the rollouts (or steps) from `start` to `budget`: the area under its curve."""
    grid = np.linspace(start, budget, 501)
    return float(np.interp(grid, [p[x] for p in run["curve"]], [p[metric] for p in run["curve"]]).mean())


def final(run: dict[str, Any], metric: str = "greedy") -> float:
    """The metric at the last evaluation."""
    return float(run["curve"][-1][metric])


def rollouts_to(run: dict[str, Any], level: float, metric: str = "greedy") -> float:
    """Rollouts until the metric first reaches `level`, linear between evaluations; `inf` if it never does."""
    previous = run["curve"][0]
    if previous[metric] >= level:
        return 0.0
    for point in run["curve"][1:]:
        if point[metric] >= level:
            share = (level - previous[metric]) / (point[metric] - previous[metric])
            return float(previous["rollouts"] + share * (point["rollouts"] - previous["rollouts"]))
        previous = point
    return float("inf")


def mean_interval(values: Iterable[float]) -> tuple[float, float, float]:
    """Mean over seeds and its 95 % interval by Student's t; of a single seed there is none, and both ends are NaN."""
    found = estimate(values)
    return (found.mean, found.low, found.high) if found.units > 1 else (found.mean, math.nan, math.nan)


def percent(values: Iterable[float], signed: bool = False) -> str:
    """Mean and interval in percent, as tables show it."""
    mean, low, high = (100 * value for value in mean_interval(values))
    sign = "+" if signed else ""
    interval = "" if math.isnan(low) else f" ({low:{sign}.1f} to {high:{sign}.1f})"
    return f"{mean:{sign}.1f}{interval}"


def by_arm(runs: Iterable[dict[str, Any]], part: str) -> dict[str, dict[int, dict[str, Any]]]:
    """Runs of one part of a study, by arm and seed."""
    arms: dict[str, dict[int, dict[str, Any]]] = {}
    for run in runs:
        if run["part"] == part:
            arms.setdefault(run["arm"], {})[run["seed"]] = run
    return arms


def paired(arms: dict[str, dict[int, dict[str, Any]]], arm: str, against: str, value: Callable[..., float]) -> str:
    """Difference between two arms on the same seeds, with its interval, in percentage points."""
    seeds = sorted(arms[arm].keys() & arms[against].keys())
    return percent((value(arms[arm][seed]) - value(arms[against][seed]) for seed in seeds), signed=True)


def ratio_of_rollouts(arms: dict[str, dict[int, dict[str, Any]]], arm: str, against: str, level: float | None) -> str:
    """
    Rollouts that `arm` needs over those that `against` needs on the same seed, until greedy accuracy reaches `level`;
    `None` stands for the final accuracy of `against`. The geometric mean over seeds and its interval, or on how many
    seeds each of the two reached the level.
    """
    seeds = sorted(arms[arm].keys() & arms[against].keys())
    goals = [final(arms[against][seed]) if level is None else level for seed in seeds]
    ours, theirs = (np.array([rollouts_to(arms[a][s], g) for s, g in zip(seeds, goals)]) for a in (arm, against))
    if not np.isfinite(theirs).all():
        return f"reached on {np.isfinite(ours).sum()} against {np.isfinite(theirs).sum()} of {len(seeds)} seeds"
    if not np.isfinite(ours).all():
        return f"reached on {np.isfinite(ours).sum()} of {len(seeds)} seeds"
    mean, low, high = (np.exp(value) for value in mean_interval(np.log(ours / theirs)))
    return f"{mean:.2f}" if math.isnan(low) else f"{mean:.2f} ({low:.2f} to {high:.2f})"


def draw(
    axis: Any, arms: dict[str, dict[int, dict[str, Any]]], budget: int, metric: str = "greedy", x: str = "rollouts"
) -> None:
    """Draw the mean curve of each arm over its seeds, with a band from the smallest to the largest."""
    for name, runs in arms.items():
        end = min(budget, min(run["curve"][-1][x] for run in runs.values()))
        grid = np.linspace(0, end, 200)
        curves = [
            np.interp(grid, [p[x] for p in run["curve"]], [p[metric] for p in run["curve"]]) for run in runs.values()
        ]
        (line,) = axis.plot(grid, np.mean(curves, axis=0), label=name)
        axis.fill_between(grid, np.min(curves, axis=0), np.max(curves, axis=0), color=line.get_color(), alpha=0.12)
    axis.set_ylim(0, 1)
    axis.grid(alpha=0.3)
