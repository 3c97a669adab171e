# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A profile as a table and as a picture."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from rich.table import Table

from mmr1_trl.reporting.curves import COLORS, INK, STYLE


def profile_table(summary: dict[str, Any], about: dict[str, str]) -> Table:
    """
    Lay out a profile for the terminal.

    Args:
        summary (`dict`):
            From [`~trainers.profiling.StepProfile.summary`].
        about (`dict[str, str]`):
            What each part is.
    """
    title = f"{summary['wall']:.3f} s a step, mean of {summary['steps']} steps on {summary['device']}"
    table = Table(title=title, title_justify="left", footer_style="bold", show_footer=True)
    table.add_column("part", footer="sum")
    table.add_column("s a step", justify="right", footer=f"{summary['wall']:.4f}")
    table.add_column("share", justify="right", footer="100 %")
    table.add_column("times", justify="right")
    table.add_column(
        "peak MB", justify="right", footer=f"{max(p['peak'] for p in summary['parts'].values()) / 1e6:,.0f}"
    )
    table.add_column("", style="dim")
    for name, part in summary["parts"].items():
        table.add_row(
            name, f"{part['seconds']:.4f}", f"{part['share']:.1%}", f"{part['calls']:g}", f"{part['peak'] / 1e6:,.0f}",
            about[name],
        )  # fmt: skip
    return table


def draw_profile(summary: dict[str, Any], path: Path, title: str) -> None:
    """
    Draw the mean of each part, its peak memory, and every step as a stack.

    Args:
        summary (`dict`):
            From [`~trainers.profiling.StepProfile.summary`].
        path (`Path`):
            PNG to write.
        title (`str`):
            What was profiled.
    """
    parts = summary["parts"]
    shades = [COLORS[i % len(COLORS)] for i in range(len(parts))]
    hatches = ["" if i < len(COLORS) else "///" for i in range(len(parts))]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 0.34 * len(parts) + 1.9), layout="constrained")
        figure.suptitle(f"{title}: {summary['wall']:.3g} s a step on {summary['device']}", x=0.01, ha="left")
        means, memory, steps = figure.subplots(1, 3, width_ratios=[1.4, 0.8, 1.4])
        rows = range(len(parts))
        for row, (part, shade, hatch) in enumerate(zip(parts.values(), shades, hatches)):
            means.barh(row, part["seconds"], color=shade, hatch=hatch, edgecolor="white", linewidth=0)
            means.annotate(f" {part['share']:.1%}", (part["seconds"], row), va="center", color=INK)
            memory.barh(row, part["peak"] / 1e6, color=shade, hatch=hatch, edgecolor="white", linewidth=0)
        means.set(title="Seconds a step", yticks=rows, yticklabels=list(parts))
        means.margins(x=0.15)
        memory.set(title="Peak memory (MB)", yticks=[])
        bottom = [0.0] * len(summary["each"])
        for name, shade, hatch in zip(parts, shades, hatches):
            heights = [step["seconds"].get(name, 0.0) for step in summary["each"]]
            numbers = [step["step"] for step in summary["each"]]
            steps.bar(numbers, heights, bottom=bottom, color=shade, hatch=hatch, edgecolor="white", linewidth=0)
            bottom = [low + height for low, height in zip(bottom, heights)]
        steps.set(title="Each step (s), in the colors of the left", xlabel="optimizer step")
        steps.xaxis.get_major_locator().set_params(integer=True)
        for axes in (means, memory):
            axes.invert_yaxis()
            axes.grid(axis="y", visible=False)
        steps.grid(axis="x", visible=False)
        figure.savefig(path, dpi=130)
