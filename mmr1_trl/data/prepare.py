# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""From a dataset as it was published to training rows: prompt, images, solution, answer type and prompt id."""

import hashlib
import os
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetInfo, Features, List, Value

from mmr1_trl.data.answers.accepted import ANSWER_LISTS
from mmr1_trl.data.answers.choice_forms import ANSWER_INDICES, merge_lettered
from mmr1_trl.data.checks.row_checks import only_clicks, report_bad_rows
from mmr1_trl.data.columns import (
    ACCEPTED,
    MESSAGES,
    STORED_IMAGES,
    ColumnMap,
    image_feature_columns,
    recognize_columns,
)
from mmr1_trl.data.pictures.arrow_columns import content_ids, merge_numbered, picture_lists
from mmr1_trl.data.pictures.images import ImageFolders
from mmr1_trl.data.places import Places
from mmr1_trl.data.prompt_style import PromptStyle, get_prompt_style
from mmr1_trl.data.row_reader import RowReader
from mmr1_trl.data.turns import unfold
from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.rewards.calling import PASSED
from mmr1_trl.rewards.gold import require_tolerance
from mmr1_trl.rewards.types import ANSWER_TYPES


_PREPARED = {"prompt", "solution", "answer_type", "image_size", "prompt_id"}  # of rows for points and boxes
_NO_ROW: dict[str, Any] = {"prompt": [], "question": "", "solution": "", "answer_type": ""}
# The trainer passes these to the reward functions itself; a column of that name would collide.
_RESERVED = (*PASSED, "environments")


def prepare_dataset(
    dataset: Dataset,
    *,
    prompt_column: str | None = None,
    image_column: str | None = None,
    answer_column: str | None = None,
    options_column: str | None = None,
    prompt_style: str | PromptStyle = "plain",
    question: str | None = None,
    answer_type: str | None = None,
    tolerance: float | None = None,
    box_format: str = "xyxy",
    gold_coordinates: str = "auto",
    coordinates: str | None = None,
    answer_index: str = "auto",
    answer_lists: str = "auto",
    image_root: str | os.PathLike[str] | ImageFolders | None = None,
    on_bad_row: str = "error",
) -> Dataset:
    """
    Make training rows of a dataset with questions, pictures and answers.

    The bytes of the pictures are neither decoded nor copied. Rows that are ready already go through unchanged.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows as published. See `docs/data.md` for the shapes that are recognized.
        prompt_column (`str`, *optional*), image_column (`str`, *optional*), answer_column (`str`, *optional*),
        options_column (`str`, *optional*):
            Column names. Recognized when left out.
        prompt_style (`str` or [`~mmr1_trl.data.prompt_style.PromptStyle`], *optional*, defaults to `"plain"`):
            How to ask.
        question (`str`, *optional*):
            One question for every row, for sets without a question column, such as a folder of pictures by class.
        answer_type (`str`, *optional*):
            Type of every answer. By default the column `answer_type` says it, else the answer itself.
        tolerance (`float`, *optional*):
            Relative error that a number may have, such as 0.05 for ChartQA; a column for the rewards. Exact by
            default.
        box_format (`str`, *optional*, defaults to `"xyxy"`):
            How gold boxes are written: `"xyxy"` or `"xywh"`.
        gold_coordinates (`str`, *optional*, defaults to `"auto"`):
            Their frame: `"pixels"` of the stored picture, `"thousandths"` or `"fractions"` of its sides; `"auto"`:
            fractions when no number exceeds 1, else pixels. Rows that were prepared before have pixels in any case.
        coordinates (`str`, *optional*):
            In which frame the prompts ask for points and boxes (see [`~rewards.grounding.boxes.Frame`]). They say
            nothing about it by default, or where the prompt style has no instruction.
        answer_index (`str`, *optional*, defaults to `"auto"`):
            Whether answers beside choices are the number of the right one: `"zero_based"`, `"one_based"`, `"off"`, or
            `"auto"` (see [`~mmr1_trl.data.answers.choice_forms.index_base`]). They become letters.
        answer_lists (`str`, *optional*, defaults to `"auto"`):
            Whether lists in the answer column hold several right answers (`"alternatives"`) or the parts of one
            (`"parts"`); `"auto"`: alternatives in a column whose name ends with `answers`.
        image_root (`str`, `os.PathLike` or [`~mmr1_trl.data.pictures.images.ImageFolders`], *optional*):
            Folder that relative image paths start from and stay below, and, of a dataset that is not from this
            machine, the folders that absolute ones may lead into.
        on_bad_row (`str`, *optional*, defaults to `"error"`):
            A row without answer, with a wrong number of `<image>` markers, a broken box, a tolerance that is none, or
            anything else that cannot be read stops everything (`"error"`) or is left out with a warning (`"skip"`).

    Returns:
        [`~datasets.Dataset`]: The columns `prompt` (messages whose contents are strings), `images` (list of
        `Image(decode=False)`; absent when no row has one), `solution`, `answer_type`, `options` (when there are any),
        `accepted_answers` (all that are right, in rows with several),
        `image_size` (width and height of the first image, where points or boxes are asked for), `coordinates` (in what
        the prompt asks for them, if it says so), `prompt_id` (unique,
        stable under shuffling and splitting), `prompt_style` (its name, for the format reward), and the columns that
        were not used; the answer also under its own name, as it was.

    Raises:
        [`BadInputError`]: A column is missing, an option is unknown, or rows are bad and `on_bad_row="error"`.
    """
    for name, value, choices in (
        ("on_bad_row", on_bad_row, ("error", "skip")),
        ("answer_type", answer_type or "text", ANSWER_TYPES),
        ("answer_index", answer_index, ANSWER_INDICES),
        ("answer_lists", answer_lists, ANSWER_LISTS),
    ):
        if value not in choices:
            raise BadInputError(f"{name}={value!r} is not one of {', '.join(choices)}.{did_you_mean(value, choices)}")
    if len(dataset) == 0:
        raise BadInputError("The dataset has no rows.")
    style = get_prompt_style(prompt_style) if isinstance(prompt_style, str) else prompt_style
    places = Places(box_format, gold_coordinates, coordinates if style.instruction else None)
    if _PREPARED <= set(dataset.column_names) and answer_column in (None, "solution"):
        places = replace(places, box_format="xyxy", gold_coordinates="pixels")
    if image_column is None:
        dataset = merge_numbered(dataset)
    if options_column is None:
        dataset = merge_lettered(dataset)
    dataset = unfold(dataset, prompt_column, image_column, answer_column, options_column)
    columns = recognize_columns(
        dataset,
        prompt_column=prompt_column,
        image_column=image_column,
        answer_column=answer_column,
        options_column=options_column,
        needs_prompt=question is None,
    )
    dataset = only_clicks(dataset, columns.answer)
    table = dataset.with_format("arrow")[:]
    _check_own_columns(table, tolerance)
    if tolerance is not None:
        require_tolerance(tolerance)
    images: pa.ChunkedArray | None = None
    bad: dict[int, str] = {}
    if columns.image:
        folders = image_root
        if not isinstance(folders, ImageFolders):
            folders = ImageFolders(None if folders is None else os.fspath(folders))
        images, bad = picture_lists(dataset, table, columns.image, folders)
    reader = RowReader(
        table, dataset.features, columns, images, style, question, answer_type, tolerance, places, answer_lists
    )
    reader.find_indices(answer_index)

    rows: list[dict[str, Any]] = []
    for index in range(len(dataset)):
        try:
            if index in bad:
                raise BadInputError(bad[index])
            rows.append(reader.read(index))
        # Whatever the values of a row bring the code that reads them to, it is this row that cannot be used.
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
            bad[index] = str(error) if isinstance(error, BadInputError) else f"it cannot be read ({error!r:.200})"
            rows.append(dict.fromkeys(("options", "image_size", "coordinates", ACCEPTED)) | _NO_ROW)
    if columns.image is None and 2 * sum("<image>" in reason for reason in bad.values()) > len(rows):
        raise BadInputError(
            "The questions have <image> markers, and no column looks like pictures; the dataset has "
            f"{dataset.column_names}. Name it with --image_column."
        )
    report_bad_rows(bad, len(dataset), on_bad_row)
    if answer_type is None and columns.prompt != "answer_type":
        _recognize_classification(rows)
    extra = {"prompt_style": pa.array([style.name] * len(rows), pa.string())}
    if "prompt_style" in dataset.column_names and style.name == "plain":
        extra = {}  # the rows say it themselves
    asked = [row["coordinates"] for row in rows]
    if any(asked):
        extra["coordinates"] = pa.array(asked, pa.string())
    if tolerance is not None:
        extra["tolerance"] = pa.array([tolerance] * len(rows), pa.float64())
    prepared = _build(dataset, table, columns, images, rows, extra)
    return prepared.select([index for index in range(len(rows)) if index not in bad]) if bad else prepared


def _recognize_classification(rows: list[dict[str, Any]]) -> None:
    """One question for all rows and a few names as answers: that is classification (the shape of ViRFT's sets)."""
    asked = [row for row in rows if row["answer_type"]]
    names = {row["solution"] for row in asked}
    one_question = len({row["question"] for row in asked}) == 1
    if one_question and 1 < len(names) <= len(asked) / 2 and all(row["answer_type"] == "text" for row in asked):
        for row in asked:
            row["answer_type"] = "class_label"


def _check_own_columns(table: pa.Table, tolerance: float | None) -> None:
    """Refuse columns with a name of this package's own that hold something else."""
    for name in ("tolerance", "precision") if tolerance is None else ("precision",):
        kind = table.schema.field(name).type if name in table.column_names else pa.null()
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_nested(kind):
            raise BadInputError(f"Column {name!r} holds {kind}, not numbers for the rewards. Rename or drop it.")
    if ACCEPTED in table.column_names and (kind := table.schema.field(ACCEPTED).type) != pa.list_(pa.string()):
        if not pa.types.is_null(kind):
            raise BadInputError(
                f"Column {ACCEPTED!r} holds {kind}, not lists of texts for the rewards. Rename or drop it."
            )
    if "prompt_id" in table.column_names and (empty := table.column("prompt_id").null_count):
        row = table.column("prompt_id").is_null().index(True).as_py()
        raise BadInputError(
            f"Column 'prompt_id' is empty in {empty} rows, row {row} the first. Fill it, or leave the column out."
        )


def _build(
    dataset: Dataset,
    table: pa.Table,
    columns: ColumnMap,
    images: pa.ChunkedArray | None,
    rows: list[dict[str, Any]],
    extra: dict[str, pa.Array],
) -> Dataset:
    """Put the new columns beside the unused ones."""
    ids = content_ids((row["question"] for row in rows), images)
    features: dict[str, Any] = {"prompt": MESSAGES}
    data: dict[str, Any] = {"prompt": pa.array([row["prompt"] for row in rows], _MESSAGES_TYPE)}
    if images is not None and pc.any(pc.greater(pc.list_value_length(images), 0)).as_py():
        features["images"], data["images"] = STORED_IMAGES, images
    for name in ("solution", "answer_type"):
        features[name], data[name] = Value("string"), pa.array([row[name] for row in rows], pa.string())
    if any(row["image_size"] for row in rows):
        features["image_size"] = List(Value("int64"))
        data["image_size"] = pa.array([row["image_size"] for row in rows], pa.list_(pa.int64()))
    for name in ("options", ACCEPTED):
        if any(row[name] for row in rows):
            features[name] = List(Value("string"))
            data[name] = pa.array([row[name] for row in rows], pa.list_(pa.string()))
    if "prompt_id" not in dataset.column_names:
        features["prompt_id"], data["prompt_id"] = Value("string"), pa.array(ids, pa.string())
    for name, values in extra.items():
        features[name], data[name] = Value(str(values.type).replace("double", "float64")), values
    # The answer stays under its own name as well, for rewards that ask for it.
    used = {columns.prompt, columns.image, columns.options, "image", "images", *features, *_RESERVED}
    used.update(image_feature_columns(dataset))  # a second picture column would be decoded for nothing
    for name, feature in dataset.features.items():
        if name not in used:
            features[name], data[name] = feature, table.column(name)
    # An explicit fingerprint, since the default one would serialize all the pictures in order to hash them.
    parts = [*ids, *(row["solution"] for row in rows), *features, str(rows[0])]
    fingerprint = hashlib.blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return Dataset(pa.table(data), info=DatasetInfo(features=Features(features)), fingerprint=fingerprint)


_MESSAGES_TYPE = Features({"messages": MESSAGES}).arrow_schema.field("messages").type
