# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Pass rates of prompts: read from where the user says, or measured by rollouts before the first step."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from datasets import Dataset, load_dataset
from tqdm.auto import tqdm

from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.methods.value_tracker import jeffreys


if TYPE_CHECKING:
    from mmr1_trl.trainers.rlvr_trainer import RLVRTrainer

_BUILDERS = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv"}


def read_pass_rates(source: str, dataset: Dataset, slots: torch.Tensor) -> torch.Tensor:
    """
    Read one pass rate per distinct prompt.

    Args:
        source (`str`):
            A column of `dataset`; else a local `.parquet`, `.json`, `.jsonl` or `.csv` file, or a dataset id on the
            Hub, with the columns `prompt_id` and `pass_rate`.
        dataset ([`~datasets.Dataset`]):
            Training rows.
        slots (`torch.Tensor` of shape `(num_rows,)`):
            Prompt of each row.

    Returns:
        `torch.Tensor` of shape `(num_prompts,)`, float64; NaN for prompts without a pass rate.

    Raises:
        [`BadInputError`]: No such column or file, missing columns, no prompt in common, or a value outside 0..1.
    """
    pass_rates = torch.full((int(slots.max()) + 1,), math.nan, dtype=torch.float64)
    if source in dataset.column_names:
        values = torch.tensor([math.nan if v is None else float(v) for v in dataset[source]], dtype=torch.float64)
        pass_rates[slots] = values
    else:
        if "prompt_id" not in dataset.column_names:
            raise BadInputError(
                f"prompt_scores={source!r} is joined by 'prompt_id', which train_dataset does not have; its columns "
                f"are {dataset.column_names}.{did_you_mean(source, dataset.column_names)}"
            )
        table = _load_table(source, dataset.column_names)
        known = dict(zip(table["prompt_id"], table["pass_rate"]))
        ids = dataset["prompt_id"][:]
        matched = [(slot, known[i]) for slot, i in zip(slots.tolist(), ids) if i in known]
        if not matched:
            raise BadInputError(f"prompt_scores={source!r} has no prompt_id in common with train_dataset.")
        pass_rates[[slot for slot, _ in matched]] = torch.tensor([float(v) for _, v in matched], dtype=torch.float64)
    bad = (pass_rates < 0) | (pass_rates > 1)
    if bad.any():
        raise BadInputError(f"prompt_scores={source!r}: a pass rate of {pass_rates[bad][0].item()} is not in 0..1.")
    return pass_rates


def _load_table(source: str, columns: list[str]) -> Dataset:
    path = Path(source)
    if path.suffix in _BUILDERS and not path.is_file():
        raise BadInputError(f"prompt_scores: no file {source}.")
    try:
        if path.is_file():
            table = load_dataset(_BUILDERS[path.suffix], data_files=source, split="train")
        else:
            table = load_dataset(source, split="train")
    except (OSError, ValueError, KeyError) as error:
        raise BadInputError(
            f"prompt_scores={source!r} is no column of train_dataset ({columns}), no .parquet, .json, .jsonl or .csv "
            f"file, and no dataset on the Hub that can be loaded ({type(error).__name__})."
        ) from error
    missing = {"prompt_id", "pass_rate"} - set(table.column_names)
    if missing:
        raise BadInputError(f"prompt_scores={source!r} has no column {sorted(missing)}; it has {table.column_names}.")
    return table


def initial_pass_rates(trainer: "RLVRTrainer", num_rollouts: int, smooth: bool) -> torch.Tensor:
    """
    Measure the pass rate of every prompt with the current policy.

    Args:
        trainer ([`RLVRTrainer`]):
            Trainer inside its training loop. Every rank must call this at the same step.
        num_rollouts (`int`):
            Rollouts per prompt.
        smooth (`bool`):
            Whether to smooth by Jeffreys' prior.

    Returns:
        `torch.Tensor` of shape `(num_prompts,)`, float64; NaN for prompts whose completions could not be scored.
    """
    slots = trainer.prompt_slots
    num_prompts = int(slots.max()) + 1
    first_rows = torch.full((num_prompts,), len(slots)).scatter_reduce(0, slots, torch.arange(len(slots)), "amin")
    rows = first_rows.repeat_interleave(num_rollouts)
    successes = torch.zeros(num_prompts, dtype=torch.float64)
    trials = torch.zeros(num_prompts, dtype=torch.float64)
    ranks, rank = trainer.accelerator.num_processes, trainer.accelerator.process_index
    batch = trainer.args.prompts_per_generation * trainer.num_generations
    progress = tqdm(
        total=len(rows), desc="Initial rollouts", unit="rollout", disable=not trainer.accelerator.is_main_process
    )
    for start in range(0, len(rows), batch):
        chunk = rows[start : start + batch]
        # Every rank makes the same number of calls of the same size: the last chunk is filled up, and cut afterwards.
        filled = torch.cat([chunk, chunk[-1:].expand(-len(chunk) % (ranks * trainer.num_generations))])
        share = len(filled) // ranks
        rewards = trainer.score_rows(filled[rank * share : (rank + 1) * share]).cpu()[: len(chunk)]
        scored = ~torch.isnan(rewards)
        where = slots[chunk][scored]
        outcomes = (rewards[scored] > trainer.args.tracker_success_threshold).double()
        successes.index_add_(0, where, outcomes)
        trials.index_add_(0, where, torch.ones_like(outcomes))
        progress.update(len(chunk))
    progress.close()
    rates = jeffreys(successes, trials) if smooth else successes / trials
    return torch.where(trials > 0, rates, torch.full_like(rates, math.nan))
