# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Training curves: one small panel per quantity, runs overlaid, seeds of one configuration as a band."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmr1_trl.errors import BadInputError
from mmr1_trl.reporting.runs import Run, group_runs


@dataclass(frozen=True)
class Panel:
    """A quantity to draw: its title, the log keys that may hold it (the best first), and whether to smooth it."""

    title: str
    keys: tuple[str, ...]
    smoothed: bool = True


PANELS = (
    Panel("Reward", ("reward",)),
    Panel("Accuracy on the training prompts", ("rewards/accuracy_reward/mean",)),
    Panel("Held-out accuracy", ("eval_greedy_accuracy", "eval_rewards/accuracy_reward/mean", "eval_reward")),
    Panel("Token entropy (nats)", ("entropy",)),
    Panel("Value estimate", ("mssr/value_mean",)),
    Panel("Forgetting factor ρ", ("mssr/rho",), smoothed=False),
    Panel("KL that steers ρ", ("mssr/kl",)),
    Panel("KL to the reference", ("kl",)),
    Panel("Gradient norm", ("grad_norm",)),
    Panel("Completion length (tokens)", ("completions/mean_length",)),
    Panel("Truncated completions (share)", ("completions/clipped_ratio",)),
    Panel("Clipped tokens (share)", ("clip_ratio/region_mean",)),
    Panel("Groups without signal (share)", ("frac_reward_zero_std",)),
    Panel("Entropy bonus in the advantage", ("mssr/bonus_mean",)),
    Panel("Prompts not yet seen (share)", ("mssr/frac_unseen",)),
    Panel("Entropy coefficient", ("entropy/coef",), smoothed=False),
    Panel("Variance promotion score (mean)", ("vas/score_mean",)),
    Panel("Effective number of prompts drawn from", ("vas/effective_sample_size",)),
    Panel("No signal, drawn by score (share)", ("vas/frac_zero_variance_weighted",)),
    Panel("No signal, drawn uniformly (share)", ("vas/frac_zero_variance_uniform",)),
    Panel("Prompts drawn so far (share)", ("vas/coverage",)),
    Panel("Loss", ("loss",)),
)

# Mid-tones that read on white and on near-black alike, and that color-blind readers can tell apart.
COLORS = ("#3f86d0", "#e0803a", "#2fa27c", "#a374d6", "#d4566a", "#9a8c3c", "#4fb0c6", "#8a8f98")
_INK = "#7f8896"
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


def draw_curves(runs: Sequence[Run], path: str | Path, columns: int = 3) -> Path:
    """
    Draw every panel that at least one run has values for into one PNG.

    Args:
        runs (`Sequence[Run]`):
            The runs; those that differ only in a seed share a color and become a band (mean, smallest to largest).
        path (`str` or `Path`):
            The PNG to write.
        columns (`int`, *optional*, defaults to `3`):
            Panels side by side.

    Returns:
        `Path`: `path`.

    Raises:
        `BadInputError`: If no run logged any of the known quantities.
    """
    groups = group_runs(runs)
    panels = present_panels(runs)
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.0 * columns, 2.6 * rows + 0.4), layout="constrained", facecolor="white")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, panel in zip(axes, panels):
            draw_panel(axis, panel, groups)
            axis.set_xlabel("optimizer step", color=_INK)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        if len(groups) > 1:
            lines = [Line2D([], [], color=COLORS[i % len(COLORS)], label=label) for i, label in enumerate(groups)]
            figure.legend(handles=lines, loc="outside upper right", ncols=min(4, len(groups)))
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
    return path


def draw_svgs(runs: Sequence[Run]) -> dict[str, str]:
    """
    Draw every panel as an SVG to put inline into a page. Text, axes and grid take the page's text color, so that one
    drawing serves a light and a dark page.

    Returns:
        `dict[str, str]`: SVG markup by panel title.
    """
    groups = group_runs(runs)
    drawings = {}
    for panel in present_panels(runs):
        # The salt gives the clip paths of every panel their own ids within the page, the same in every run.
        with matplotlib.rc_context({**_STYLE, "svg.hashsalt": panel.title}):
            figure = Figure(figsize=(4.2, 2.5), layout="constrained")
            figure.patch.set_alpha(0)
            axis = figure.subplots()
            axis.patch.set_alpha(0)
            draw_panel(axis, panel, groups)
            axis.set_title("")
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        markup = buffer.getvalue()
        markup = markup[markup.index("<svg") :].replace(_INK, "currentColor")
        markup = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', markup, count=1)
        drawings[panel.title] = re.sub(r"<metadata>.*?</metadata>", "", markup, flags=re.DOTALL)
    return drawings


def present_panels(runs: Sequence[Run]) -> list[Panel]:
    """The panels for which at least one run has a value."""
    panels = [panel for panel in PANELS if any(run.series(panel.keys)[0] for run in runs)]
    if not panels:
        raise BadInputError(
            f"Nothing to draw: {', '.join(run.name for run in runs)} logged none of the known quantities."
        )
    return panels


def draw_panel(axis: Axes, panel: Panel, groups: Mapping[str, Sequence[Run]]) -> None:
    """Draw `panel` for every group of runs: one run as its values with a running mean, several as the mean of the
    running means with a band from the smallest to the largest."""
    axis.set_title(panel.title)
    for index, runs in enumerate(groups.values()):
        color = COLORS[index % len(COLORS)]
        curves = [curve for run in runs if (curve := run.series(panel.keys))[0]]
        if len(curves) > 1:
            steps, values = _common_steps(curves)
            if panel.smoothed:
                values = np.array([smooth(row) for row in values])
            axis.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.2, linewidth=0)
            axis.plot(steps, values.mean(0), color=color, linewidth=1.6, marker=_marker(steps))
        elif curves:
            steps, raw = curves[0]
            if panel.smoothed:
                axis.plot(steps, raw, color=color, linewidth=0.8, alpha=0.35)
            values = smooth(raw) if panel.smoothed else np.array(raw)
            axis.plot(steps, values, color=color, linewidth=1.6, marker=_marker(steps))
    if panel.title.endswith("(share)"):
        axis.set_ylim(bottom=0)


def _marker(steps: Sequence[float]) -> str | None:
    """A dot where there is no line to draw."""
    return "o" if len(steps) == 1 else None


def smooth(values: Sequence[float]) -> np.ndarray:
    """Centered running mean over about a twentieth of the curve; at the ends over the values that are there."""
    half = len(values) // 40
    data = np.asarray(values, dtype=float)
    return np.array([data[max(0, i - half) : i + half + 1].mean() for i in range(len(data))])


def _common_steps(curves: Sequence[tuple[list[float], list[float]]]) -> tuple[list[float], np.ndarray]:
    """The steps that all curves have, and their values there, shape (curves, steps)."""
    tables = [dict(zip(steps, values)) for steps, values in curves]
    steps = sorted(set.intersection(*(set(table) for table in tables)))
    return steps, np.array([[table[step] for step in steps] for table in tables], dtype=float)
