# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the raw lines say: verdicts, tables and pictures of the decisive studies, and the blocks of docs/reproduction.

    python benchmarks/studies/pages.py

Trains nothing. Writes `results/decisive.{md,json,png}` and `results/decisive_curves.png`, and what stands in
`docs/reproduction/*.md` between `<!-- NAME -->` and `<!-- end -->`.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import write_results

from studies import claims
from studies.decisive import BASELINES, STABILIZERS, STUDIES, STUDY
from studies.flops import flops_curve
from studies.inference import Estimate, estimate, holm, mean_by_start, t_interval, tost, verdict
from studies.lines import RESULTS, area, by_arm, final, late, percent, read_study


matplotlib.use("Agg")
import matplotlib.pyplot as plt


PAGES = Path(__file__).parents[2] / "docs" / "reproduction"
MARGIN = 3.0  # points, as the plan says
Run = dict[str, Any]
SEED = dict[str, Run]  # the runs of one seed, by arm


def upto(runs: SEED, arm: str, other: str, end: float, x: str = "rollouts") -> float:
    return area(runs[arm], end, "sampled", x=x) - area(runs[other], end, "sampled", x=x)


def gap(runs: SEED, arm: str, other: str, value: Callable[[Run], float] = late) -> float:
    return value(runs[arm]) - value(runs[other])


def equal_flops(runs: SEED, arm: str, other: str) -> float:
    """At the FLOPs that the cheaper of the two has spent at its end, each prompt once."""
    curves = {name: flops_curve(runs[name], STUDIES["b"], once=True) for name in (arm, other)}
    end = min(curve[-1][0] for curve in curves.values())
    grid = np.linspace(0, end, 501)
    one, two = (np.interp(grid, *zip(*curves[name])).mean() for name in (arm, other))
    return float(one - two)


def over_baselines(runs: SEED, one: str, other: str) -> float:
    return float(np.mean([gap(runs, f"{b}, {one}", f"{b}, {other}") for b in BASELINES]))


def tracker(runs: SEED) -> float:
    return float(np.mean([gap(runs, f"tracked, {s}", f"batch mean, {s}") for s in STABILIZERS]))


@dataclass(frozen=True)
class Contrast:
    """
    One contrast of the plan.

    Args:
        study (`str`), text (`str`):
            Which, and the difference that is estimated.
        value (`Callable`):
            From the runs of a seed, by arm, to the difference; `KeyError` where an arm is missing.
        equal (`bool`, *optional*, defaults to `False`):
            Whether the claim is that there is no difference.
    """

    study: str
    text: str
    value: Callable[[SEED], float]
    equal: bool = False


GROUP = "GRPO 8, group std"
at_end = partial(final, metric="sampled")
CONTRASTS = (
    Contrast("a", "negatives halved - none", partial(over_baselines, one="negatives halved", other="none")),
    Contrast(
        "a", "entropy shaping - negatives halved",
        partial(over_baselines, one="entropy shaping", other="negatives halved"), equal=True,
    ),
    Contrast(
        "a", "entropy shaping - constant bonus",
        partial(over_baselines, one="entropy shaping", other="constant bonus"), equal=True,
    ),
    Contrast("a", "tracked value - batch mean", tracker, equal=True),
    Contrast("b", "MSSR - GRPO 8", partial(gap, arm="MSSR", other=GROUP)),
    Contrast("b", "MSSR - REINFORCE++", partial(gap, arm="MSSR", other="REINFORCE++")),
    Contrast("b", "GRPO 8: batch - group std", partial(gap, arm="GRPO 8, batch std", other=GROUP)),
    Contrast("b", "GRPO 2 - GRPO 8", partial(gap, arm="GRPO 2, group std", other=GROUP)),
    Contrast("b", "MSSR - GRPO 8, equal FLOPs", partial(equal_flops, arm="MSSR", other=GROUP)),
    Contrast("c", "two-stage - GRPO", partial(gap, arm="two-stage", other="GRPO", value=at_end)),
    Contrast("c", "two-stage - reversed", partial(gap, arm="two-stage", other="reversed", value=at_end)),
    Contrast("d", "online - uniform, equal rollouts", partial(upto, arm="online", other="uniform", end=10_240)),
    Contrast("d", "online - MoPPS, equal rollouts", partial(upto, arm="online", other="MoPPS", end=10_240)),
    Contrast("d", "dynamic sampling - uniform, equal updates", partial(gap, arm="dynamic sampling", other="uniform")),
    Contrast(
        "d", "dynamic sampling - online, equal rollouts",
        partial(upto, arm="dynamic sampling", other="online", end=10_240),
    ),
    Contrast("e", "negatives halved - none", partial(gap, arm="tracked, negatives halved", other="tracked, none")),
    Contrast("e", "MSSR - GRPO 8", partial(gap, arm="MSSR", other="GRPO")),
    Contrast("f", "whole groups - scattered rows", partial(gap, arm="GRPO 8, whole groups", other=GROUP), equal=True),
)  # fmt: skip


def seeds_of(lines: list[Run], study: str) -> dict[int, SEED]:
    """The runs of a study, by seed and arm."""
    found: dict[int, SEED] = {}
    for arm, runs in by_arm(lines, study).items():
        for seed, run in runs.items():
            found.setdefault(seed, {})[arm] = run
    return found


def read_verdict(value: Estimate, p: float, contrasts: int, equal: bool) -> str:
    """The verdict on a contrast; where the claim is that nothing differs, in its words."""
    told = verdict(value, MARGIN, p, contrasts)
    if told in ("holds", "does not hold") and equal:
        inside = value.units > 1 and tost(value, MARGIN) < 0.05
        return "they differ, by less than the margin" if inside else "they differ"
    return told


def judge(lines: list[Run]) -> list[dict[str, Any]]:
    """Estimate and verdict of every contrast, with Holm's correction within each study."""
    rows: list[dict[str, Any]] = []
    for study, plan in STUDIES.items():
        mine = [contrast for contrast in CONTRASTS if contrast.study == study]
        seeds = seeds_of(lines, study)
        for seed, runs in seeds_of(lines, plan.beside).items() if plan.beside else ():
            seeds[seed] = runs | seeds.get(seed, {})
        units = {}
        for contrast in mine:
            values = {}
            for seed, runs in sorted(seeds.items()):
                try:
                    values[seed] = 100 * contrast.value(runs)
                except KeyError:  # an arm is missing yet
                    continue
            units[contrast.text] = mean_by_start(values, {seed: plan.setting.start_of(seed) for seed in values})
        found = {text: estimate(values) for text, values in units.items() if values}
        adjusted = holm({text: 1.0 if math.isnan(value.p) else value.p for text, value in found.items()})
        planned = len({plan.setting.start_of(seed) for seed in plan.seeds})
        for contrast in mine:
            row = {"study": study, "text": contrast.text, "equal": contrast.equal, "planned": planned, "values": []}
            if value := found.get(contrast.text):
                told = read_verdict(value, adjusted[contrast.text], len(mine), contrast.equal)
                numbers = asdict(value).items()  # JSON has neither infinity nor NaN
                row |= {key: number if math.isfinite(number) else None for key, number in numbers}
                row |= {"values": units[contrast.text], "p_holm": adjusted[contrast.text]}
                row["verdict"] = told
            else:
                row["verdict"] = "cannot be told (no seed has all arms yet)"
            rows.append(row)
    return rows


def contrast_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line per contrast; where they are of several studies, with the study's letter."""
    several = len({row["study"] for row in rows}) > 1
    lines = [
        "| contrast, points of sampled accuracy | mean (95 % interval) | starts, of the planned | p, Holm | verdict |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        number = f"{row['mean']:+.1f}" if row["values"] else ""
        if len(row["values"]) > 1:
            number += f" ({row['low']:+.1f} to {row['high']:+.1f})"
        name = f"{row['study']}: {row['text']}" if several else row["text"]
        p = ""
        if len(row["values"]) > 1:
            p = "< 0.001" if row["p_holm"] < 0.0005 else f"{row['p_holm']:.3f}"
        lines.append(f"| {name} | {number} | {len(row['values'])} of {row['planned']} | {p} | {row['verdict']} |")
    return lines


def arms_of(lines: list[Run], study: str) -> dict[str, dict[int, Run]]:
    """Runs by arm and seed in the plan's order, and those of the study beside it on the same seeds."""
    arms, plan = by_arm(lines, study), STUDIES[study]
    found = {arm.name: arms[arm.name] for arm in plan.arms if arm.name in arms}
    if plan.beside and found:
        seeds = {seed for runs in found.values() for seed in runs}
        found[GROUP] = {seed: run for seed, run in by_arm(lines, plan.beside)[GROUP].items() if seed in seeds}
    return found


def arm_table(lines: list[Run], study: str) -> list[str]:
    """Means over starts of what each arm reached."""
    plan = STUDIES[study]
    last = study == "c"
    table = [
        f"| arm | sampled, {'end' if last else 'late'}, % | greedy, {'end' if last else 'late'}, % | entropy, end "
        "| rollouts made | core-seconds | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, runs in arms_of(lines, study).items():
        starts = {seed: plan.setting.start_of(seed) for seed in runs}
        cells = []
        for metric in ("sampled", "greedy"):
            value = partial(final if last else late, metric=metric)
            cells.append(percent(mean_by_start({seed: value(run) for seed, run in runs.items()}, starts)))
        cells.append(f"{np.mean([np.mean(run['log']['entropy'][-8:]) for run in runs.values()]):.3f}")
        cells.append(f"{np.mean([run['curve'][-1]['rollouts'] for run in runs.values()]):,.0f}")
        cells.append(f"{np.mean([run['core_seconds'] for run in runs.values()]):.0f}")
        table.append(f"| {name} | {' | '.join(cells)} | {len(runs)} |")
    return table


# ---- Pictures ----


def forest(rows: list[dict[str, Any]], path: Path) -> None:
    """Every contrast with its interval, its starts as dots, and the margin as a band."""
    shown = [row for row in rows if row["values"]][::-1]
    figure, axis = plt.subplots(figsize=(9, 1.4 + 0.34 * len(shown)), layout="constrained")
    axis.axvspan(-MARGIN, MARGIN, color="0.93", zorder=0)
    axis.axvline(0, color="gray", linewidth=1)
    for place, row in enumerate(shown):
        axis.plot(row["values"], [place] * len(row["values"]), ".", color="tab:blue", alpha=0.45)
        if len(row["values"]) > 1:
            axis.plot([row["low"], row["high"]], [place] * 2, color="black", linewidth=1.3)
        axis.plot(row["mean"], place, "o", color="black", markersize=5)
    axis.set_yticks(range(len(shown)), [f"{row['study']}: {row['text']}" for row in shown], fontsize=8)
    reach = max([12.0, *(abs(v) for row in shown for v in row["values"])]) * 1.1
    axis.set_xlim(-reach, reach)
    axis.set_xlabel("points of sampled accuracy; gray: smaller than the margin; dots: starts", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def band(axis: Any, curves: list[list[tuple[float, float]]], label: str, color: str, alpha: float) -> None:
    """Mean over starts and its t interval, as far as all curves reach."""
    grid = np.linspace(0, min(curve[-1][0] for curve in curves), 120)
    values = np.array([np.interp(grid, *zip(*curve)) for curve in curves])
    mean, low, high = t_interval(values.T)
    axis.plot(grid, 100 * mean, label=f"{label} ({len(curves)})", color=color, linewidth=1.4)
    if len(curves) > 2:
        axis.fill_between(grid, 100 * low, 100 * high, color=color, alpha=alpha, linewidth=0)


def curves(lines: list[Run], path: Path) -> None:
    """Sampled accuracy over rollouts, updates and FLOPs, with t bands over starts where there are three or more."""
    panels = [(study, x) for study in STUDIES for x in ("rollouts", "step") if by_arm(lines, study)]
    if by_arm(lines, "b"):
        panels += [("b", "flops"), ("b", "flops once")]
    names = {"rollouts": "rollouts", "step": "updates", "flops": "FLOPs", "flops once": "FLOPs, each prompt once"}
    columns = 2
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(13, 3.8 * rows), layout="constrained", squeeze=False)
    for place, (axis, (study, x)) in enumerate(zip(axes.flat, panels)):
        arms = arms_of(lines, study)
        for index, (name, runs) in enumerate(arms.items()):
            if x.startswith("flops"):
                drawn = [flops_curve(run, STUDIES[study], once=x == "flops once") for run in runs.values()]
            else:
                drawn = [[(p[x], p["sampled"]) for p in run["curve"]] for run in runs.values()]
            band(axis, drawn, name, f"C{index}", alpha=0.12 if len(arms) < 6 else 0.05)
        axis.set(title=f"study {study}", xlabel=names[x], ylabel="held-out sampled accuracy, %")
        axis.grid(alpha=0.3)
        if place % columns:  # one legend for the row, where it hides no curve
            axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    figure.savefig(path, dpi=100)
    plt.close(figure)


# ---- Pages ----


def fill(text: str, blocks: dict[str, list[str]]) -> str:
    """Put blocks between their marks."""

    def block(match: re.Match[str]) -> str:
        return "\n".join([f"<!-- {match[1]} -->", *blocks[match[1]], "<!-- end -->"])

    return re.sub(r"<!-- ([\w -]+) -->\n(?:.*?\n)??<!-- end -->", block, text, flags=re.DOTALL)


def progress(lines: list[Run]) -> list[str]:
    """How far each study is, and what the rest costs."""
    table = ["| study | runs, of those planned | core-seconds a run | core-hours to go | command |", "|---" * 5 + "|"]
    for name, study in STUDIES.items():
        runs = [run for run in lines if run["part"] == name]
        planned = len(study.arms) * len(study.seeds)
        each = float(np.mean([run["core_seconds"] for run in runs])) if runs else math.nan
        rest = f"{(planned - len(runs)) * each / 3600:.1f}" if runs else ""
        seconds = f"{each:.0f}" if runs else ""
        command = f"`python benchmarks/studies/decisive.py --studies {name}`"
        table.append(f"| {name} | {len(runs)} of {planned} | {seconds} | {rest} | {command} |")
    return table


def main() -> None:
    lines = read_study(STUDY)
    rows = judge(lines)
    blocks: dict[str, list[str]] = {"progress": progress(lines)}
    text = ["# The decisive studies", "", "Written by `python benchmarks/studies/pages.py`.", "", *blocks["progress"]]
    for study in STUDIES:
        mine = [row for row in rows if row["study"] == study]
        blocks[f"decisive {study}"] = [*contrast_table(mine)]
        if by_arm(lines, study):
            blocks[f"decisive {study}"] += ["", *arm_table(lines, study)]
        text += ["", f"## {study}", "", *blocks[f"decisive {study}"]]
    told = json.loads((RESULTS / "claims.json").read_text())
    for paper in ("MSSR", "MMR1", "two-stage"):
        blocks[f"claims {paper}"] = claims.table([row for row in told if row["paper"] == paper])
    blocks["verdicts"] = contrast_table(rows)
    names = {"every contrast with its interval": "decisive", "accuracy over rollouts and updates": "decisive_curves"}
    shown = [f"![{text}](../../benchmarks/results/{name}.png)" for text, name in names.items()]
    blocks["pictures"] = ["\n\n".join(shown)] if lines else []
    write_results("decisive", "\n".join(text), rows)
    if lines:
        forest(rows, RESULTS / "decisive.png")
        curves(lines, RESULTS / "decisive_curves.png")
    for path in sorted(PAGES.glob("*.md")):
        path.write_text(fill(path.read_text(), blocks))


if __name__ == "__main__":
    main()
