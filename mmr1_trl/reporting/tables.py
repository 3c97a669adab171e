# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Small tables of results, as Markdown, as plain text and as rows for a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmr1_trl.reporting.curves import present_panels
from mmr1_trl.reporting.runs import Run, ends, group_runs


@dataclass(frozen=True)
class Table:
    """A table of ready-made cells. The first column is text, the others are numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""

    def markdown(self) -> str:
        """The table in GitHub's Markdown."""
        rule = ["---", *("---:" for _ in self.columns[1:])]
        return "\n".join("| " + " | ".join(row) + " |" for row in (self.columns, rule, *self.rows))

    def text(self) -> str:
        """The table in aligned columns for a terminal."""
        widths = [max(len(row[i]) for row in (self.columns, *self.rows)) for i in range(len(self.columns))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
            for row in (self.columns, *self.rows)
        ]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def percent(value: float | None, interval: Sequence[float] | None = None) -> str:
    """`0.4167` as `41.7 %`, with an interval as `41.7 % (37.8-45.7)`, `None` as a dash."""
    if value is None:
        return "–"
    around = "" if interval is None else f" ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"
    return f"{100 * value:.1f} %{around}"


def points(before: float | None, after: float | None) -> str:
    """The change between two shares in percentage points, with its sign."""
    return "–" if before is None or after is None else f"{100 * (after - before):+.1f}"


def evaluation_table(summary: Mapping[str, Any]) -> Table:
    """The numbers of one evaluation (`EvalResult.summary()` or the content of `summary.json`)."""
    rows = [[label, percent(value, interval)] for label, value, interval in _shares(summary) if value is not None]
    rows.append(["Mean length (tokens)", f"{summary['mean_length']:.1f}"])
    return Table(["Evaluation", f"{summary['num_prompts']} prompts"], rows)


def overview_table(summaries: Mapping[str, Mapping[str, Any]]) -> Table:
    """Several evaluations, one row each."""
    rows = [
        [
            name,
            str(summary["num_prompts"]),
            percent(summary["greedy_accuracy"], summary["interval"]["greedy_accuracy"]),
            percent(summary["sampled_accuracy"]),
            percent(summary["unparsed"]),
            percent(summary["truncated"]),
        ]
        for name, summary in summaries.items()
    ]
    return Table(["", "prompts", "greedy", "sampled", "no answer", "cut off"], rows)


def category_table(summary: Mapping[str, Any], category: str) -> Table:
    """Accuracy for each value of one category of an evaluation."""
    rows = [
        [value, str(part["num_prompts"]), percent(part["greedy_accuracy"], part["interval"])]
        + [percent(part["sampled_accuracy"])] * (summary["num_samples"] > 0)
        for value, part in summary["by"][category].items()
    ]
    return Table([category, "prompts", "greedy"] + ["sampled"] * (summary["num_samples"] > 0), rows)


def before_after_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> Table:
    """Two evaluations of the same rows side by side, with the change in percentage points."""
    nothing = (None, None)
    # By label: one may have samples, or groups, that the other lacks.
    shares = [{label: (value, interval) for label, value, interval in _shares(one)} for one in (before, after)]
    rows = []
    for label in dict.fromkeys([*shares[0], *shares[1]]):
        (first, first_interval), (second, second_interval) = (one.get(label, nothing) for one in shares)
        if first is not None or second is not None:
            cells = percent(first, first_interval), percent(second, second_interval), points(first, second)
            rows.append([label, *cells])
    lengths = before["mean_length"], after["mean_length"]
    rows.append(["Mean length (tokens)", *(f"{length:.1f}" for length in lengths), f"{lengths[1] - lengths[0]:+.1f}"])
    return Table(["", "before", "after", "change"], rows)


def before_after_by(before: Mapping[str, Any], after: Mapping[str, Any], category: str) -> Table:
    """Greedy accuracy before and after for each value of one category."""
    rows = []
    for value, first in before["by"][category].items():
        second = after["by"].get(category, {}).get(value, {"greedy_accuracy": None})
        accuracies = first["greedy_accuracy"], second["greedy_accuracy"]
        rows.append([value, str(first["num_prompts"]), *map(percent, accuracies), points(*accuracies)])
    return Table([category, "prompts", "before", "after", "change"], rows)


def runs_table(runs: Sequence[Run]) -> Table:
    """
    What every quantity was in the first and in the last tenth of training, for each group of runs: the mean over the
    runs of a group and, in parentheses, the smallest and the largest of their ends.
    """
    groups = group_runs(runs)
    rows = []
    for panel in present_panels(runs):
        cells = [_ends([run.series(panel.keys)[1] for run in members]) for members in groups.values()]
        if any(cell != "–" for cell in cells):
            rows.append([panel.title, *cells])
    return Table(["First → last tenth of the run", *groups], rows)


def _ends(curves: Sequence[Sequence[float]]) -> str:
    """First and last tenth of the curves of one group as text."""
    curves = [values for values in curves if values]
    if not curves:
        return "–"
    first, last = zip(*map(ends, curves))
    around = f" ({_short(min(last))} to {_short(max(last))})" if len(curves) > 1 else ""
    return f"{_short(sum(first) / len(first))} → {_short(sum(last) / len(last))}{around}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _shares(summary: Mapping[str, Any]) -> list[tuple[str, float | None, Sequence[float] | None]]:
    """Label, value and interval of every share in an evaluation summary."""
    samples, interval = summary["num_samples"], summary["interval"]
    rows = [("Greedy accuracy", summary["greedy_accuracy"], interval.get("greedy_accuracy"))]
    if samples:
        rows += [
            (f"Sampled accuracy (mean of {samples})", summary["sampled_accuracy"], interval.get("sampled_accuracy")),
            (f"Majority of {samples}", summary["majority_accuracy"], interval.get("majority_accuracy")),
        ]
        # JSON turns the keys of `pass_at` into strings.
        rows += [(f"pass@{k}", value, None) for k, value in summary["pass_at"].items() if int(k) > 1]
    rows += [
        (f"{name} ({score['num_groups']} groups)", score["accuracy"], score["interval"])
        for name, score in summary.get("all_right", {}).items()
    ]
    return [
        *rows,
        ("Right format", summary["formatted"], None),
        ("No answer found", summary["unparsed"], None),
        ("Cut off at the token limit", summary["truncated"], None),
    ]
