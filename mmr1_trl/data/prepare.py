# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""From a dataset as it was published to training rows: prompt, images, solution, answer type and prompt id."""

import hashlib
import os
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetInfo, Features, Image, List, Value

from mmr1_trl.data.columns import BOX_NAMES, ColumnMap, image_feature_columns, recognize_columns
from mmr1_trl.data.images import ImageFolders, image_size
from mmr1_trl.data.picture_columns import content_ids, picture_lists
from mmr1_trl.data.places import Places
from mmr1_trl.data.prompt_style import PromptStyle, get_prompt_style
from mmr1_trl.data.questions import (
    append_options,
    build_messages,
    gold_text,
    question_text,
    read_options,
    split_markers,
)
from mmr1_trl.data.row_checks import report_bad_rows, require_precision, require_tolerance
from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.rewards.answers import ANSWER_TYPES, LOCATED_TYPES, infer_answer_type
from mmr1_trl.rewards.locations import read_detections


_MESSAGES = List({"role": Value("string"), "content": Value("string")})
_IMAGES = List(Image(decode=False))
_PREPARED = {"prompt", "solution", "answer_type", "image_size", "prompt_id"}  # of rows for points and boxes
_NO_ROW: dict[str, Any] = {"prompt": [], "question": "", "solution": "", "answer_type": ""}
# The trainer passes these to the reward functions itself; a column of that name would collide.
_RESERVED = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments")


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
            In which frame the prompts ask for points and boxes (see [`~mmr1_trl.rewards.boxes.Frame`]). They say
            nothing about it by default, or where the prompt style has no instruction.
        image_root (`str`, `os.PathLike` or [`~mmr1_trl.data.images.ImageFolders`], *optional*):
            Folder that relative image paths start from and stay below, and, of a dataset that is not from this
            machine, the folders that absolute ones may lead into.
        on_bad_row (`str`, *optional*, defaults to `"error"`):
            A row without answer, with a wrong number of `<image>` markers, a broken box, a tolerance that is none, or
            anything else that cannot be read stops everything (`"error"`) or is left out with a warning (`"skip"`).

    Returns:
        [`~datasets.Dataset`]: The columns `prompt` (messages whose contents are strings), `images` (list of
        `Image(decode=False)`; absent when no row has one), `solution`, `answer_type`, `options` (when there are any),
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
    ):
        if value not in choices:
            raise BadInputError(f"{name}={value!r} is not one of {', '.join(choices)}.{did_you_mean(value, choices)}")
    if len(dataset) == 0:
        raise BadInputError("The dataset has no rows.")
    style = get_prompt_style(prompt_style) if isinstance(prompt_style, str) else prompt_style
    places = Places(box_format, gold_coordinates, coordinates if style.instruction else None)
    if _PREPARED <= set(dataset.column_names) and answer_column in (None, "solution"):
        places = replace(places, box_format="xyxy", gold_coordinates="pixels")
    columns = recognize_columns(
        dataset,
        prompt_column=prompt_column,
        image_column=image_column,
        answer_column=answer_column,
        options_column=options_column,
        needs_prompt=question is None,
    )
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
    reader = _RowReader(table, dataset.features, columns, images, style, question, answer_type, tolerance, places)

    rows: list[dict[str, Any]] = []
    for index in range(len(dataset)):
        try:
            if index in bad:
                raise BadInputError(bad[index])
            rows.append(reader.read(index))
        # Whatever the values of a row bring the code that reads them to, it is this row that cannot be used.
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
            bad[index] = str(error) if isinstance(error, BadInputError) else f"it cannot be read ({error!r:.200})"
            rows.append(dict.fromkeys(("options", "image_size")) | _NO_ROW)
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
    asked = [places.coordinates if row["image_size"] else None for row in rows]
    if any(asked):
        extra["coordinates"] = pa.array(asked, pa.string())
    if tolerance is not None:
        extra["tolerance"] = pa.array([tolerance] * len(rows), pa.float64())
    prepared = _build(dataset, table, columns, images, rows, extra)
    return prepared.select([index for index in range(len(rows)) if index not in bad]) if bad else prepared


class _RowReader:
    """Reads the text columns of a table once and makes one training row at a time."""

    def __init__(
        self,
        table: pa.Table,
        features: Features,
        columns: ColumnMap,
        images: pa.ChunkedArray | None,
        style: PromptStyle,
        question: str | None,
        answer_type: str | None,
        tolerance: float | None,
        places: Places,
    ) -> None:
        self.unreadable: dict[int, str] = {}

        def values(name: str | None) -> list[Any] | None:
            # A column whose rows differ in type is stored as JSON, its texts in quotes.
            if name is None or name not in table.column_names:
                return None
            stored = table.column(name).to_pylist()
            try:
                return features.decode_column(stored, name)
            except (ValueError, RecursionError):  # JSON that cannot be read, in some row
                return [self._decoded(features, name, index, value) for index, value in enumerate(stored)]

        self.prompts = values(columns.prompt if question is None else None)
        self.answers = values(columns.answer) or []
        self.options = values(columns.options)
        self.types = values("answer_type")
        self.tolerances, self.precisions = values("tolerance" if tolerance is None else None), values("precision")
        self.images = images
        self.counts = None if images is None else pc.list_value_length(images).to_pylist()
        feature = features[columns.answer]
        self.class_names = feature.names if isinstance(feature, ClassLabel) else None
        # When nobody says what answers are: four numbers in brackets are boxes where most answers are, else lists.
        self.place = "point" if columns.answer in BOX_NAMES else None
        if self.place is None and images is not None and 2 * sum(map(_is_box, self.answers)) > len(self.answers):
            self.place = "box"
        self.style, self.question, self.answer_type, self.places = style, question, answer_type, places

    def _decoded(self, features: Features, name: str, index: int, value: Any) -> Any:
        try:
            return features.decode_column([value], name)[0]
        except (ValueError, RecursionError) as error:
            self.unreadable[index] = f"column {name!r} cannot be read ({error})"
            return None

    def read(self, index: int) -> dict[str, Any]:
        if index in self.unreadable:
            raise BadInputError(self.unreadable[index])
        prompt = self.question if self.prompts is None else self.prompts[index]
        question, blocks = question_text(prompt)
        question, markers = split_markers(question)
        count = 0 if self.counts is None else self.counts[index]
        markers = blocks or markers
        if markers is not None and markers != count:
            raise BadInputError(f"the question has {markers} <image> markers, and there are {count} images")
        require_tolerance(None if self.tolerances is None else self.tolerances[index])
        require_precision(None if self.precisions is None else self.precisions[index])
        options = None if self.options is None else read_options(self.options[index])
        solution, answer_type = self._answer(index, options)
        size = None
        if answer_type in LOCATED_TYPES and count and self.images is not None:
            size = image_size(self.images[index].as_py()[0], "image 0")
        if answer_type in LOCATED_TYPES:
            solution = self.places.gold(solution or self.answers[index], answer_type, size)
        if options and answer_type == "multiple_choice":
            question = append_options(question, options)
        messages = build_messages(prompt, question, self.style, self.places.unit(size))
        for text in (*(message["content"] for message in messages), solution, *(options or ())):
            text.encode()  # JSON can hold half of a character, which neither Arrow nor a tokenizer takes
        return {
            "prompt": messages,
            "question": question,
            "solution": solution,
            "answer_type": answer_type,
            "options": options,
            "image_size": size,
        }

    def _answer(self, index: int, options: list[str] | None) -> tuple[str, str]:
        """Return the gold, `""` for a box that is still to be brought into pixels, and its type."""
        answer = self.answers[index]
        stored = None if self.types is None else self.types[index]
        # Some benchmarks have a column of that name with words of their own ("integer", "free_form").
        answer_type = self.answer_type or (stored if stored in ANSWER_TYPES else None)
        if answer_type in ("point", "box") or (answer_type is None and self.place):
            return "", answer_type or str(self.place)
        if self.class_names is not None and answer is not None:
            return self.class_names[answer], answer_type or "class_label"
        gold = gold_text(answer)
        if answer_type is None and self.images is not None and "{" in gold and read_detections(gold):
            answer_type = "detections"
        inferred = answer_type or _inferred_type(gold, None if options is None else tuple(options))
        return gold, "list" if inferred == "box" and answer_type is None else inferred


def _is_box(answer: Any) -> bool:
    if isinstance(answer, list):
        return len(answer) == 4 and all(isinstance(number, int | float) for number in answer)
    return isinstance(answer, str) and _inferred_type(answer, None) == "box"


_inferred_type = lru_cache(maxsize=65_536)(infer_answer_type)


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
    features: dict[str, Any] = {"prompt": _MESSAGES}
    data: dict[str, Any] = {"prompt": pa.array([row["prompt"] for row in rows], _MESSAGES_TYPE)}
    if images is not None and pc.any(pc.greater(pc.list_value_length(images), 0)).as_py():
        features["images"], data["images"] = _IMAGES, images
    for name in ("solution", "answer_type"):
        features[name], data[name] = Value("string"), pa.array([row[name] for row in rows], pa.string())
    if any(row["image_size"] for row in rows):
        features["image_size"] = List(Value("int64"))
        data["image_size"] = pa.array([row["image_size"] for row in rows], pa.list_(pa.int64()))
    if any(row["options"] for row in rows):
        features["options"] = List(Value("string"))
        data["options"] = pa.array([row["options"] for row in rows], pa.list_(pa.string()))
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


_MESSAGES_TYPE = Features({"messages": _MESSAGES}).arrow_schema.field("messages").type
