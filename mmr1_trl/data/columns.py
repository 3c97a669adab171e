# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Which column is the question, which the pictures, which the answer: by flag, else by the names in common use."""

from dataclasses import dataclass
from typing import Any

from datasets import Dataset, Image, List, Value

from mmr1_trl.errors import BadInputError, did_you_mean


MESSAGES = List({"role": Value("string"), "content": Value("string")})
STORED_IMAGES = List(Image(decode=False))  # as they are stored, and not decoded on reading

# In order of preference. `prompt` and `solution` are this package's own names, `problem` is the one of geometry3k,
# Vision-R1-rl, MMR1-RL and multimodal-open-r1, `question` of MMK12 and ChartQA, `query` of ChartQA's other copy,
# `instruction` of ScreenSpot. Where a set has both, `answer` is the short answer and `solution` the way to it.
PROMPT_NAMES = ("prompt", "problem", "question", "query", "instruction", "messages", "conversations", "message")
IMAGE_NAMES = (
    "images",
    "image",
    "decoded_image",
    "image_path",
    "img_filename",
    "image_name",
    "imagename",
    "image_urls",
    "image_url",
    "image_paths",
    "img",
    "picture",
    "pictures",
)
ANSWER_NAMES = ("answer", "answers", "solution", "label", "ground_truth", "gt_answer", "bbox", "box_coordinates")
OPTION_NAMES = ("options", "choices")
ACCEPTED = "accepted_answers"  # all answers that are right, in rows that have several
BOX_NAMES = ("bbox", "box", "gt_bbox", "box_coordinates")
ACTION_NAMES = ("action", "gt_action")  # beside a box: what is to be done (UI-R1, GUI-R1)


@dataclass(frozen=True)
class ColumnMap:
    """
    The columns of a dataset that become a training row.

    Args:
        prompt (`str`, *optional*):
            Column of the question; `None` when one question serves every row.
        image (`str`, *optional*):
            Column of the picture or pictures; `None` for a text-only set.
        answer (`str`):
            Column of the gold answer.
        options (`str`, *optional*):
            Column of the choices.
    """

    prompt: str | None
    image: str | None
    answer: str
    options: str | None


def recognize_columns(
    dataset: Dataset,
    *,
    prompt_column: str | None = None,
    image_column: str | None = None,
    answer_column: str | None = None,
    options_column: str | None = None,
    needs_prompt: bool = True,
) -> ColumnMap:
    """
    Find the columns of a dataset. A name that is given wins; for the others the names in common use are tried.

    Args:
        dataset (`datasets.Dataset`):
            The rows as loaded.
        prompt_column (`str`, *optional*), image_column (`str`, *optional*), answer_column (`str`, *optional*),
        options_column (`str`, *optional*):
            Column names, as given on the command line.
        needs_prompt (`bool`, *optional*, defaults to `True`):
            Whether a missing question column is an error.

    Returns:
        [`ColumnMap`]

    Raises:
        [`BadInputError`]: A given column does not exist, or there is no question or answer column.
    """
    columns = dataset.column_names
    require_columns(
        dataset, prompt_column=prompt_column, image_column=image_column, answer_column=answer_column,
        options_column=options_column,
    )  # fmt: skip
    prompt = prompt_column or _first(PROMPT_NAMES, columns)
    if answer_column is None and prompt == "prompt" and "solution" in columns:
        answer_column = "solution"
    answer = answer_column or _first([name for name in ANSWER_NAMES if name != prompt], columns)
    image = image_column or picture_column(dataset)
    if prompt is None and needs_prompt:
        raise BadInputError(
            f"No column looks like the question; the dataset has {columns}. Name it with --prompt_column, or give one "
            "question for every row with --question."
        )
    if answer is None:
        raise BadInputError(
            f"No column looks like the answer; the dataset has {columns}. Name it with --answer_column."
        )
    return ColumnMap(prompt, image, answer, options_column or _first(OPTION_NAMES, columns))


def image_feature_columns(dataset: Dataset) -> list[str]:
    """Return the columns that are declared to hold an image or a list of images."""
    return [
        name
        for name, feature in dataset.features.items()
        if isinstance(feature, Image) or (isinstance(feature, List) and isinstance(feature.feature, Image))
    ]


def values_of(dataset: Dataset, name: str) -> list[Any]:
    """The values of a column, of one that is not there `None` for each row."""
    return dataset[name][:] if name in dataset.column_names else [None] * len(dataset)


def picture_column(dataset: Dataset) -> str | None:
    """
    The column of the pictures: a declared one, of several that with a usual name, else any column with such a name.
    Some benchmarks keep a path in `image`, and the picture elsewhere.
    """
    declared = image_feature_columns(dataset)
    return _first(IMAGE_NAMES, declared) or _first(declared, declared) or _first(IMAGE_NAMES, dataset.column_names)


def require_columns(dataset: Dataset, **named: str | None) -> None:
    """Refuse the name of a column that is not there ([`BadInputError`]), given by the option that names it."""
    columns = dataset.column_names
    for option, name in named.items():
        if name is not None and name not in columns:
            raise BadInputError(
                f"--{option} {name}: there is no such column.{did_you_mean(name, columns)} The dataset has {columns}."
            )


def _first(names: list[str] | tuple[str, ...], columns: list[str]) -> str | None:
    return next((name for name in names if name in columns), None)
