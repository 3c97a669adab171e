# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The raw lines of the studies: every finished run is a line of `benchmarks/results/NAME.jsonl`, and is not run again.

Tables, pictures and verdicts are made from these lines alone.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from studies.inference import estimate
from studies.setup import Arm, Setting, train_and_measure
from studies.starts import check_starts, start_folder


RESULTS = Path(__file__).parents[1] / "results"


def run_study(
    name: str,
    jobs: Sequence[tuple[str, Setting, Arm, int]],
    workers: int,
    run: Callable[..., dict[str, Any]] = train_and_measure,
    starts: Path | None = None,
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
        run (`Callable`, *optional*):
            Makes one run of setting, arm, seed and `starts`.
        starts (`Path`, *optional*):
            Folder of packed starts; without it they are made here.

    Returns:
        `list[dict]`: All runs of the study: `part`, `arm`, `seed` and what `run` returns.
    """
    path = RESULTS / f"{name}.jsonl"
    done = {(line["part"], line["arm"], line["seed"]) for line in read_study(name)}
    todo = [job for job in jobs if (job[0], job[2].name, job[3]) not in done]
    if todo:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            names = sorted({setting.start_of(seed) for _, setting, _, seed in todo})
            if starts is None:
                list(pool.map(start_folder, names))  # each once
            check_starts(names, starts)
            futures = {pool.submit(run, *job[1:], starts=starts): job for job in todo}
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


def late(run: dict[str, Any], metric: str = "sampled") -> float:
    """Mean of a metric over the evaluations from 75 % of the budget on, which have more prompts than the others."""
    return float(np.mean([point[metric] for point in run["curve"] if point["late"]]))


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
