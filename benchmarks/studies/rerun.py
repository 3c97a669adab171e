# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Run some of the published lines again and compare.

    python benchmarks/studies/rerun.py --sample 5 --starts FOLDER

Lines are drawn from results/decisive.jsonl by `--seed`, and rerun from the same starts. Where processor, versions and
sources are those of the line, the numbers must be the same to the last digit that is kept. Elsewhere sums in another
order part two trainings as another seed of the sampling would: the accuracy before training must agree within
BEFORE, that at the end within AFTER. Exit code 1 if one does not.
"""

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).parents[1]))

from mmr1_trl.errors import BadInputError
from studies.decisive import STUDIES, STUDY
from studies.lines import late, read_study
from studies.setup import train_and_measure
from studies.starts import check_starts


SAME = 0.0
BEFORE = 0.02  # of 300 prompts a few may flip
AFTER = 0.08  # twice the standard deviation between seeds of one start, at the larger learning rate


def compare(line: dict[str, Any], again: dict[str, Any]) -> tuple[bool, str]:
    """
    Compare a rerun with its line.

    Returns:
        `tuple[bool, str]`: Whether it agrees within the tolerance, and a sentence.
    """
    same = line["made"] == again["made"]
    parts, agrees = [], line["start"] == again["start"]
    for what, value, tolerance in (
        ("before", lambda run: run["curve"][0]["sampled"], BEFORE),
        ("late", late, AFTER),
    ):
        old, new = value(line), value(again)
        allowed = SAME if same else tolerance
        agrees = agrees and abs(new - old) <= allowed + 1e-9
        parts.append(f"{what} {old:.4f} -> {new:.4f} (allowed {allowed:g})")
    changed = [] if same else [name for name in line["made"] if line["made"][name] != again["made"][name]]
    note = f"; other {', '.join(changed)}" if changed else ""
    name = f"{line['part']}, {line['arm']}, seed {line['seed']}"
    return agrees, f"{'agrees' if agrees else 'DIFFERS'}: {name}: {', '.join(parts)}{note}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=5, help="lines to run again")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of lines")
    parser.add_argument("--starts", type=Path, help="folder of packed starts (starts.py); by default made here")
    a = parser.parse_args()
    lines = sorted(read_study(STUDY), key=lambda run: json.dumps([run["part"], run["arm"], run["seed"]]))
    chosen = random.Random(a.seed).sample(lines, min(a.sample, len(lines)))
    check_starts((line["start"]["name"] for line in chosen), a.starts)
    differing = 0
    for line in chosen:
        study = STUDIES[line["part"]]
        (arm,) = (arm for arm in study.arms if arm.name == line["arm"])
        agrees, text = compare(line, train_and_measure(study.setting, arm, line["seed"], a.starts))
        print(text, flush=True)
        differing += not agrees
    print(f"{len(chosen) - differing} of {len(chosen)} agree")
    return int(differing > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BadInputError as error:
        sys.exit(f"Error: {error}")
