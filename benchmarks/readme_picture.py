# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The picture at the top of the README, from the folder of a quickstart: `readme_picture.py runs/quickstart`."""

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

from mmr1_trl.reporting.runs import load_run


OUTPUT = Path(__file__).parents[1] / "docs" / "assets" / "quickstart.png"
BLUE, GRAY = "#2f6db3", "#8a8f98"
SWITCHES = (
    ("Baseline", "the group's mean", "a tracked pass rate,\none rollout per prompt", "MSSR"),
    ("Prompts", "drawn uniformly", "drawn by how much\ntheir rewards vary", "MMR1 / VAS"),
    ("Token entropy", "left alone", "maximized,\nthen minimized", "two-stage entropy"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    run = load_run(folder / "train")
    steps, rewards = run.series(("rewards/accuracy_reward/mean",))

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), width_ratios=(1.05, 1), layout="constrained")
    left.plot(steps, [100 * value for value in rewards], color=BLUE, linewidth=2, label="while training (sampled)")
    for step, part, text in ((steps[0], "before", "before"), (steps[-1], "after", "after")):
        accuracy = 100 * summary[part]["greedy_accuracy"]
        low, high = (100 * end for end in summary[part]["interval"]["greedy_accuracy"])
        left.errorbar(step, accuracy, [[accuracy - low], [high - accuracy]], fmt="o", color="black", capsize=3)
        left.annotate(f"{text}: {accuracy:.0f} %", (step, accuracy), (10, -16) if text == "before" else (-8, 8),
                      textcoords="offset points", ha="left" if text == "before" else "right")  # fmt: skip
    left.set(ylim=(0, 105), xlabel="optimizer update", ylabel="accuracy (%)")
    count = summary["after"]["num_prompts"]
    left.set_title(f"mmr1 quickstart: {count} held-out pictures (points: greedy)", fontsize=11)
    left.legend(loc="lower right", frameon=False)
    left.spines[["top", "right"]].set_visible(False)

    right.set(xlim=(0, 3), ylim=(0, 3))
    right.axis("off")
    right.set_title("one trainer, three switches", fontsize=11)
    for row, (title, off, on, paper) in enumerate(SWITCHES):
        y = 2.5 - row
        right.text(0, y, title, va="center", fontweight="bold")
        for x, text, color in ((0.85, off, GRAY), (1.9, on, BLUE)):
            box = FancyBboxPatch((x, y - 0.36), 0.95, 0.72, boxstyle="round,pad=0,rounding_size=0.08", fill=False,
                                 edgecolor=color, linewidth=1.5)  # fmt: skip
            right.add_patch(box)
            right.text(x + 0.475, y + 0.06 * (color == BLUE), text, ha="center", va="center", fontsize=8.5)
        right.text(2.375, y - 0.27, paper, ha="center", va="center", fontsize=7.5, color=BLUE)
    OUTPUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUTPUT, dpi=150)
    print(OUTPUT)


if __name__ == "__main__":
    main()
