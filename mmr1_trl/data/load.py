# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""One name, one dataset: the embedded set, local files and folders, and the Hub."""

import json
import os
import re
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, ReadInstruction, concatenate_datasets, load_dataset, load_from_disk
from datasets.exceptions import DatasetsError

from mmr1_trl.data.mixture import number_rows
from mmr1_trl.data.pictures.images import ImageFolders, without_images
from mmr1_trl.data.prepare import prepare_dataset
from mmr1_trl.data.sources import BUILDERS, check_dataset_name
from mmr1_trl.errors import BadInputError, did_you_mean, first_line


# Where one JSON object keeps its rows, beside what describes them all.
_ROW_LISTS = ("data", "rows", "examples", "questions", "annotations", "samples", "instances", "items")
_SPLITS = ("train", "validation", "valid", "val", "dev", "eval", "test")


def load_data(
    name: str,
    split: str = "train",
    *,
    config: str | None = None,
    revision: str | None = None,
    num_rows: int | None = None,
    seed: int = 0,
    families: list[str] | None = None,
    levels: list[int] | None = None,
    prompt_style: str | None = None,
    image_root: str | None = None,
    source: str | None = None,
    **prepare: Any,
) -> Dataset:
    """
    Load a dataset and prepare its rows for training or evaluation.

    Args:
        name (`str`):
            `"figures"` (drawn here), a local `.parquet`, `.jsonl`, `.json`, `.csv` or `.arrow` file, a folder (of such
            files, of pictures, or from `Dataset.save_to_disk`), or a dataset id on the Hub. `id@split` names the split
            as well.
        split (`str`, *optional*, defaults to `"train"`):
            Split, or a slice of one such as `"train[:1000]"`.
        config (`str`, *optional*):
            Configuration name of a Hub dataset.
        revision (`str`, *optional*):
            Branch, tag or commit of a Hub dataset.
        num_rows (`int`, *optional*):
            Take only the first so many rows; for `figures`, how many are drawn.
        seed (`int`, *optional*, defaults to `0`):
            Seed of `figures`.
        families (`list[str]`, *optional*), levels (`list[int]`, *optional*):
            Kinds and levels of questions that `figures` draws.
        prompt_style (`str`, *optional*):
            How to ask. Defaults to `"plain"`; the questions of `figures` say it themselves.
        image_root (`str`, *optional*):
            Folder that relative image paths start from and stay below. Defaults to the folder of a local file.
        source (`str`, *optional*):
            Adds the columns `source` (this name) and `source_row` (the number of the row as published), for a mixture
            of datasets.
        **prepare:
            Further arguments of [`~mmr1_trl.data.prepare.prepare_dataset`], such as `answer_column`.

            `image_column="none"` leaves the pictures out.

    Returns:
        [`~datasets.Dataset`]: Training rows, see [`~mmr1_trl.data.prepare.prepare_dataset`].

    Raises:
        [`BadInputError`]: There is no such dataset or split, or its rows cannot be prepared.
    """
    if prepare.get("image_column") == "none":
        prepare |= {"image_column": None}
        rows = load_data(
            name, split, config=config, revision=revision, num_rows=num_rows, seed=seed, families=families,
            levels=levels, prompt_style=prompt_style, image_root=image_root, source=source, **prepare,
        )  # fmt: skip
        return without_images(rows)
    if name == "figures":
        from mmr1_trl.data.figures import load_figures

        prepare.pop("coordinates", None)  # the questions name no unit
        named = {"dataset_config": config, "dataset_revision": revision}
        _refuse_for_figures(prompt_style, {"image_root": image_root} | prepare | named)
        count = {} if num_rows is None else {"num_rows": num_rows}
        drawn = load_figures(split=split, seed=seed, families=families, levels=levels, **count)
        return drawn if source is None else number_rows(drawn, source)
    raw, folders = load_raw(name, split, config, revision, num_rows)
    if source is not None:
        raw = number_rows(raw, source)
    try:
        folders = folders.starting_from(image_root)
        return prepare_dataset(raw, prompt_style=prompt_style or "plain", image_root=folders, **prepare)
    except BadInputError as error:
        raise BadInputError(f"{name} ({split}): {error}") from error


def _refuse_for_figures(prompt_style: str | None, options: dict[str, Any]) -> None:
    without_effect = {None, "xyxy", "auto", "error", "skip"}  # what the other options say of rows that are in order
    given = [name for name, value in options.items() if value not in without_effect]
    given += ["prompt_style"] if prompt_style not in (None, "figures") else []
    if given:
        raise BadInputError(
            f"The questions and answers of 'figures' are drawn as they are: leave out --{', --'.join(given)}"
            + (" (or give --prompt_style figures)." if "prompt_style" in given else ".")
        )


def load_raw(
    name: str,
    split: str = "train",
    config: str | None = None,
    revision: str | None = None,
    num_rows: int | None = None,
) -> tuple[Dataset, ImageFolders]:
    """
    Load a dataset as it is stored.

    Args:
        name (`str`):
            File, folder or Hub id, as for [`load_data`]; not `"figures"`.
        split (`str`, *optional*, defaults to `"train"`):
            Split, or a slice of one.
        config (`str`, *optional*):
            Configuration name of a Hub dataset.
        revision (`str`, *optional*):
            Branch, tag or commit of a Hub dataset.
        num_rows (`int`, *optional*):
            Take only the first so many rows.

    Returns:
        `tuple[Dataset, ImageFolders]`: The rows, and where their image paths start from and may lead: anywhere from
        the folder of a local dataset, but of one from the Hub only to what was downloaded of it.

    Raises:
        [`BadInputError`]: There is no such dataset or split.
    """
    if num_rows is not None and num_rows < 1:
        raise BadInputError(f"{num_rows} rows of {name!r} were asked for. Ask for 1 or more, or leave the number out.")
    rows, folders = _load(name, split, config, revision)
    return rows if num_rows is None else rows.select(range(min(num_rows, len(rows)))), folders


def _load(name: str, split: str, config: str | None, revision: str | None) -> tuple[Dataset, ImageFolders]:
    check_dataset_name(name)
    path = Path(name)
    if os.path.isfile(name):
        return _load_files(path, split), ImageFolders(str(path.parent))
    if os.path.isdir(name):
        return _load_folder(path, split), ImageFolders(str(path))
    repo, _, named_split = name.partition("@")
    try:
        rows = load_dataset(repo, config, split=named_split or split, revision=revision)
        if rows.column_names == ["image"]:
            raise BadInputError(
                f"{repo} loads as bare pictures. If a table such as {split}.json lies beside them, download all of it "
                f"and name the folder: `hf download {repo} --repo-type dataset --local-dir data/{Path(repo).name}`, "
                f"then --dataset_name data/{Path(repo).name}."
            )
        return rows, ImageFolders(own=_downloads(repo))
    except (DatasetsError, OSError, RuntimeError) as error:  # not there, broken, or a script that nobody runs any more
        raise BadInputError(
            f"{name!r} is neither 'figures', nor a local file or folder, nor a dataset that can be loaded from the "
            f"Hub: {first_line(error).rstrip('.')}.{did_you_mean(name, ['figures'])}"
        ) from error
    except ValueError as error:  # an unknown split or configuration, with the known ones in the message
        raise BadInputError(f"{name!r}: {first_line(error)}") from error


def _downloads(repo: str) -> tuple[str, ...]:
    """The folders that the files of a Hub dataset are downloaded and unpacked to."""
    from datasets import config
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    hub = os.path.join(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="dataset"))
    return hub, str(config.DOWNLOADED_DATASETS_PATH), str(config.EXTRACTED_DATASETS_PATH)


def _load_files(path: Path, split: str) -> Dataset:
    """Load one file, whose rows are the split that was asked for."""
    base = re.split(r"[\[+]", split)[0]
    try:
        if path.suffix == ".json" and (rows := _rows_of_object(path)):
            names = dict.fromkeys(name for row in rows for name in row)
            columns = {name: [row.get(name) for row in rows] for name in names}
            return _part(Dataset.from_dict(columns, on_mixed_types="use_json"), base, split)
        return load_dataset(BUILDERS[path.suffix], data_files={base: str(path)}, split=split)
    except Exception as error:  # the builders wrap whatever their parser raises
        reason = error.__cause__ or error
        # what the builders of JSON, CSV and parquet say to a file without a row
        if isinstance(reason, StopIteration) or re.search("corresponds to no data|BatchSize must be", str(reason)):
            raise BadInputError(f"{path} holds no rows.") from error
        raise BadInputError(f"{path} cannot be read as {path.suffix[1:]}: {first_line(reason)}") from error


def _rows_of_object(path: Path) -> list[dict[str, Any]]:
    """
    The rows of a file that is one JSON object: rows by their ids (MathVista, LogicVista), or one list of rows beside
    what describes them all (DocVQA's `data`). Empty for any other file.
    """
    with open(path, encoding="utf-8") as file:
        start = file.readline().strip()
        if not start.startswith("{") or (start.endswith("}") and file.readline().strip()):  # one object a line
            return []
        file.seek(0)
        try:
            found = json.load(file)
        except (ValueError, RecursionError):  # broken: the builder says how
            return []
    if lists := [found[name] for name in _ROW_LISTS if isinstance(found.get(name), list)]:
        rows = lists[0] if len(lists) == 1 else []
    else:
        rows = [{"id": name} | row for name, row in found.items() if isinstance(row, dict)]
        rows = rows if len(rows) == len(found) > 1 else []
    return rows if all(isinstance(row, dict) for row in rows) else []


def _part(rows: Dataset, base: str, split: str) -> Dataset:
    """The rows of a split such as `train[:100]`, where all of them are `train`."""
    parts = ReadInstruction.from_spec(split).to_absolute({base: len(rows)})
    return concatenate_datasets(
        [rows.select(range(part.from_ or 0, len(rows) if part.to is None else part.to)) for part in parts]
    )


def _load_folder(path: Path, split: str) -> Dataset:
    base = re.split(r"[\[+]", split)[0]
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        if base != split:
            raise BadInputError(
                f"{path} was saved by save_to_disk, of which there are no parts such as {split!r}. Ask for {base!r}, "
                "and for fewer rows by --num_train_rows or --num_eval_rows (--num_rows of `mmr1 eval`)."
            )
        saved = load_from_disk(str(path))
        if not isinstance(saved, DatasetDict):
            return saved
        if split not in saved:
            raise BadInputError(f"{path} has no split {split!r}; it has {list(saved)}.{did_you_mean(split, saved)}")
        return saved[split]
    # `load_dataset` goes by the most frequent kind of file and would take a JSONL file beside its pictures for a mere
    # folder of pictures. `metadata.jsonl` is the one name that it knows there.
    tables = sorted(file for file in path.iterdir() if file.suffix in (".jsonl", ".json") and file.stem != "metadata")
    if tables:
        chosen = [file for file in tables if file.stem == base]
        if not chosen and len(tables) > 1:
            names = [file.name for file in tables]
            raise BadInputError(f"{path} has no {split}.jsonl, but {names}. Name the file, or the split by its name.")
        if not chosen and tables[0].stem in _SPLITS:  # a file of any other name is whatever split is asked for
            only = tables[0].stem
            raise BadInputError(
                f"{path} has no split {base!r}; it has [{only!r}]. Ask for that split, or name the file {tables[0]}."
            )
        return _load_files((chosen or tables)[0], split)
    try:
        return load_dataset(str(path), split=split)
    except Exception as error:  # see `_load_files`
        raise BadInputError(f"{path} cannot be loaded as a dataset: {first_line(error)}") from error
