# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Scores of prompts as a file: what `prompt_scores` reads, and what `mmr1 score` writes."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from datasets import Dataset, load_dataset
from datasets.exceptions import DatasetsError

from mmr1_trl.data.prompts import Prompts
from mmr1_trl.data.sources import BUILDERS, split_revision
from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.run_folder.files import replacing


METADATA_KEY = b"mmr1_trl.scores"


@dataclass
class PromptTable:
    """What a source says about each distinct prompt: float64 tensors of shape `(num_prompts,)`, NaN where unknown."""

    pass_rates: torch.Tensor
    counts: torch.Tensor
    diversity: torch.Tensor
    scores: torch.Tensor


def read_prompt_table(source: str, prompts: Prompts, needs_pass_rates: bool = True) -> PromptTable:
    """
    Read what is known about each distinct prompt.

    Args:
        source (`str`):
            A column of the rows: pass rates, or ready-made scores if it is called `score`. Else a local `.parquet`,
            `.json`, `.jsonl` or `.csv` file, or a dataset on the Hub (`id` or `id@revision`), with the columns
            `prompt_id` and `pass_rate` (or `score`), and optionally `count`, `diversity` and `content` (a hash of each
            question).
        prompts ([`~mmr1_trl.data.prompts.Prompts`]):
            The training set, with its rows.
        needs_pass_rates (`bool`, *optional*, defaults to `True`):
            Whether to refuse a source that has only scores.

    Returns:
        [`PromptTable`]: Where a table has pass rates, its own scores are left aside: they follow from the weights of
        this run.

    Raises:
        [`BadInputError`]: No such column or file, missing columns, no prompt in common, other questions under the same
            ids, a pass rate or diversity outside 0..1, or a negative score.
    """
    dataset = prompts.require_rows()
    names = ("pass_rate", "count", "diversity", "score")
    values = {name: torch.full((prompts.count,), math.nan, dtype=torch.float64) for name in names}
    if source in dataset.column_names:
        values["score" if source == "score" else "pass_rate"][prompts.numbers] = _as_tensor(
            source, source, dataset[source]
        )
    else:
        _join(source, dataset, prompts, values)
    for name, high in (("pass_rate", 1.0), ("diversity", 1.0), ("score", math.inf), ("count", math.inf)):
        bad = (values[name] < 0) | (values[name] > high)
        if bad.any():
            wanted = "in 0..1" if high == 1.0 else "a number from 0 on"
            raise BadInputError(
                f"prompt_scores={source!r}: a {name.replace('_', ' ')} of {values[name][bad][0].item()} is not "
                f"{wanted}."
            )
    if needs_pass_rates and values["pass_rate"].isnan().all():
        raise BadInputError(
            f"prompt_scores={source!r} has no pass rates. Ready-made scores can only be drawn by, and as they are: "
            "prompt_sampling='variance_aware' with vas_refresh='off'."
        )
    return PromptTable(values["pass_rate"], values["count"], values["diversity"], values["score"])


def _join(source: str, dataset: Dataset, prompts: Prompts, values: dict[str, torch.Tensor]) -> None:
    """Fill `values` from a table, by prompt id."""
    if "prompt_id" not in dataset.column_names:
        raise BadInputError(
            f"prompt_scores={source!r} is joined by 'prompt_id', which train_dataset does not have; its columns "
            f"are {dataset.column_names}.{did_you_mean(source, dataset.column_names)}"
        )
    table = _load_table(source, dataset.column_names)
    where = {prompt_id: i for i, prompt_id in enumerate(table["prompt_id"])}
    matched = [(row, where[i]) for row, i in enumerate(dataset["prompt_id"][:]) if i in where]
    if not matched:
        raise BadInputError(f"prompt_scores={source!r} has no prompt_id in common with train_dataset.")
    rows, entries = (list(column) for column in zip(*matched))
    if "content" in table.column_names:
        scored = table["content"][:]
        digests = prompts.digests
        other = next((row for row, entry in matched if digests[row] != scored[entry]), None)
        if other is not None:
            raise BadInputError(
                f"prompt_scores={source!r} was made for other data{_origin(source)}: row {other} of train_dataset "
                f"(prompt_id {dataset['prompt_id'][other]!r}) has another question, prompt style or answer than the "
                "row that was scored. Score this dataset by `mmr1 score`."
            )
    for name in values.keys() & set(table.column_names):
        column = _as_tensor(source, name, table[name])
        values[name][prompts.numbers[rows]] = column[entries]
    if "pass_rate" in table.column_names:
        values["score"].fill_(math.nan)


def _as_tensor(source: str, name: str, column: Any) -> torch.Tensor:
    try:
        return torch.tensor([math.nan if v is None else float(v) for v in column], dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise BadInputError(
            f"prompt_scores={source!r}: the column {name!r} does not hold numbers ({error})."
        ) from error


def _origin(source: str) -> str:
    """Say where a table of `mmr1 score` comes from."""
    described = read_metadata(source) if source.endswith(".parquet") and Path(source).is_file() else {}
    return f" ({described['dataset']}, scored by {described['model']})" if described else ""


def _load_table(source: str, columns: list[str]) -> Dataset:
    path = Path(source)
    if path.suffix in BUILDERS and not path.is_file():
        raise BadInputError(f"prompt_scores: no file {source}.")
    try:
        if path.is_file():
            table = load_dataset(BUILDERS[path.suffix], data_files=source, split="train")
        else:
            repo_id, revision = split_revision(source)
            table = load_dataset(repo_id, revision=revision, split="train")
    except (DatasetsError, OSError, RuntimeError, ValueError, KeyError) as error:
        raise BadInputError(
            f"prompt_scores={source!r} is no column of train_dataset ({columns}), no {', '.join(BUILDERS)} "
            f"file, and no dataset on the Hub that can be loaded ({type(error).__name__})."
        ) from error
    found = set(table.column_names)
    if "prompt_id" not in found or not found & {"pass_rate", "score"}:
        missing = "prompt_id" if "prompt_id" not in found else "pass_rate"
        raise BadInputError(f"prompt_scores={source!r} has no column {missing!r}; it has {table.column_names}.")
    return table


def write_table(path: Path, columns: dict[str, list[Any]], metadata: dict[str, Any]) -> None:
    """
    Write a table of scores as parquet, with what it depends on in the schema's metadata.

    Args:
        path (`Path`):
            Where to write. A reader sees the old file or the new one, never a part.
        columns (`dict[str, list]`):
            One value per distinct prompt.
        metadata (`dict`):
            Model, revision, sampling parameters, reward, dataset and its fingerprint, and so on.
    """
    table = Dataset.from_dict(columns).with_format("arrow")[:]
    schema = table.schema.metadata or {}
    table = table.replace_schema_metadata(schema | {METADATA_KEY: json.dumps(metadata).encode()})
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata that [`write_table`] wrote, empty for a parquet file of somebody else's."""
    metadata = pq.read_schema(path).metadata or {}
    return json.loads(metadata.get(METADATA_KEY, b"{}"))
