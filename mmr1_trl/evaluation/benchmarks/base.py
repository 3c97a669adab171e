# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What a benchmark is: where its rows are, and how one of them becomes a question with a checkable answer."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmr1_trl.errors import BadInputError


Row = dict[str, Any]


@dataclass(frozen=True)
class Benchmark:
    """
    A benchmark.

    Args:
        name (`str`):
            Name on the command line.
        sources (`tuple[tuple[str, str | None, str], ...]`):
            Dataset id, configuration and split; the first that can be loaded is taken.
        image (`str`):
            Column of the picture.
        read (`Callable[[dict], dict]`):
            Turns a raw row (without its picture) into `question`, `answer` and, where they apply, `options`,
            `answer_type`, `tolerance` and `precision`, plus the columns in `by` and `all_right`.
        by (`tuple[str, ...]`, *optional*):
            Columns of the result to break the accuracy down by.
        prompt_style (`str`, *optional*, defaults to `"plain"`):
            How the question is put unless the user says otherwise.
        note (`str`, *optional*):
            How the published numbers are scored differently.
        id (`str`, *optional*):
            Column of the number or name that the dataset itself gives a row.
        gold_coordinates (`str`, *optional*, defaults to `"auto"`):
            In which frame gold boxes are written.
        base64_images (`bool`, *optional*, defaults to `False`):
            Whether the pictures are stored as base64 text.
        all_right (`dict[str, tuple[str, ...]]`, *optional*):
            Scores that count groups of rows, right when every row of the group is: the score's name, and the columns
            that a group has in common.
        lmms_eval (`str`, *optional*), vlmevalkit (`str`, *optional*):
            What the benchmark is called in lmms-eval and in VLMEvalKit, for `--export`.
        vlmevalkit_row (`Callable[[dict], dict]`, *optional*):
            Turns a raw row (without its picture) into what VLMEvalKit's table of the benchmark holds of it, `index`
            among it. Its scorers read these columns from the exported file, by its own names.
    """

    name: str
    sources: tuple[tuple[str, str | None, str], ...]
    image: str
    read: Callable[[Row], Row]
    by: tuple[str, ...] = ()
    prompt_style: str = "plain"
    note: str = ""
    id: str | None = None
    gold_coordinates: str = "auto"
    base64_images: bool = False
    all_right: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lmms_eval: str | None = None
    vlmevalkit: str | None = None
    vlmevalkit_row: Callable[[Row], Row] | None = None


def load_benchmark(
    benchmark: Benchmark,
    num_rows: int | None = None,
    prompt_style: str | None = None,
    folder: str | Path | None = None,
    coordinates: str | None = None,
) -> Any:
    """
    Load a benchmark as rows to evaluate on.

    Args:
        benchmark ([`Benchmark`]):
            The benchmark.
        num_rows (`int`, *optional*):
            Only the first so many rows.
        prompt_style (`str`, *optional*):
            How the question is put; the benchmark's own way by default.
        folder (`str` or `Path`, *optional*):
            Folder with a local copy, instead of the Hub: `<name>.parquet` (or `.jsonl`, ...) or a folder `<name>`.
        coordinates (`str`, *optional*):
            In which frame the prompts ask for points and boxes, where the prompt style has an instruction.

    Returns:
        `datasets.Dataset`: `prompt`, `images`, `solution`, `answer_type`, `options`, `prompt_id` and so on.

    Raises:
        [`BadInputError`]: None of the sources can be loaded, or its columns are not those that are known.
    """
    from mmr1_trl.data.load import load_raw

    if folder is not None:
        copy = _local_copy(benchmark.name, Path(folder))
        raw, folders = load_raw(str(copy), benchmark.sources[0][2])
        if num_rows is not None:
            raw = raw.select(range(min(num_rows, len(raw))))
        return prepare_benchmark(benchmark, raw, prompt_style, folders, coordinates)
    failures = []
    for name, config, split in benchmark.sources:
        try:
            raw, folders = load_raw(name, split if num_rows is None else f"{split}[:{num_rows}]", config)
        except BadInputError as error:
            failures.append(str(error))
            continue
        return prepare_benchmark(benchmark, raw, prompt_style, folders, coordinates)
    raise BadInputError(
        f"The benchmark {benchmark.name!r} cannot be loaded. {' '.join(failures)} A copy on this machine is read by "
        f"--benchmarks_folder FOLDER, from FOLDER/{benchmark.name}.parquet or a folder FOLDER/{benchmark.name}."
    )


def _local_copy(name: str, folder: Path) -> Path:
    found = [path for path in (folder / name, *sorted(folder.glob(f"{name}.*"))) if path.exists()]
    if not found:
        there = ", ".join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else "no such folder"
        raise BadInputError(f"{folder} has neither {name}.parquet nor a folder {name} (there: {there or 'nothing'}).")
    return found[0]


def prepare_benchmark(
    benchmark: Benchmark,
    raw: Any,
    prompt_style: str | None = None,
    folders: Any = None,
    coordinates: str | None = None,
) -> Any:
    """
    Turn the raw rows of a benchmark into rows to evaluate on; the pictures are neither decoded nor copied.

    Args:
        benchmark ([`Benchmark`]):
            The benchmark.
        raw (`datasets.Dataset`):
            Its rows as published.
        prompt_style (`str`, *optional*):
            How the question is put; the benchmark's own way by default.
        folders ([`~mmr1_trl.data.pictures.images.ImageFolders`], *optional*):
            Where the paths of its pictures start from and may lead.
        coordinates (`str`, *optional*):
            As in [`load_benchmark`].

    Returns:
        `datasets.Dataset`: As from [`load_benchmark`], with `doc_id`, the row's number in the published split,
        `published_id`, what the dataset itself calls it, and where VLMEvalKit has the benchmark `vlmevalkit`, its row
        there as JSON.
    """
    from datasets import ClassLabel, Dataset, concatenate_datasets

    from mmr1_trl.data.prepare import prepare_dataset

    columns = ", ".join(raw.column_names)
    if benchmark.image not in raw.column_names:
        raise BadInputError(f"The benchmark {benchmark.name!r} has no column {benchmark.image!r}; it has {columns}.")
    names = {key: feature.names for key, feature in raw.features.items() if isinstance(feature, ClassLabel)}
    rows = []
    for number, row in enumerate(raw.remove_columns(benchmark.image)):
        published = number if benchmark.id is None else row.get(benchmark.id, number)
        try:
            row |= {key: values[row[key]] for key, values in names.items()}
            rows.append({"doc_id": number, "published_id": str(published), **benchmark.read(row)})
            if benchmark.vlmevalkit_row is not None:
                table = {"index": published} | benchmark.vlmevalkit_row(row)
                rows[-1]["vlmevalkit"] = json.dumps(table, ensure_ascii=False)
        except KeyError as error:
            raise BadInputError(f"The benchmark {benchmark.name!r} has no {error}; it has {columns}.") from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:  # a cell is empty, or something else
            cells = ", ".join(f"{key}={value!r:.40}" for key, value in row.items())
            raise BadInputError(
                f"The benchmark {benchmark.name!r}, row {number} cannot be read ({error}); it holds {cells}."
            ) from error
    pictures = _decoded(raw, benchmark) if benchmark.base64_images else raw.select_columns(benchmark.image)
    table = Dataset.from_list([{**dict.fromkeys(benchmark.by), **row} for row in rows])
    return prepare_dataset(
        concatenate_datasets([table, pictures], axis=1),
        prompt_column="question",
        image_column=benchmark.image,
        answer_column="answer",
        options_column="options" if "options" in table.column_names else None,
        prompt_style=prompt_style or benchmark.prompt_style,
        answer_index="off",
        gold_coordinates=benchmark.gold_coordinates,
        coordinates=coordinates,
        image_root=folders,
        on_bad_row="skip",
    )


def _decoded(raw: Any, benchmark: Benchmark) -> Any:
    """The column of base64 texts as pictures, which are not opened here."""
    from datasets import Dataset, Features, Image

    pictures = []
    for number, text in enumerate(raw[benchmark.image]):
        try:
            data = base64.b64decode(text.removeprefix("data:").rpartition("base64,")[2])
        except (AttributeError, ValueError) as error:  # binascii.Error is a ValueError
            raise BadInputError(
                f"The benchmark {benchmark.name!r}, row {number}: the column {benchmark.image!r} holds "
                f"{text!r:.40} instead of a picture in base64 ({error})."
            ) from error
        pictures.append({benchmark.image: {"bytes": data, "path": None}})
    return Dataset.from_list(pictures, features=Features({benchmark.image: Image(decode=False)}))


def inline_choices(question: str) -> list[str] | None:
    """
    The choices that a question ends with, one to a line ("A. 3 cm", "(B) 4 cm", "C: 5 cm"), in order from A; `None`
    when there are fewer than two.
    """
    found = re.findall(r"^\s*\(?([A-H])\s*[.:)]\s*(.*?)\s*$", question, flags=re.MULTILINE)
    choices = [text for index, (letter, text) in enumerate(found) if letter == "ABCDEFGH"[index]]
    return choices if len(choices) == len(found) >= 2 and all(choices) else None


def choice_row(question: str, answer: str, options: list[str] | None = None) -> Row:
    """A multiple-choice row; without `options` they are read from the question."""
    return {
        "question": question,
        "answer": answer,
        "options": options or inline_choices(question),
        "answer_type": "multiple_choice",
    }
