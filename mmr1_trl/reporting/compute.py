# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What runs have spent: updates, rollouts, tokens and FLOPs, beside each other, and whether the comparison is fair."""

import contextlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmr1_trl.errors import BadInputError
from mmr1_trl.reporting.runs import Run, group_runs
from mmr1_trl.reporting.tables import Table
from mmr1_trl.run_folder import RUN_FILE, read_json


FLOPS = (
    "FLOPs are estimated: 2 per parameter and token in a forward pass and 4 in a backward one, over sampling, update, "
    "old and reference log-probs; attention's own share, the vision tower and refreshes are left out."
)


@dataclass(frozen=True)
class Spent:
    """
    What one run has spent; `None` where its folder does not say.

    Args:
        updates (`int`):
            Optimizer steps.
        rollouts (`float`, *optional*), tokens (`float`, *optional*):
            Completions sampled, those for scores and initial values included; tokens of prompts and completions in
            the generation batches, the prompt counted once per completion.
        updates_per_batch (`float`, *optional*):
            Optimizer steps from one generation batch to the next.
        flops (`float`, *optional*):
            An estimate, see [`estimate_flops`].
    """

    updates: int
    rollouts: float | None = None
    tokens: float | None = None
    updates_per_batch: float | None = None
    flops: float | None = None


def estimate_flops(parameters: float, tokens: float, computed: float, arguments: Mapping[str, Any]) -> float:
    """
    Estimate the floating-point operations of a run by the usual rule: 2 per parameter and token forward, 4 backward.

    Tokens are sampled once, and pass `num_iterations` times through the update; a reference model adds a forward pass
    (`beta` other than 0), log-probs of the sampling policy another one where updates and generation do not meet, and
    gradient checkpointing one per update. Attention's own share, vision towers and the tokens of refreshes are left
    out.

    Args:
        parameters (`float`):
            Parameters of the model.
        tokens (`float`), computed (`float`):
            Tokens that were sampled over, and those that a training pass really computed (fewer where prompts are
            shared).
        arguments (`Mapping`):
            The run's options.
    """
    iterations = arguments.get("num_iterations") or 1
    accumulation = arguments.get("gradient_accumulation_steps") or 1
    passes = iterations * (4 if arguments.get("gradient_checkpointing") else 3)
    passes += bool(arguments.get("beta"))
    passes += accumulation % ((arguments.get("steps_per_generation") or 1) * iterations) != 0
    return 2 * parameters * (tokens + passes * computed)


def spent(run: Run) -> Spent:
    """Return what a run has spent, as far as its log and its `mmr1_run.json` say it."""
    path = run.folder / RUN_FILE
    facts: dict[str, Any] = {}
    with contextlib.suppress(BadInputError):  # not there, or damaged
        facts = read_json(path)
    arguments = facts.get("arguments") or {}
    rollouts, tokens = _last(run, "num_rollouts"), _last(run, "num_tokens")
    window, accumulation = arguments.get("steps_per_generation"), arguments.get("gradient_accumulation_steps")
    per_batch = window * (arguments.get("num_iterations") or 1) / accumulation if window and accumulation else None
    flops = None
    if tokens is not None and facts.get("parameters"):
        saved = run.series(("tokens/share_saved",))[1]
        computed = tokens * (1 - (statistics.fmean(saved) if saved else 0.0))
        flops = estimate_flops(facts["parameters"], tokens, computed, arguments)
    return Spent(run.history[-1]["step"], rollouts, tokens, per_batch, flops)


def compute_table(runs: Sequence[Run]) -> Table:
    """One column for each group of runs, with the mean over its runs."""
    groups = {name: [spent(run) for run in members] for name, members in group_runs(runs).items()}
    titles = {
        "updates": "Optimizer updates",
        "updates_per_batch": "Updates per generation batch",
        "rollouts": "Rollouts, those for scoring included",
        "tokens": "Tokens, prompts counted per rollout",
        "flops": "FLOPs, estimated",
    }
    rows = []
    for field, title in titles.items():
        values = [[getattr(one, field) for one in members] for members in groups.values()]
        if any(value is not None for one in values for value in one):
            rows.append([title, *(_mean(one) for one in values)])
    return Table(["Spent", *groups], rows)


def unfair(runs: Sequence[Run]) -> str:
    """
    Say where runs that are compared differ in what was done with a rollout, or return an empty text.

    More updates on the same rollouts move a policy further and may break it: a difference between two methods is then
    one between two settings.
    """
    each = {run.name: spent(run).updates_per_batch for run in runs}
    known = {name: value for name, value in each.items() if value is not None}
    if len(set(known.values())) < 2:
        return ""
    said = ", ".join(f"{name} {value:g}" for name, value in known.items())
    return (
        f"These runs differ in updates per generation batch ({said}): what is between them may come from that "
        "rather than from their methods."
    )


def _last(run: Run, key: str) -> float | None:
    return next((float(entry[key]) for entry in reversed(run.history) if entry.get(key) is not None), None)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = statistics.fmean(known)
    return f"{mean:,.0f}" if 10 <= mean < 1e9 else f"{mean:.3g}"
