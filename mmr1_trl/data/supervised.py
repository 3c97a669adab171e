# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rows to imitate: one of TRL's shapes as it is, or conversations as they are published, with their pictures."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetInfo, Features, Image, List, Value

from mmr1_trl.data.checks.row_checks import report_bad_rows
from mmr1_trl.data.columns import MESSAGES, STORED_IMAGES, picture_column, require_columns
from mmr1_trl.data.load import load_raw
from mmr1_trl.data.pictures.arrow_columns import picture_lists
from mmr1_trl.data.pictures.images import ImageFolders, image_size, stored_images
from mmr1_trl.data.questions import split_turns
from mmr1_trl.data.turns import last_reply, read_turns
from mmr1_trl.errors import BadInputError


_FEATURES = Features(
    {"prompt": MESSAGES, "completion": MESSAGES, "markers": Value("int64"), "reason": Value("string")}
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
    rows, folders = load_raw(name, split, config, revision, num_rows)
    try:
        named = None if image_column == "none" else image_column
        require_columns(rows, prompt_column=prompt_column, image_column=named)
        column = None if image_column == "none" else named or picture_column(rows)
        lists = None if column is None else _lists(rows, column, folders.starting_from(image_root))
        texts = _texts(rows, prompt_column, lists)
    except BadInputError as error:
        raise BadInputError(f"{name} ({split}): {error}") from error
    if texts is None:
        texts = rows if column is None else rows.remove_columns(column)
    if lists is None:
        return texts
    if look_at_pictures:
        stored = Dataset(pa.table({"images": lists}), info=DatasetInfo(features=Features(images=STORED_IMAGES)))
        for row, images in enumerate(stored_images(stored)):
            for i, image in enumerate(images):
                image_size(image, f"{name} row {row}, image {i}")
    return texts.add_column("images", lists, feature=List(Image()))


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
    try:
        texts, markers = split_turns([turn["content"] for turn in turns])
    except BadInputError as error:
        return row | {"reason": str(error)}
    prompt = [{"role": turn["role"], "content": text} for turn, text in zip(turns, texts)]
    return row | {"prompt": prompt, "completion": [{"role": "assistant", "content": reply}], "markers": markers}
