# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""How the scores that variance-aware sampling draws by were distributed, over the run: one column per histogram."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from mmr1_trl.reporting.curves import COLORS, INK, STYLE, X_LABELS, format_positions, inline_svg
from mmr1_trl.reporting.runs import Run


BINS = 24
# From nothing to a solid color, so that the page shows through where there is no prompt, light or dark.
_SHARES = LinearSegmentedColormap.from_list("shares", [(*matplotlib.colors.to_rgb(COLORS[0]), a) for a in (0, 1)])


def score_shares(history: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """
    Bring histograms of different ranges onto one.

    Args:
        history (`Sequence[dict]`):
            Histograms with `counts` and `edges`, as in `prompt_scores.jsonl`.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: The common edges, shape `(BINS + 1,)`, from 0 to the largest score; and the
        share of the prompts in every bin, shape `(histograms, BINS)`. Within a bin of the file prompts count as spread
        evenly.
    """
    edges = np.linspace(0.0, max(line["edges"][-1] for line in history), BINS + 1)
    shares = []
    for line in history:
        below = np.concatenate([[0.0], np.cumsum(line["counts"])])
        shares.append(np.diff(np.interp(edges, line["edges"], below)) / below[-1])
    return edges, np.array(shares)


def draw_score_map(axis: Axes, run: Run, x_axis: str = "steps") -> None:
    """Draw the scores of `run` over its steps or rollouts: the darker, the more prompts have that score."""
    history = run.score_history()
    edges, shares = score_shares(history)
    steps = [entry["step"] for entry in run.history]
    # A histogram holds until the next one, the last one until the end of the run.
    columns = [*(line["step"] for line in history), max(steps[-1], history[-1]["step"] + 1)]
    if x_axis == "rollouts":
        columns = list(np.interp(columns, steps, run.rollouts()))
    # The square root shows small shares beside the one bin that most prompts are in.
    axis.pcolormesh(columns, edges, shares.T, cmap=_SHARES, norm=PowerNorm(0.5, vmin=0), rasterized=True)
    axis.set_ylabel("score", color=INK)
    axis.grid(False)
    format_positions(axis, x_axis)


def score_map_svgs(runs: Sequence[Run], x_axis: str = "steps") -> dict[str, str]:
    """The scores of every run that has any, as SVG by title."""
    runs = [run for run in runs if run.score_history()]
    return {
        "Prompt scores" + (f": {run.name}" if len(runs) > 1 else ""): inline_svg(
            lambda axis, run=run: draw_score_map(axis, run, x_axis),  # type: ignore[misc]
            f"scores {run.name}",
        )
        for run in runs
    }


def draw_score_maps(runs: Sequence[Run], path: str | Path, x_axis: str = "steps") -> Path | None:
    """Draw the scores of every run that has any into one PNG at `path`; `None` where no run has."""
    runs = [run for run in runs if run.score_history()]
    if not runs:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 2.9 * len(runs)), layout="constrained", facecolor="white")
        for axis, run in zip(figure.subplots(len(runs), squeeze=False).ravel(), runs):
            draw_score_map(axis, run, x_axis)
            axis.set_title(f"Prompt scores: {run.name}")
            axis.set_xlabel(X_LABELS[x_axis], color=INK)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
    return path
