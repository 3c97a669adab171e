# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What the finished runs say about the papers' claims: every interval and verdict of `docs/reproduction.md`'s summary.

    python benchmarks/studies/claims.py

Reads the raw lines in `benchmarks/results/*.jsonl`, trains nothing, and writes `benchmarks/results/claims.md`,
`.json` and `.png`. A verdict is a function of the numbers (`inference.verdict`); it is given for each claim by itself,
and with Holm's correction for all claims about the same paper.
"""

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np


sys.path.insert(0, str(Path(__file__).parents[1]))

from common import write_results

from studies.inference import estimate, exact_bootstrap, holm, median_time, verdict
from studies.lines import RESULTS, area, by_arm, final, read_study, rollouts_to
from studies.mssr import LEARNING_RATES, UPDATES, second_half
from studies.vas import ABLATION_BUDGET, BASE, SETTING


matplotlib.use("Agg")
import matplotlib.pyplot as plt


# The smallest differences that would matter. They were named after these runs, for the runs to come.
POINTS = 3.0  # of accuracy
RATIO = math.log(1.1)  # of rollouts
Runs = dict[int, dict[str, Any]]  # of one arm, by seed


@dataclass
class Claim:
    """
    One claim and what every unit says of it.

    Args:
        paper (`str`):
            Whose claim it is.
        text (`str`):
            What is claimed to be greater than zero.
        values (`list[float]`):
            One for each unit, in points of accuracy, or the logarithm of a ratio.
        units (`str`):
            `"starts"`, each with one seed, or `"seeds"` of a single start.
        ratio (`bool`, *optional*, defaults to `False`):
            Whether the values are logarithms of ratios.
    """

    paper: str
    text: str
    values: list[float]
    units: str
    ratio: bool = False


def gaps(first: Runs, second: Runs, value: Callable[[dict[str, Any]], float]) -> list[float]:
    """Differences on the same seeds, in points."""
    return [100 * (value(first[seed]) - value(second[seed])) for seed in sorted(first.keys() & second.keys())]


def means(parts: Iterable[list[float]]) -> list[float]:
    """Mean over parts, unit by unit."""
    return [float(value) for value in np.mean(list(parts), axis=0)]


def savings(first: Runs, second: Runs, level: float = 0.8) -> list[float]:
    """How many times as many rollouts `second` needs to an accuracy as `first`, as logarithms."""
    return [
        math.log(rollouts_to(second[seed], level) / rollouts_to(first[seed], level))
        for seed in sorted(first.keys() & second.keys())
    ]


def mssr_claims(runs: list[dict[str, Any]]) -> list[Claim]:
    """Each seed has a start of its own."""
    found: list[Claim] = []
    grids = {regime: by_arm(runs, regime) for regime in LEARNING_RATES}
    cells = [(grid, updates) for grid in grids.values() for updates in UPDATES]
    broken, mild = grids["stability"], grids["speed"]

    def add(text: str, values: list[float], ratio: bool = False) -> None:
        found.append(Claim("MSSR", text, values, "starts", ratio))

    for one, other in (("MSSR", "GRPO"), ("MSSR", "REINFORCE++"), ("MSSR", "MVSR"), ("MVSR", "REINFORCE++")):
        for metric in ("greedy", "sampled"):
            parts = [gaps(g[f"{one}, {u}"], g[f"{other}, {u}"], second_half(metric)) for g, u in cells]
            add(f"{one} - {other}, {metric}, mean of eight cells", means(parts))
    greedy, sampled = second_half("greedy"), second_half("sampled")
    add("GRPO - MVSR, greedy, where training breaks", gaps(broken["GRPO, 16"], broken["MVSR, 16"], greedy))
    others = ("entropy loss .01", "entropy loss .002", "reference KL .01", "MVSR")  # MVSR has clip-higher
    add(
        "MSSR - mean of the other stabilizers, greedy, where training breaks",
        means(gaps(broken["MSSR, 16"], broken[f"{name}, 16"], greedy) for name in others),
    )
    shaped = ("MSSR", "alpha 1", "alpha 2", "sampled token", "sampled token, alpha 2")
    blind = ("constant bonus", "constant bonus, alpha 2", "negatives halved")
    base = broken["MVSR, 16"]
    one, two = (means(gaps(broken[f"{n}, 16"], base, sampled) for n in names) for names in (shaped, blind))
    add("shaping by entropy - controls that ignore it, sampled", [a - b for a, b in zip(one, two)])
    paper = mild["paper's forgetting, reference KL .01, 2"]
    add("the paper's forgetting - a fixed one, sampled", gaps(paper, mild["MVSR, 2"], sampled))
    add("GRPO's rollouts to 80 % over MSSR's, 16 updates each", savings(mild["MSSR, 16"], mild["GRPO, 16"]), True)
    noisy = by_arm(runs, "50% near misses")
    add("MSSR - GRPO, sampled, half of the labels wrong", gaps(noisy["MSSR, 2"], noisy["GRPO, 2"], sampled))
    return found


def vas_claims(runs: list[dict[str, Any]], other_starts: list[dict[str, Any]]) -> list[Claim]:
    """All seeds have one start, in which most groups are dead; but for the last claim."""
    learning, ablations = by_arm(runs, "learning"), by_arm(runs, "ablations")
    uniform, online, full = (learning[name] for name in ("uniform", "VAS online", "VAS full"))
    mild = by_arm(other_starts, "speed")

    def claim(text: str, values: list[float], ratio: bool = False, units: str = "seeds") -> Claim:
        return Claim("MMR1", text, values, units, ratio)

    return [
        claim("uniform's rollouts to 80 % over `online`'s", savings(online, uniform), True),
        claim("`online` - uniform, area", gaps(online, uniform, lambda run: area(run, SETTING.budget))),
        claim("`online` - uniform, at the end", gaps(online, uniform, final)),
        claim("uniform's rollouts to 80 % over those of `full`", savings(full, uniform), True),
        claim(
            "`full` - uniform, area over the first 48 updates",
            gaps(ablations[BASE], ablations["uniform"], lambda run: area(run, 48, x="step")),
        ),
        claim(
            "weights 1/0 - .8/.2, area",
            gaps(ablations["weights 1/0"], ablations[BASE], lambda run: area(run, ABLATION_BUDGET)),
        ),
        claim(
            "`online` - uniform, greedy, starts where most groups have a signal",
            gaps(mild["VAS, 2"], mild["GRPO, 2"], second_half("greedy")), units="starts",
        ),
    ]  # fmt: skip


def two_stage_claims(runs: list[dict[str, Any]]) -> list[Claim]:
    """All seeds of a task have one start."""
    found = []
    names = {"point": "pointing", "classify": "classes", "gap": "near misses"}
    for noise, one, other in (
        ("50%", "two-stage", "GRPO"), ("0%", "two-stage", "GRPO"), ("50%", "two-stage", "reversed"),
        ("50%", "minimize", "two-stage"),
    ):  # fmt: skip
        for task, name in names.items():
            if one == "minimize" and task != "classify":
                continue
            arms = by_arm(runs, f"{task} {noise}")
            values = gaps(arms[one], arms[other], lambda run: final(run, "sampled"))
            found.append(Claim("two-stage", f"{one} - {other}, {name}, {noise} wrong", values, "seeds"))
    return found


def judge(claims: list[Claim]) -> list[dict[str, Any]]:
    """Estimate, verdict by itself and verdict beside the other claims about the same paper."""
    rows = []
    for paper in dict.fromkeys(claim.paper for claim in claims):
        mine = [claim for claim in claims if claim.paper == paper]
        found = {claim.text: estimate(claim.values) for claim in mine}
        adjusted = holm({text: value.p for text, value in found.items()})
        for claim in mine:
            value, margin = found[claim.text], RATIO if claim.ratio else POINTS
            rows.append(
                asdict(claim)
                | asdict(value)
                | {
                    "p_holm": adjusted[claim.text],
                    "margin": margin,
                    "verdict": verdict(value, margin),
                    "verdict_holm": verdict(value, margin, adjusted[claim.text], len(mine)),
                    "units": claim.units,
                }
            )
    return rows


def shown(row: dict[str, Any]) -> str:
    """The estimate as it is written: points, or a ratio."""
    if row["ratio"]:
        return "{:.2f} ({:.2f} to {:.2f})".format(*(math.exp(row[key]) for key in ("mean", "low", "high")))
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*(row[key] for key in ("mean", "low", "high")))


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| paper | greater than zero (a ratio: than one) | mean (95 % interval) | units | p | p, Holm | verdict "
        "| beside the other claims |",
        "| --- | --- | --- | --- | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        same = row["verdict"] == row["verdict_holm"]
        cells = [row["paper"], row["text"], shown(row), f"{len(row['values'])} {row['units']}"]
        cells += [
            f"{row['p']:.3f}",
            f"{row['p_holm']:.3f}",
            row["verdict"],
            "the same" if same else row["verdict_holm"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def medians(runs: list[dict[str, Any]]) -> list[str]:
    """Rollouts to 80 % at the smaller learning rate, for what the released configurations compare."""
    arms = by_arm(runs, "speed")
    lines = ["| | median rollouts to 80 % (95 % interval) | reached |", "| --- | --- | --- |"]
    for name in ("GRPO, 2", "MSSR, 2", "GRPO, 16", "MSSR, 16"):
        mine = arms[name].values()
        found = median_time([rollouts_to(r, 0.8) for r in mine], [r["curve"][-1]["rollouts"] for r in mine])
        ends = ["never" if math.isinf(end) else f"{end:,.0f}" for end in (found.median, found.low, found.high)]
        lines.append(f"| {name} | {ends[0]} ({ends[1]} to {ends[2]}) | {found.reached} of {found.runs} |")
    return lines


def further(mssr: list[dict[str, Any]], vas: list[dict[str, Any]], two_stage: list[dict[str, Any]]) -> list[str]:
    """Differences that the page mentions beside the claims: looked at afterwards, and without a verdict."""
    grids = {regime: by_arm(mssr, regime) for regime in LEARNING_RATES}
    broken, mild = grids["stability"], grids["speed"]
    rows: list[tuple[str, str]] = []

    def add(text: str, values: list[float], ratio: bool = False) -> None:
        rows.append((text, shown(asdict(estimate(values)) | {"ratio": ratio})))

    seven = [(r, u) for r in grids for u in UPDATES if (r, u) != ("stability", 16)]
    for other in ("GRPO", "REINFORCE++"):
        for metric in ("greedy", "sampled"):
            parts = [gaps(grids[r][f"MSSR, {u}"], grids[r][f"{other}, {u}"], second_half(metric)) for r, u in seven]
            add(f"MSSR - {other}, {metric}, without the cell where training breaks", means(parts))
    greedy, sampled = second_half("greedy"), second_half("sampled")
    others = ("entropy loss .002", "reference KL .01", "MVSR")
    add(
        "MSSR - other stabilizers, greedy, without the larger entropy loss",
        means(gaps(broken["MSSR, 16"], broken[f"{name}, 16"], greedy) for name in others),
    )
    for part, name in (("speed", "right labels"), ("50% near misses", "half near misses")):
        arms = by_arm(mssr, part)
        add(f"all three - MSSR, sampled, {name}", gaps(arms["all three, 2"], arms["MSSR, 2"], sampled))
    add("MSSR's rollouts to 80 % over GRPO's, 16 updates each", savings(mild["GRPO, 16"], mild["MSSR, 16"]), True)
    learning = by_arm(vas, "learning")
    for level in (0.6, 0.7, 0.75, 0.8, 0.85):
        values = savings(learning["uniform"], learning["VAS online"], level)
        add(f"`online`'s rollouts to {level:.0%} over uniform's", values, True)
    add("rollouts of `full` to 80% over uniform's", savings(learning["uniform"], learning["VAS full"]), True)
    for part, metric in (("gap 0%", "sampled"), ("gap 50%", "greedy"), ("classify 50%", "greedy")):
        arms = by_arm(two_stage, part)
        values = gaps(arms["two-stage"], arms["reversed"], lambda run, metric=metric: final(run, metric))
        add(f"two-stage - reversed, {part} wrong, {metric}", values)
    lines = ["| looked at afterwards | mean (95 % interval) |", "| --- | --- |"]
    lines += [f"| {text} | {value} |" for text, value in rows]
    for method in ("GRPO", "RLOO", "REINFORCE++", "MVSR", "MSSR"):
        arm = broken[f"{method}, 16"].values()
        passed = sum(max(run["log"]["entropy"][5:]) > 0.5 for run in arm)
        lines.append(f"| {method}, 16 updates at 3e-4: runs whose entropy passes 0.5 nats | {passed} of {len(arm)} |")
    return lines


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """A forest: t interval, the exact bootstrap as a gray band, and every unit as a dot."""
    figure, axes = plt.subplots(1, 2, figsize=(13, 8), layout="constrained")
    for axis, ratio in zip(axes, (False, True)):
        mine = [row for row in rows if row["ratio"] == ratio][::-1]
        for place, row in enumerate(mine):
            scale: Callable[[Any], Any] = np.exp if ratio else np.asarray
            averages, probabilities = exact_bootstrap(row["values"])
            low, high = averages[np.searchsorted(np.cumsum(probabilities), [0.025, 0.975])]
            axis.plot(scale([low, high]), [place] * 2, color="0.8", linewidth=8, solid_capstyle="butt")
            axis.plot(scale([row["low"], row["high"]]), [place] * 2, color="black", linewidth=1.2)
            axis.plot(scale(row["values"]), [place] * len(row["values"]), ".", color="tab:blue", alpha=0.5)
            axis.plot(scale(row["mean"]), place, "o", color="black", markersize=5)
        axis.axvline(1 if ratio else 0, color="gray", linewidth=1)
        axis.set_yticks(range(len(mine)), [f"{row['paper']}: {row['text']}" for row in mine], fontsize=7)
        axis.set(title="ratios of rollouts" if ratio else "points of accuracy")
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    mssr, vas, two_stage = (read_study(name) for name in ("study_mssr", "study_vas", "two_stage"))
    rows = judge([*mssr_claims(mssr), *vas_claims(vas, mssr), *two_stage_claims(two_stage)])
    lines = [
        "# Claims and verdicts",
        "",
        "Written by `python benchmarks/studies/claims.py` from the raw lines; nothing in it is typed in. Means over",
        "units with 95 % intervals by Student's t. *Starts* are cold starts made with a seed each; *seeds* share one",
        "start, so that their intervals leave out how starts differ. A difference matters from "
        f"{POINTS:g} points of accuracy or",
        f"{math.exp(RATIO) - 1:.0%} of rollouts on; where nothing can be told, the number of units stands that would",
        "find such a difference in four cases of five. The claims and the margins were named after these runs.",
        "The last column has Holm's correction for all claims about the same paper.",
        "",
        *table(rows),
        "",
        "Rollouts to 80 % greedy accuracy, learning rate 1e-4, evaluated every 2,048 rollouts, by Kaplan and Meier:",
        "",
        *medians(mssr),
        "",
        *further(mssr, vas, two_stage),
    ]
    write_results("claims", "\n".join(lines), rows)
    plot(rows, RESULTS / "claims.png")


if __name__ == "__main__":
    main()
