# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The cards that an upload carries: of prepared rows and of scores, made from the parquet files, and of a model."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features, Value
from huggingface_hub import DatasetCardData

from mmr1_trl.data.prompts import fingerprint
from mmr1_trl.data.score_table import read_metadata
from mmr1_trl.errors import BadInputError
from mmr1_trl.hub.model_card import write_model_card
from mmr1_trl.hub.render import existing_license, hub_id, named, repo_name, write_card
from mmr1_trl.run_folder import KEPT_ROWS, SCORES


__all__ = ["write_dataset_card", "write_model_card", "write_score_card"]

BINS = ("never right", "up to 1/4", "1/4 to 1/2", "1/2 to 3/4", "above 3/4", "always right")


def write_dataset_card(
    folder: Path, repo_id: str | None = None, source: str | None = None, license: str | None = None
) -> Path:
    """
    Write `README.md` for prepared rows in parquet files.

    Args:
        folder (`Path`):
            Holds `<split>.parquet` or `<split>-00000-of-00002.parquet`, in itself or in subfolders.
        repo_id (`str`, *optional*):
            Where it is uploaded to.
        source (`str`, *optional*):
            What the rows were prepared from: a Hub id, `"figures"` or a file.
        license (`str`, *optional*):
            License of the rows, as the Hub writes it. Defaults to that of an existing card; the embedded pictures are
            under the package's own.

    Returns:
        `Path`: The card. One that somebody has written by hand is left as it is.

    Raises:
        [`BadInputError`]: There are no parquet files, or one cannot be read.
    """
    folder = Path(folder)
    splits = find_splits(folder)
    tables = {split: _read(files) for split, files in splits.items()}
    first = next(iter(tables.values()))
    features = Features.from_arrow_schema(pq.read_schema(next(iter(splits.values()))[0]))
    drawn = {"family", "level", "prompt_id"} <= set(features) and (source is None or source == "figures")
    counts = {split: len(table) for split, table in tables.items()}
    paths = {split: [file.relative_to(folder).as_posix() for file in files] for split, files in splits.items()}
    name, origin = repo_name(folder, repo_id), hub_id(source)
    data = DatasetCardData(
        license=license or existing_license(folder) or ("apache-2.0" if drawn else None),
        pretty_name=name,
        task_categories=["image-text-to-text" if "images" in features else "text-generation"],
        size_categories=_size_category(sum(counts.values())),
        tags=["trl", "mmr1-trl", "rlvr"],
        source_datasets=[origin] if origin else None,
        configs=[_config("default", paths)],
    )
    return write_card(
        folder,
        "dataset_card.md.jinja",
        data,
        name=name,
        repo_id=repo_id,
        source=named(source),
        drawn=drawn,
        columns={column: _type(feature) for column, feature in features.items()},
        counts=counts,
        prompts={split: len(set(rows["prompt_id"][:])) for split, rows in _having("prompt_id", tables)},
        answer_types=Counter(first["answer_type"][:]).most_common() if "answer_type" in first.column_names else [],
        style=first["prompt_style"][0] if "prompt_style" in first.column_names else None,
        fingerprints={split: fingerprint(rows) for split, rows in _having("prompt", tables)},
    )


def find_splits(folder: Path) -> dict[str, list[Path]]:
    """
    Group the parquet files of a folder by split, as the Hub does it by their names.

    Raises:
        [`BadInputError`]: There are none.
    """
    splits: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*.parquet")):
        split = re.sub(r"-\d{5}-of-\d{5}$", "", file.stem)
        splits.setdefault(split if re.fullmatch(r"\w+", split) else "train", []).append(file)
    if not splits:
        raise BadInputError(f"{folder} holds no .parquet file, so there is nothing to write a dataset card about.")
    order = ("train", "validation", "test")
    return dict(sorted(splits.items(), key=lambda item: (order.index(item[0]) if item[0] in order else 9, item[0])))


def _read(files: list[Path]) -> Dataset:
    """The columns that the card counts and hashes; no pictures."""
    wanted = ("prompt", "solution", "prompt_id", "answer_type", "prompt_style", "accepted_answers")
    try:
        schema = pq.read_schema(files[0])
        columns = [name for name in wanted if name in schema.names]
        table = pa.concat_tables([pq.read_table(file, columns=columns) for file in files])
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInputError(f"{files[0].parent} holds a .parquet file that cannot be read: {error}") from error
    return Dataset(table.replace_schema_metadata(None))


def _having(column: str, tables: dict[str, Dataset]) -> list[tuple[str, Dataset]]:
    return [(split, rows) for split, rows in tables.items() if column in rows.column_names]


def _config(name: str, paths: Mapping[str, str | list[str]]) -> dict[str, Any]:
    """How the Hub and `datasets` load the files of each split."""
    return {"config_name": name, "data_files": [{"split": split, "path": path} for split, path in paths.items()]}


def _type(feature: Any) -> str:
    """A feature in words: `list of Image`, `string`, `struct`."""
    inner = getattr(feature, "feature", None)
    if inner is not None:
        return f"list of {_type(inner)}"
    if isinstance(feature, dict):
        return "struct"
    return feature.dtype if isinstance(feature, Value) else type(feature).__name__


def _size_category(rows: int) -> str:
    """The Hub's name for so many rows."""
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for bound, name in bounds if rows < bound), "1M<n<10M")


def write_score_card(folder: Path, repo_id: str | None = None) -> Path:
    """
    Write `README.md` for the output of `mmr1 score`.

    Args:
        folder (`Path`):
            Holds `scores.parquet`, perhaps with `kept.parquet`.
        repo_id (`str`, *optional*):
            Where it is uploaded to.

    Returns:
        `Path`: The card. One that somebody has written by hand is left as it is.

    Raises:
        [`BadInputError`]: There are no scores, they cannot be read, or they are not by `mmr1 score`.
    """
    folder = Path(folder)
    metadata, columns, rates = _read_scores(folder)
    dataset, _, split = str(metadata["dataset"]).partition(" (")
    name, origin = repo_name(folder, repo_id), hub_id(dataset)
    has_kept = (folder / KEPT_ROWS).is_file()
    data = DatasetCardData(
        license=existing_license(folder),
        pretty_name=name,
        tags=["trl", "mmr1-trl", "rlvr", "pass-rates"],
        source_datasets=[origin] if origin else None,
        configs=[_config("default", {"train": SCORES})] + [_config("kept", {"train": KEPT_ROWS})] * has_kept,
    )
    return write_card(
        folder,
        "score_card.md.jinja",
        data,
        name=name,
        repo_id=repo_id,
        model=named(metadata["model"]),
        dataset=named(dataset) | {"split": split.removesuffix(")")},
        metadata=metadata,
        columns=columns,
        prompts=len(rates),
        mean=sum(rates) / len(rates),
        histogram=_histogram(rates),
        has_kept=has_kept,
    )


def _read_scores(folder: Path) -> tuple[dict[str, Any], list[str], list[float]]:
    """What a table of scores says about itself, its columns and the pass rates."""
    path = folder / SCORES
    if not path.is_file():
        raise BadInputError(f"{folder} holds no {SCORES}. Name the --output_dir of `mmr1 score`, which writes one.")
    try:
        metadata, columns = read_metadata(path), pq.read_schema(path).names
        table = pq.read_table(path, columns=[name for name in columns if name == "pass_rate"])
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path} is broken: {error} Give the `mmr1 score` command again.") from error
    if not {"prompt_id", "pass_rate"} <= set(columns):
        raise BadInputError(f"{path} was not written by `mmr1 score`: it lacks prompt_id or pass_rate.")
    if not metadata:
        raise BadInputError(f"{path} was not written by `mmr1 score`: it does not say what was scored.")
    return metadata, columns, table["pass_rate"].to_pylist()


def _histogram(rates: list[float]) -> list[tuple[str, int, float]]:
    """Label, number and share of the prompts by pass rate."""
    counts = dict.fromkeys(BINS, 0)
    for rate in rates:
        if rate in (0, 1):
            counts[BINS[0] if rate == 0 else BINS[-1]] += 1
        else:
            counts[BINS[1 + min(3, int(-(-rate * 4 // 1)) - 1)]] += 1
    return [(label, count, count / len(rates)) for label, count in counts.items()]
