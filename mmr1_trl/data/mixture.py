# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Several datasets in one run: what an entry of `datasets` may say, and the rows of all of them in one set."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, Value, concatenate_datasets
from transformers.utils import logging

from mmr1_trl.data.columns import STORED_IMAGES
from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.methods.label_noise import choose_rows


logger = logging.get_logger(__name__)

SOURCE, SOURCE_ROW = "source", "source_row"
_KEYS = ("name", "split", "test_split", "weight", "num_rows", "source")


def read_entries(datasets: Any, options: Sequence[str]) -> list[dict[str, Any]]:
    """
    Read the option `datasets`.

    Args:
        datasets (`list`):
            Names, and mappings with `name` and what differs from the options for all: `split`, `test_split` (`none` to
            leave it out of evaluations), `weight`, `num_rows`, `source` (what to call it), and `options`.
        options (`Sequence[str]`):
            Further keys that are known.

    Returns:
        `list[dict[str, Any]]`: The mappings, each with a `source` of its own.

    Raises:
        [`BadInputError`]: It is something else, a key is unknown, or two entries have the same `source`.
    """
    known = (*_KEYS, *options)
    if not isinstance(datasets, list) or not datasets:
        raise BadInputError(f"datasets must be a list of datasets, and it is {str(datasets)[:80]!r}.")
    entries: list[dict[str, Any]] = []
    for number, entry in enumerate(datasets):
        where = f"datasets, entry {number}"
        if isinstance(entry, str):
            entry = {"name": entry}
        if not isinstance(entry, Mapping):
            raise BadInputError(f"{where} must be a name or a mapping with `name`, and it is {str(entry)[:80]!r}.")
        if "path" in entry:
            raise BadInputError(f"{where}: TRL's `path` is `name` here, and its `name` is `config`.")
        for key in entry:
            if key not in known:
                near = did_you_mean(str(key), known)
                raise BadInputError(f"{where}: unknown key {key!r}.{near} It takes {', '.join(known)}.")
        if not isinstance(entry.get("name"), str):
            raise BadInputError(f"{where} has no `name`, the dataset's file, folder or Hub id.")
        weight, rows = entry.get("weight", 1.0), entry.get("num_rows")
        number_like = isinstance(weight, int | float) and not isinstance(weight, bool) and math.isfinite(weight)
        if not number_like or not 0 < weight <= 1000:
            raise BadInputError(
                f"{where}: weight={weight!r} is no number above 0. 2 takes each row twice, 0.25 a quarter of them."
            )
        if rows is not None and (not isinstance(rows, int) or isinstance(rows, bool) or rows < 1):
            raise BadInputError(f"{where}: num_rows={rows!r} is no number of rows, 1 or more.")
        source = entry["name"] + (f" ({entry['config']})" if entry.get("config") else "")
        entries.append({"source": source, **entry})
    for source, count in Counter(entry["source"] for entry in entries).items():
        if count > 1:
            raise BadInputError(f"datasets: {count} entries are called {source!r}. Tell them apart by `source: NAME`.")
    return entries


def number_rows(dataset: Dataset, source: str) -> Dataset:
    """
    Give rows the columns `source` and `source_row`, by which messages and reports name them in a mixture.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows as published. Columns of these names become `published_source` and `published_source_row`.
        source (`str`):
            What the dataset is called.
    """
    for name in (SOURCE, SOURCE_ROW):
        if name in dataset.column_names and f"published_{name}" in dataset.column_names:
            dataset = dataset.remove_columns(name)
        elif name in dataset.column_names:
            dataset = dataset.rename_column(name, f"published_{name}")
    dataset = dataset.add_column(SOURCE, [source] * len(dataset), feature=Value("string"))
    return dataset.add_column(SOURCE_ROW, list(range(len(dataset))), feature=Value("int64"))


def row_names(dataset: Dataset) -> Callable[[int], str]:
    """Return what to call a row in a message: its number, and in a mixture that in its own dataset."""
    if not {SOURCE, SOURCE_ROW} <= set(dataset.column_names):
        return "row {}".format
    own = dataset.select_columns([SOURCE, SOURCE_ROW])
    return lambda row: f"row {row} (row {own[row][SOURCE_ROW]} of {own[row][SOURCE]})"


def mix_rows(parts: Mapping[str, Dataset], weights: Mapping[str, float] | None = None) -> Dataset:
    """
    Put the rows of several datasets together, one dataset after the other.

    Args:
        parts (`Mapping[str, Dataset]`):
            Training rows, see [`~mmr1_trl.data.prepare.prepare_dataset`], by what their dataset is called.
        weights (`Mapping[str, float]`, *optional*):
            How often a dataset's rows occur, 1 by default: 2 takes every row twice (as one prompt), 0.25 a quarter of
            the rows, always the same ones.

    Returns:
        [`~datasets.Dataset`]: With the columns of all of them, empty where a dataset has none; `source` and
        `source_row`; and prompt ids that differ between datasets. A column whose values cannot be brought into one
        type is left out with a warning.
    """
    named = {}
    taken: set[Any] = set()
    for source, rows in parts.items():
        rows = rows if {SOURCE, SOURCE_ROW} <= set(rows.column_names) else number_rows(rows, source)
        rows = _weighted(rows, (weights or {}).get(source, 1.0), source)
        named[source] = _with_own_ids(rows, taken)
    if any("images" in rows.column_names for rows in named.values()):
        for source, rows in named.items():
            if "images" not in rows.column_names:
                empty: list[list[Any]] = [[] for _ in range(len(rows))]
                named[source] = rows.add_column("images", empty, feature=STORED_IMAGES)
    if any("prompt_style" in rows.column_names for rows in named.values()):
        for source, rows in named.items():
            if "prompt_style" not in rows.column_names:
                style = "figures" if {"family", "level"} <= set(rows.column_names) else "plain"
                named[source] = rows.add_column("prompt_style", [style] * len(rows), feature=Value("string"))
    return concatenate_datasets(_in_one_type(list(named.values())))


def _weighted(rows: Dataset, weight: float, source: str) -> Dataset:
    if weight == 1:
        return rows
    whole = int(weight)
    indices = list(range(len(rows))) * whole
    keys = rows["prompt_id"][:] if "prompt_id" in rows.column_names else list(range(len(rows)))
    indices += np.flatnonzero(choose_rows(keys, weight - whole, seed=0)).tolist()
    if not indices:
        raise BadInputError(f"{source}: weight {weight} of {len(rows)} rows is none. Raise it, or leave it out.")
    return rows.select(indices)


def _with_own_ids(rows: Dataset, taken: set[Any]) -> Dataset:
    """Tell a prompt id from the same one in an earlier dataset, as texts; `taken` grows by the dataset's."""
    if "prompt_id" not in rows.column_names:
        return rows
    ids = [str(key) for key in rows["prompt_id"][:]]
    others = {}
    for key in dict.fromkeys(ids):
        other, count = key, 2
        while other in taken:
            other, count = f"{key}-{count}", count + 1
        others[key] = other
    taken |= set(others.values())
    return rows.remove_columns("prompt_id").add_column(
        "prompt_id", [others[key] for key in ids], feature=Value("string")
    )


def _in_one_type(parts: list[Dataset]) -> list[Dataset]:
    names = dict.fromkeys(name for rows in parts for name in rows.column_names)
    for name in names:
        features = [rows.features[name] for rows in parts if name in rows.column_names]
        if all(feature == features[0] for feature in features):
            continue
        common = _common(features)
        if common is None:
            logger.warning(f"Column {name!r} is left out: the datasets have {' and '.join(map(str, features))} there.")
            parts = [rows.remove_columns(name) if name in rows.column_names else rows for rows in parts]
            continue
        parts = [_cast(rows, name, common) if name in rows.column_names else rows for rows in parts]
    return parts


def _common(features: list[Any]) -> Any:
    """A feature that the values of all of them fit into; `None` where there is none."""
    if not all(isinstance(feature, Value | ClassLabel) for feature in features):
        return None
    types = [pa.string() if isinstance(feature, ClassLabel) else feature.pa_type for feature in features]
    if all(pa.types.is_null(kind) or pa.types.is_integer(kind) for kind in types):
        return Value("int64")
    if all(pa.types.is_null(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in types):
        return Value("float64")
    if all(pa.types.is_null(kind) or pa.types.is_boolean(kind) for kind in types):
        return Value("bool")
    return Value("string")


def _cast(rows: Dataset, name: str, common: Any) -> Dataset:
    feature, values = rows.features[name], rows[name][:]
    if isinstance(feature, ClassLabel):
        values = [None if value is None else feature.names[value] for value in values]
    elif common.dtype == "string":
        texts = [
            value if value is None or isinstance(value, str) else json.dumps(value, default=str) for value in values
        ]
        values = texts
    return rows.remove_columns(name).add_column(name, values, feature=common)
