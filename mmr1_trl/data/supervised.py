# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rows to imitate: one of TRL's shapes as it is, or conversations as they are published, with their pictures."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetInfo, Features, Image, List, Value

from mmr1_trl.data.checks.row_checks import report_bad_rows
from mmr1_trl.data.columns import IMAGE_NAMES, image_feature_columns
from mmr1_trl.data.load import load_raw
from mmr1_trl.data.pictures.columns import picture_lists
from mmr1_trl.data.pictures.images import ImageFolders, image_size, stored_images
from mmr1_trl.data.questions import split_markers
from mmr1_trl.data.turns import last_reply, read_turns
from mmr1_trl.errors import BadInputError, did_you_mean


_MESSAGES = List({"role": Value("string"), "content": Value("string")})
_STORED = List(Image(decode=False))
_FEATURES = Features(
    {"prompt": _MESSAGES, "completion": _MESSAGES, "markers": Value("int64"), "reason": Value("string")}
)


def load_supervised(
    name: str,
    split: str = "train",
    *,
    config: str | None = None,
    revision: str | None = None,
    num_rows: int | None = None,
    prompt_column: str | None = None,
    image_column: str | None = None,
    image_root: str | None = None,
    look_at_pictures: bool = True,
) -> Dataset:
    """
    Load rows for supervised training.

    Args:
        name (`str`), split (`str`), config (`str`, *optional*), revision (`str`, *optional*):
            As for [`~mmr1_trl.data.load_data`]; not `"figures"`.
        num_rows (`int`, *optional*):
            Take only the first so many rows.
        prompt_column (`str`, *optional*):
            Column with conversations, whose last turn is what to imitate. By default `conversations`, where there are
            neither `messages` nor `prompt` and `completion`.
        image_column (`str`, *optional*):
            Column of the picture or pictures. By default a declared one, else one with a usual name; `"none"`: none.
        image_root (`str`, *optional*):
            Folder that relative image paths start from and stay below. Defaults to the folder of a local file.
        look_at_pictures (`bool`, *optional*, defaults to `True`):
            Whether to read the header of every picture now, and not first when its row is drawn.

    Returns:
        [`~datasets.Dataset`]: Rows in one of TRL's shapes; of conversations `prompt` and `completion`, both messages,
        without `<image>` markers. Pictures in `images`, which decode on reading.

    Raises:
        [`BadInputError`]: There is no such dataset or column, or a row cannot be used.
    """
    if num_rows is not None and num_rows < 1:
        raise BadInputError(f"{num_rows} rows of {name!r} were asked for. Ask for 1 or more, or leave the number out.")
    rows, folders = load_raw(name, split, config, revision)
    rows = rows if num_rows is None else rows.select(range(min(num_rows, len(rows))))
    for flag, column in (("prompt_column", prompt_column), ("image_column", image_column)):
        if column not in (None, "none", *rows.column_names):
            near, known = did_you_mean(str(column), rows.column_names), rows.column_names
            raise BadInputError(f"{name}: --{flag} {column}: there is no such column.{near} The dataset has {known}.")
    column = _picture_column(rows, image_column)
    try:
        lists = None if column is None else _lists(rows, column, folders.starting_from(image_root))
        texts = _texts(rows, prompt_column, lists)
    except BadInputError as error:
        raise BadInputError(f"{name} ({split}): {error}") from error
    if texts is None:
        texts = rows if column is None else rows.remove_columns(column)
    if lists is None:
        return texts
    if look_at_pictures:
        stored = Dataset(pa.table({"images": lists}), info=DatasetInfo(features=Features(images=_STORED)))
        for row, images in enumerate(stored_images(stored)):
            for i, image in enumerate(images):
                image_size(image, f"{name} row {row}, image {i}")
    return texts.add_column("images", lists, feature=List(Image()))


def _picture_column(rows: Dataset, named: str | None) -> str | None:
    if named is not None:
        return None if named == "none" else named
    declared = image_feature_columns(rows)
    known = [*declared, *rows.column_names]
    return next((name for name in (*IMAGE_NAMES, *declared) if name in known), None)


def _lists(rows: Dataset, column: str, folders: ImageFolders) -> pa.ChunkedArray:
    alone = rows.select_columns([column])
    lists, bad = picture_lists(alone, alone.with_format("arrow")[:], column, folders)
    for row, reason in bad.items():
        raise BadInputError(f"row {row}, {reason}")
    return lists


def _texts(rows: Dataset, named: str | None, lists: pa.ChunkedArray | None) -> Dataset | None:
    """Prompts and completions of conversations; `None` where the rows have one of TRL's shapes already."""
    shaped = "messages" in rows.column_names or {"prompt", "completion"} <= set(rows.column_names)
    column = named or ("conversations" if "conversations" in rows.column_names and not shaped else None)
    if column is None:
        return None
    # Written to a file and mapped into memory: such sets have millions of long replies, and every process reads them.
    texts = rows.select_columns([column]).map(
        _read, input_columns=[column], remove_columns=[column], features=_FEATURES, desc="Reading conversations"
    )
    bad = {row: reason for row, reason in enumerate(texts["reason"][:]) if reason}
    counts = [0] * len(texts) if lists is None else pc.list_value_length(lists).to_pylist()
    for row, (markers, count) in enumerate(zip(texts["markers"][:], counts)):
        if markers not in (None, count):
            reason = f"the conversation has {markers} <image> markers, and there are {count} images"
            bad.setdefault(row, reason + ("" if lists is not None else "; name their column with --image_column"))
    report_bad_rows(bad, len(texts), None)
    return texts.remove_columns(["markers", "reason"])


def _read(conversation: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"prompt": [], "completion": [], "markers": None, "reason": None}
    turns, reply = read_turns(conversation), last_reply(conversation)
    if not reply or not isinstance(turns, list) or not all(isinstance(turn["content"], str) for turn in turns):
        return row | {"reason": f"no conversation of texts that ends with a reply: {str(conversation)[:60]!r}"}
    for turn in turns:
        text, markers = split_markers(turn["content"])
        row["markers"] = row["markers"] if markers is None else markers + (row["markers"] or 0)
        row["prompt"].append({"role": turn["role"], "content": text})
    return row | {"completion": [{"role": "assistant", "content": reply}]}
