# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Put the pages together: for evaluations, for training runs, and for a run between two evaluations."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.compare import Comparison, compare
from mmr1_trl.reporting.compute import FLOPS, compute_table, unfair
from mmr1_trl.reporting.curves import draw_svgs
from mmr1_trl.reporting.page import Gauge, Report, Sample
from mmr1_trl.reporting.runs import Run, group_runs
from mmr1_trl.reporting.samples import Evaluation, compared_samples, evaluation_samples, run_samples
from mmr1_trl.reporting.score_map import score_map_svgs
from mmr1_trl.reporting.tables import (
    Table,
    before_after_by,
    before_after_table,
    category_table,
    evaluation_table,
    points,
    runs_table,
)


ACCURACIES = (("Greedy accuracy", "greedy_accuracy"), ("Sampled accuracy", "sampled_accuracy"))  # that are drawn
RULE_BASED = (
    "Accuracies are rule-based: the training rewards' own answer matching. Leaderboards on which a judge model scores "
    "are another measure."
)
INTERVALS = "Intervals are 95 %: Wilson's for shares of prompts, a bootstrap over prompts where several samples count."
BANDS = (
    "Faint lines are the logged values, strong lines a running mean over a twentieth of the run; runs that differ in "
    "the seed are one band from the smallest to the largest."
)
STAGES = "Shaded spans of the entropy curve: there the schedule lifts entropy (explore) or lowers it (exploit)."
SCORES = "Prompt scores are what prompts are drawn by; the stronger the color, the more prompts have that score."


def evaluation_report(evaluations: Mapping[str, Evaluation], dataset: str) -> Report:
    """
    The page of one evaluation, or of two of the same rows side by side.

    Args:
        evaluations (`Mapping[str, Evaluation]`):
            One or two evaluations by label; of two the first is what the second is compared with.
        dataset (`str`):
            What they were evaluated on, for the headline.

    Returns:
        [`Report`]: The page.
    """
    labels = list(evaluations)
    if len(labels) == 1:
        return single_evaluation_report(labels[0], evaluations[labels[0]], dataset)
    if len(labels) > 2:
        raise BadInputError(f"Two evaluations can be compared in one report, not {len(labels)}.")
    before, after = evaluations.values()
    comparison = compare(before.predictions, after.predictions)
    return Report(
        title=f"{labels[1]} against {labels[0]} on {dataset}",
        summary=comparison_sentence(comparison),
        gauges=before_after_gauges(before.summary, after.summary),
        tables=before_after_tables(before.summary, after.summary),
        samples=compared_samples(evaluations, comparison),
        notes=[RULE_BASED, INTERVALS],
    )


def single_evaluation_report(label: str, evaluation: Evaluation, dataset: str) -> Report:
    """The page of one evaluation."""
    summary = evaluation.summary
    tables = [evaluation_table(summary)] + [
        category_table(summary, category) for category, values in summary["by"].items() if len(values) > 1
    ]
    return Report(
        title=f"{label} on {dataset}",
        summary=f"{summary['num_prompts']} prompts, {summary['num_samples']} samples each beside greedy decoding."
        + skipped_sentence(summary),
        gauges=[
            Gauge(title, None, summary[key], summary["interval"][key])
            for title, key in ACCURACIES
            if summary[key] is not None
        ],
        tables=tables,
        samples={"Greedy completions": evaluation_samples({label: evaluation})},
        notes=[RULE_BASED, INTERVALS],
    )


def training_report(title: str, run: Run, before: Evaluation, after: Evaluation) -> Report:
    """
    The page of one training run between two evaluations of the same rows.

    Args:
        title (`str`):
            Headline.
        run ([`Run`]):
            The training run.
        before ([`Evaluation`]), after ([`Evaluation`]):
            The evaluations of the model before and after it.

    Returns:
        [`Report`]: The page.
    """
    comparison = compare(before.predictions, after.predictions)
    return Report(
        title=title,
        summary=comparison_sentence(comparison) + skipped_sentence(after.summary),
        gauges=before_after_gauges(before.summary, after.summary),
        tables=[*before_after_tables(before.summary, after.summary), compute_table([run])],
        curves=draw_svgs([run]),
        maps=score_map_svgs([run]),
        groups=[run.name],
        samples={
            **compared_samples({"before": before, "after": after}, comparison),
            **run_samples(run),
        },
        notes=[RULE_BASED, INTERVALS, BANDS, FLOPS],
    )


def runs_report(runs: Sequence[Run], x_axis: str = "steps") -> Report:
    """
    The page of one or several training runs.

    Args:
        runs (`Sequence[Run]`):
            The runs; those that differ only in a seed share a color, and the completions shown are the first one's.
        x_axis (`str`, *optional*, defaults to `"steps"`):
            `"steps"` or `"rollouts"`.

    Returns:
        [`Report`]: The page.
    """
    groups = group_runs(runs)
    steps = max(run.history[-1]["step"] for run in runs)
    rollouts = max(entry.get("num_rollouts") or 0 for run in runs for entry in run.history)
    length = f"up to {steps:,} optimizer steps" + (f" and {rollouts:,.0f} rollouts" if rollouts else "")
    samples: dict[str, list[Sample]] = {}
    for members in groups.values():
        prefix = f"{members[0].name}: " if len(runs) > 1 else ""
        samples |= {prefix + title: rows for title, rows in run_samples(members[0]).items()}
    maps = score_map_svgs(runs, x_axis)
    staged = any(run.series(("entropy/coef",))[0] for run in runs)
    return Report(
        title=" · ".join(groups) if len(groups) < 5 else f"{len(groups)} configurations",
        summary=f"{len(runs)} run{'s' if len(runs) > 1 else ''}, {length}. {unfair(runs)}".strip(),
        tables=[runs_table(runs), compute_table(runs)],
        curves=draw_svgs(runs, x_axis),
        over={"steps": "optimizer steps", "rollouts": "all rollouts, those for scoring included"}[x_axis],
        maps=maps,
        groups=[f"{label} ({len(members)} seeds)" if len(members) > 1 else label for label, members in groups.items()],
        samples=samples,
        notes=[BANDS, FLOPS] + [STAGES] * staged + [SCORES] * bool(maps),
    )


def comparison_sentence(comparison: Comparison) -> str:
    """How far the greedy accuracy moved, with the interval of the paired difference, wins and losses."""
    low, high = comparison.interval
    return (
        f"On {comparison.num_prompts} prompts greedy accuracy changed by {points(0, comparison.difference)} points "
        f"(95 % interval of the paired difference: {points(0, low)} to {points(0, high)}); {len(comparison.wins)} "
        f"answers turned right and {len(comparison.losses)} turned wrong."
    )


def before_after_gauges(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Gauge]:
    """Greedy and, where both have it, sampled accuracy."""
    return [
        Gauge(title, before[key], after[key], after["interval"][key])
        for title, key in ACCURACIES
        if before[key] is not None and after[key] is not None
    ]


def before_after_tables(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Table]:
    """The whole comparison, then greedy accuracy by each category."""
    return [
        before_after_table(before, after),
        *(before_after_by(before, after, category) for category in before["by"] if len(before["by"][category]) > 1),
    ]


def skipped_sentence(summary: Mapping[str, Any]) -> str:
    """Says how many rows were left out, or nothing."""
    count = len(summary["skipped"])
    return f" Rows that cannot be used, left out: {count}." if count else ""
