# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Training curves: one small panel per quantity, runs overlaid, seeds of one configuration as a band."""

import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from PIL import Image

from mmr1_trl.errors import BadInputError
from mmr1_trl.reporting.runs import ACCURACY, Run, group_runs


@dataclass(frozen=True)
class Panel:
    """A quantity to draw: its title, the log keys that may hold it (the best first), and whether to smooth it."""

    title: str
    keys: tuple[str, ...]
    smoothed: bool = True


PANELS = (
    Panel("Reward", ("reward",)),
    Panel("Accuracy on the training prompts", (ACCURACY,)),
    Panel("Held-out accuracy", ("eval_greedy_accuracy", f"eval_{ACCURACY}", "eval_reward")),
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
    Panel("Prompts drawn within an epoch (share)", ("vas/coverage",)),
    Panel("Loss", ("loss",)),
    Panel("Time per step (s)", ("step_time",)),
)
ENTROPY = "Token entropy (nats)"
X_LABELS = {"steps": "optimizer step", "rollouts": "rollouts"}

# Mid-tones that read on white and on near-black alike, and that color-blind readers can tell apart.
COLORS = ("#3f86d0", "#e0803a", "#2fa27c", "#a374d6", "#d4566a", "#9a8c3c", "#4fb0c6", "#8a8f98")
INK = "#7f8896"
# Sign of the entropy coefficient -> what the schedule does, and in which color it is shaded.
STAGES = {1: ("explore", COLORS[2]), -1: ("exploit", COLORS[1]), 0: ("", "none")}
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


def draw_curves(
    runs: Sequence[Run], path: str | Path, columns: int = 3, x_axis: str = "steps", limit: int | None = None
) -> Path:
    """
    Draw every panel that at least one run has values for into one PNG. One that shows the same already is left alone.

    Args:
        runs (`Sequence[Run]`):
            The runs; those that differ only in a seed share a color and become a band (mean, smallest to largest).
        path (`str` or `Path`):
            The PNG to write.
        columns (`int`, *optional*, defaults to `3`):
            Panels side by side.
        x_axis (`str`, *optional*, defaults to `"steps"`):
            `"steps"` or `"rollouts"`.
        limit (`int`, *optional*):
            Draw only the first so many panels, which are the most telling ones.

    Returns:
        `Path`: `path`.

    Raises:
        `BadInputError`: If no run logged any of the known quantities.
    """
    groups = group_runs(runs)
    panels = present_panels(runs)[:limit]
    rows = -(-len(panels) // columns)
    path = Path(path)
    shown = _digest(panels, groups, columns, x_axis)
    if _shows(path) == shown:
        return path
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.0 * columns, 2.6 * rows + 0.4), layout="constrained", facecolor="white")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, panel in zip(axes, panels):
            draw_panel(axis, panel, groups, x_axis)
            axis.set_xlabel(X_LABELS[x_axis], color=INK)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        if len(groups) > 1:
            lines = [Line2D([], [], color=COLORS[i % len(COLORS)], label=label) for i, label in enumerate(groups)]
            figure.legend(handles=lines, loc="outside upper right", ncols=min(4, len(groups)))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130, metadata={"Description": shown})
    return path


def _digest(panels: Sequence[Panel], groups: Mapping[str, Sequence[Run]], columns: int, x_axis: str) -> str:
    """Stands for all that a picture of these runs shows, and for the version that draws it."""
    values = [
        (panel.title, label, run.series(panel.keys, x_axis))
        for panel in panels
        for label, runs in groups.items()
        for run in runs
    ]
    return hashlib.sha256(repr((version("mmr1-trl"), columns, x_axis, values)).encode()).hexdigest()


def _shows(path: Path) -> str | None:
    """The digest of what a picture shows, as it was written into its header; `None` if this is no such picture."""
    try:
        with Image.open(path) as picture:
            shown = picture.info.get("Description")
            picture.verify()
    except (OSError, SyntaxError):  # not there, or cut off in the middle
        return None
    return shown


def draw_svgs(runs: Sequence[Run], x_axis: str = "steps") -> dict[str, str]:
    """
    Draw every panel as an SVG to put inline into a page. Text, axes and grid take the page's text color, so that one
    drawing serves a light and a dark page.

    Returns:
        `dict[str, str]`: SVG markup by panel title.
    """
    groups = group_runs(runs)
    drawings = {}
    for panel in present_panels(runs):

        def draw(axis: Axes, panel: Panel = panel) -> None:
            draw_panel(axis, panel, groups, x_axis)
            axis.set_title("")

        drawings[panel.title] = inline_svg(draw, panel.title)
    return drawings


def inline_svg(draw: Callable[[Axes], None], salt: str) -> str:
    """
    Markup of what `draw` puts on an axis, to stand in a page.

    Args:
        draw (`Callable[[Axes], None]`):
            Draws.
        salt (`str`):
            Gives the clip paths of every drawing their own ids within the page, the same in every run.

    Returns:
        `str`: An `<svg>` element without size, whose text, axes and grid have the color of the page's text.
    """
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": salt}):
        figure = Figure(figsize=(4.2, 2.5), layout="constrained")
        figure.patch.set_alpha(0)
        axis = figure.subplots()
        axis.patch.set_alpha(0)
        draw(axis)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", dpi=144, metadata={"Date": None})
    markup = buffer.getvalue()
    markup = markup[markup.index("<svg") :].replace(INK, "currentColor")
    markup = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', markup, count=1)
    return re.sub(r"<metadata>.*?</metadata>", "", markup, flags=re.DOTALL)


def present_panels(runs: Sequence[Run]) -> list[Panel]:
    """The panels for which at least one run has a value; accuracy is left out where it is the whole reward."""
    panels = [panel for panel in PANELS if any(run.series(panel.keys)[0] for run in runs)]
    if not panels:
        raise BadInputError(
            f"Nothing to draw: {', '.join(run.name for run in runs)} logged none of the known quantities."
        )
    reward, accuracy = PANELS[:2]
    if all(run.series(reward.keys) == run.series(accuracy.keys) for run in runs):
        panels = [panel for panel in panels if panel is not reward]
    return panels


def draw_panel(axis: Axes, panel: Panel, groups: Mapping[str, Sequence[Run]], x_axis: str = "steps") -> None:
    """Draw `panel` for every group of runs: one run as its values with a running mean, several as the mean of the
    running means with a band from the smallest to the largest."""
    axis.set_title(panel.title)
    for index, runs in enumerate(groups.values()):
        color = COLORS[index % len(COLORS)]
        curves = [curve for run in runs if (curve := run.series(panel.keys, x_axis))[0]]
        if len(curves) > 1:
            positions, values = _common_positions(curves)
            if panel.smoothed:
                values = np.array([smooth(row) for row in values])
            axis.fill_between(positions, values.min(0), values.max(0), color=color, alpha=0.2, linewidth=0)
            axis.plot(positions, values.mean(0), color=color, linewidth=1.6, marker=_marker(positions))
        elif curves:
            xs, raw = curves[0]
            if panel.smoothed:
                axis.plot(xs, raw, color=color, linewidth=0.8, alpha=0.35)
            values = smooth(raw) if panel.smoothed else np.array(raw)
            axis.plot(xs, values, color=color, linewidth=1.6, marker=_marker(xs))
    if panel.title.endswith("(share)"):
        axis.set_ylim(bottom=0)
    if panel.title == ENTROPY:
        _shade_stages(axis, groups, x_axis)
    format_positions(axis, x_axis)


def format_positions(axis: Axes, x_axis: str) -> None:
    """Write rollouts, of which there are many, as 5k and 10k."""
    if x_axis == "rollouts":
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.xaxis.set_major_locator(MaxNLocator(5))


def _shade_stages(axis: Axes, groups: Mapping[str, Sequence[Run]], x_axis: str) -> None:
    """Shade where the entropy schedule lifts or lowers entropy: the spans of the first run that has one."""
    runs = (run for members in groups.values() for run in members)
    positions, coefficients = next((c for run in runs if (c := run.series(("entropy/coef",), x_axis))[0]), ([], []))
    start = 0
    for i in range(1, len(positions) + 1):
        if i < len(positions) and np.sign(coefficients[i]) == np.sign(coefficients[start]):
            continue
        name, color = STAGES[int(np.sign(coefficients[start]))]
        end = positions[i] if i < len(positions) else positions[-1]
        if name:
            axis.axvspan(positions[start], end, color=color, alpha=0.1, linewidth=0)
            axis.annotate(
                name,
                (positions[start], 1.0),
                xycoords=axis.get_xaxis_transform(),
                xytext=(3, -3),
                textcoords="offset points",
                va="top",
                fontsize=8,
                color=INK,
            )
        start = i


def _marker(positions: Sequence[float] | np.ndarray) -> str | None:
    """A dot where there is no line to draw."""
    return "o" if len(positions) == 1 else None


def smooth(values: Sequence[float]) -> np.ndarray:
    """Centered running mean over about a twentieth of the curve; at the ends over the values that are there."""
    half = len(values) // 40
    data = np.asarray(values, dtype=float)
    return np.array([data[max(0, i - half) : i + half + 1].mean() for i in range(len(data))])


def _common_positions(curves: Sequence[tuple[list[float], list[float]]]) -> tuple[np.ndarray, np.ndarray]:
    """The positions in the range that all curves cover, and the curves' values there, shape (curves, positions)."""
    first, last = max(xs[0] for xs, _ in curves), min(xs[-1] for xs, _ in curves)
    positions = np.unique([x for xs, _ in curves for x in xs if first <= x <= last])
    return positions, np.array([np.interp(positions, xs, ys) for xs, ys in curves])
