# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The studies of `plan.md`, from a clone at the commit that the plan names.

    python benchmarks/studies/decisive.py                        # all runs that are missing, in the plan's order
    python benchmarks/studies/decisive.py --studies a --seeds 0 1
    python benchmarks/studies/decisive.py --starts FOLDER        # with packed starts instead of ones made here

Each finished run is a line of results/decisive.jsonl and is not run again, so that this can be stopped at any time.
`pages.py` makes verdicts, tables and pictures of the lines.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).parents[1]))

from studies import mssr, two_stage, vas
from studies.lines import run_study
from studies.setup import Arm, Setting
from studies.starts import note


STUDY = "decisive"


@dataclass(frozen=True)
class Study:
    """
    Arms of one setting, and the seeds that each of them is run with; `beside` is a study of the same setting and seeds
    whose runs the contrasts use as well.
    """

    setting: Setting
    arms: tuple[Arm, ...]
    seeds: range
    beside: str | None = None


BASELINES: dict[str, dict[str, Any]] = {
    "tracked": {"num_generations": 1, "advantage_baseline": "value_tracker", "tracker_forgetting": "fixed"},
    "batch mean": {"num_generations": 1, "advantage_baseline": "batch_mean"},
}
STABILIZERS: dict[str, tuple[dict[str, Any], Any]] = {
    "none": ({}, "RLVRTrainer"),
    "negatives halved": ({"negatives": "halved"}, "RLVRTrainer"),
    "entropy shaping": ({"entropy_shaping": True}, "RLVRTrainer"),
    "constant bonus": ({"entropy_shaping": True}, mssr.ConstantBonusTrainer),
    "negatives filtered": ({"negatives": "filtered"}, "RLVRTrainer"),
}
SETTING = replace(mssr.with_rate("stability"), num_late_rows=1200, eval_every=1024)
MILD = replace(SETTING, options=SETTING.options | {"learning_rate": 1e-4})


def batch(updates: int) -> dict[str, Any]:
    return mssr.arm("", updates, {}).options


def stabilized(baseline: str, stabilizer: str) -> Arm:
    options, trainer = STABILIZERS[stabilizer]
    return Arm(f"{baseline}, {stabilizer}", batch(16) | BASELINES[baseline] | options, trainer)


GROUP = {"num_generations": 8}
GROUPS = tuple(
    Arm(f"GRPO {size}, {scale} std", batch(4) | {"num_generations": size, "scale_rewards": scale})
    for size in (2, 4, 8)
    for scale in ("group", "batch")
)
SINGLE = (
    Arm("MSSR", batch(4) | BASELINES["tracked"] | {"entropy_shaping": True}),
    Arm("REINFORCE++", batch(4) | BASELINES["batch mean"]),
)
DRAWS = (
    Arm("uniform"),
    Arm("online", {"prompt_sampling": "variance_aware", "vas_refresh": "online", "vas_diversity_weight": 0.0}),
    Arm("MoPPS", {"prompt_sampling": "posterior"}),
    Arm("dynamic sampling", {"prompt_sampling": "dynamic"}),
)
DIGITS = ("digits_add", "digits_gap", "digits_sum3", "digits_range", "digits_times")

STUDIES = {
    "a": Study(SETTING, tuple(stabilized(b, s) for s in STABILIZERS for b in BASELINES), range(24)),
    "b": Study(MILD, (*GROUPS, *SINGLE), range(12)),
    "c": Study(
        replace(two_stage.TASKS["point"], label_noise=0.5, num_starts=20, num_late_rows=1200, eval_every=1024),
        (two_stage.GRPO, two_stage.TWO_STAGE, two_stage.REVERSED),
        range(60),
    ),
    "d": Study(
        replace(vas.SETTING, num_starts=None, num_eval_rows=300, num_late_rows=1200, count_trained=True),
        DRAWS,
        range(16),
    ),
    "e": Study(
        replace(SETTING, start="digits", train_families=DIGITS, eval_families=DIGITS),
        (
            stabilized("tracked", "none"),
            stabilized("tracked", "negatives halved"),
            Arm("GRPO", batch(16) | GROUP),
            Arm("MSSR", batch(16) | BASELINES["tracked"] | {"entropy_shaping": True}),
        ),
        range(12),
    ),
    "f": Study(
        MILD,
        (Arm("GRPO 8, whole groups", batch(4) | GROUP | {"scale_rewards": "group", "group_coherent": True}),),
        range(12),
        beside="b",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--seeds", type=int, nargs="+", help="default: those of the plan")
    parser.add_argument("--arms", nargs="+", help="only these")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--starts", type=Path, help="folder of packed starts (starts.py); by default made here")
    a = parser.parse_args()
    for name in a.studies:
        study = STUDIES[name]
        for seed in study.seeds if a.seeds is None else a.seeds:  # a start with all its arms before the next start
            if a.starts is None:
                note([study.setting.start_of(seed)])
            jobs = [(name, study.setting, arm, seed) for arm in study.arms if a.arms is None or arm.name in a.arms]
            run_study(STUDY, jobs, a.workers, starts=a.starts)


if __name__ == "__main__":
    main()
