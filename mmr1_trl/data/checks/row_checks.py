# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What makes a row unusable, whatever else is in it, and how that is reported."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from datasets import Dataset, IterableDataset
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from mmr1_trl.data.columns import ACTION_NAMES, BOX_NAMES
from mmr1_trl.data.pictures.images import image_column, image_counts, without_images
from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.models.families import FAMILIES
from mmr1_trl.models.processing import tokenizer_of


logger = logging.get_logger(__name__)

_CLICKS = {"click", "left_click", "tap"}
# Tags that the prompt styles ask for: text, even to a tokenizer that marks them as special.
_TAGS = {"<think>", "</think>", "<answer>", "</answer>"}
_TEXT_COLUMNS = ("prompt", "solution", "options", "messages", "completion")


def report_bad_rows(bad: dict[int, str], num_rows: int, on_bad_row: str | None) -> None:
    """
    Say which rows cannot be used.

    Args:
        bad (`dict[int, str]`):
            Row number to reason.
        num_rows (`int`):
            How many rows there are.
        on_bad_row (`str`, *optional*):
            `"error"`, or `"skip"`, which warns. `None` is an error where nobody can choose.

    Raises:
        [`BadInputError`]: There are bad rows and `on_bad_row` is not `"skip"`, or there are no others.
    """
    if not bad:
        return
    listed = "; ".join(f"row {index}: {reason}" for index, reason in list(bad.items())[:5])
    more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
    if len(bad) == num_rows:
        raise BadInputError(f"No row can be used. {listed}{more}.")
    if on_bad_row != "skip":
        hint = "Pass --on_bad_row skip to leave them out." if on_bad_row else "Leave them out of the dataset."
        raise BadInputError(f"{len(bad)} of {num_rows} rows cannot be used: {listed}{more}. {hint}")
    logger.warning(f"Left out {len(bad)} of {num_rows} rows: {listed}{more}.")


def readable_by(processor: Any, dataset: Dataset, name: str) -> Dataset:
    """
    Refuse rows with pictures for a text-only model, which would answer without having seen them.

    Args:
        processor ([`~transformers.ProcessorMixin`] or [`~transformers.PreTrainedTokenizerBase`]):
            Of the model: a tokenizer is that of a text-only one.
        dataset ([`~datasets.Dataset`]):
            The rows.
        name (`str`):
            What to call them in a message.

    Returns:
        [`~datasets.Dataset`]: The rows, for a text-only model without their empty columns of pictures.

    Raises:
        [`BadInputError`]: The model is text-only, and some row has a picture.
    """
    if not isinstance(processor, PreTrainedTokenizerBase):
        return dataset
    counts = image_counts(dataset)
    if with_pictures := sum(count > 0 for count in counts):
        row = next(row for row, count in enumerate(counts) if count)
        raise BadInputError(
            f"{name}: {with_pictures} of {len(counts)} rows have pictures (row {row} is the first), and the model is "
            "text-only: it would answer without seeing them. Take a vision-language model such as "
            "Qwen/Qwen2.5-VL-3B-Instruct, leave those rows out, or drop all pictures by --image_column none."
        )
    return without_images(dataset)


def only_clicks(dataset: Dataset, answer_column: str) -> Dataset:
    """
    Leave out the rows of a set for pointing that ask for another action than a click, and say which.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows as published.
        answer_column (`str`):
            Where the boxes stand. Another column than one for boxes says that the set is none for pointing.

    Returns:
        [`~datasets.Dataset`]: The rows without an action, or whose action is a click.

    Raises:
        [`BadInputError`]: There is none.
    """
    column = next((name for name in ACTION_NAMES if name in dataset.column_names), None)
    if column is None or answer_column not in BOX_NAMES:
        return dataset
    actions = [value if isinstance(value, str) else None for value in dataset[column][:]]
    others = [row for row, name in enumerate(actions) if name and name.strip().casefold() not in _CLICKS]
    if not others:
        return dataset
    counts = ", ".join(f"{name} {number}" for name, number in Counter(actions[row] for row in others).most_common())
    if len(others) == len(dataset):
        raise BadInputError(f"No row can be used: {column!r} asks for a click in none ({counts}).")
    dropped = set(others)
    rows = ", ".join(map(str, others[:10])) + (", ..." if len(others) > 10 else "")
    logger.warning(
        f"Left out {len(others)} of {len(dataset)} rows, which ask for another action than a click and so have no "
        f"place to point at ({column!r}: {counts}; rows {rows})."
    )
    return dataset.select([row for row in range(len(dataset)) if row not in dropped])


def control_tokens(processor: Any) -> set[str]:
    """
    Return what a processor takes for more than text: the tokens that its tokenizer marks as special, and those that
    stand for pictures and videos. Ordinary added words such as `<think>` are none.

    Args:
        processor ([`~transformers.ProcessorMixin`] or [`~transformers.PreTrainedTokenizerBase`]):
            A model's processor, or its tokenizer.
    """
    tokenizer = tokenizer_of(processor)
    added = {token.content: token.special for token in tokenizer.added_tokens_decoder.values()}
    pictures = {token for family in FAMILIES.values() for token in (family.image_token, family.video_token) if token}
    special = {token for token, is_special in added.items() if is_special} | set(tokenizer.all_special_tokens)
    return {token for token in special | (pictures & added.keys()) if token.strip()} - _TAGS


def find_control_tokens(dataset: Dataset, processor: Any) -> dict[int, str]:
    """
    Find the rows whose texts would reach the model as control tokens: the end of a turn, a picture that is not there.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows with messages (`prompt`, `messages`, `completion`), and with `solution` and `options` where they have
            them; their `<image>` markers have been taken out. A prompt that is a text, and not messages, is written
            for a model already, and may hold whatever that model needs.
        processor ([`~transformers.ProcessorMixin`] or [`~transformers.PreTrainedTokenizerBase`]):
            Of the model.

    Returns:
        `dict[int, str]`: Row number to reason.
    """
    tokens = sorted(control_tokens(processor), key=len, reverse=True)
    starts = {token[0] for token in tokens}
    bad: dict[int, str] = {}
    for name in _TEXT_COLUMNS:
        if name not in dataset.column_names:
            continue
        for row, value in enumerate(dataset[name][:]):
            for text in _texts(value) if isinstance(value, list) or name == "solution" else ():
                # Most texts hold none of the characters that such tokens begin with.
                found = [token for token in tokens if token in text] if starts & set(text) else []
                if found:
                    first = min(found, key=text.find)
                    bad.setdefault(row, f"{name!r} holds {first!r}, which the model's tokenizer does not read as text")
                    break
    return dict(sorted(bad.items()))


def _texts(value: Any) -> Iterator[str]:
    """The texts in a column's value: of messages, of their blocks, of a list of choices."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, dict):
        for name in ("role", "content", "text"):
            yield from _texts(value.get(name))


def without_control_tokens(dataset: Dataset, processor: Any, on_bad_row: str | None, name: str) -> Dataset:
    """
    Keep text from data text: refuse the rows of [`find_control_tokens`], or leave them out.

    Args:
        dataset ([`~datasets.Dataset`]), processor:
            As for [`find_control_tokens`].
        on_bad_row (`str`, *optional*):
            As for [`report_bad_rows`].
        name (`str`):
            What to call the dataset in a message.

    Returns:
        [`~datasets.Dataset`]: The rows without control tokens, in order.

    Raises:
        [`BadInputError`]: There are such rows and `on_bad_row` is not `"skip"`, or there are no others.
    """
    bad = find_control_tokens(dataset, processor)
    try:
        report_bad_rows(bad, len(dataset), on_bad_row)
    except BadInputError as error:
        raise BadInputError(f"{name}: {error}") from error
    return dataset.select([row for row in range(len(dataset)) if row not in bad]) if bad else dataset


def check_rows(dataset: Any, split: str) -> None:
    """
    Refuse a dataset that would fail in the middle of a run.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows with `prompt`, optionally `images` or `image`, and whatever the reward functions read.
        split (`str`):
            What to call the dataset in a message, e.g. `"train_dataset"`.

    Raises:
        [`BadInputError`]: No dataset, a streaming one, no `prompt` column, or a string prompt beside
            images.
    """
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Dataset):
        raise BadInputError(
            f"{split} must be a datasets.Dataset that can be indexed, got {type(dataset).__name__}. Values are kept "
            "per prompt, which a stream does not allow: load it without streaming, or keep a part of it with "
            "`datasets.Dataset.from_list(list(stream.take(n)))`."
        )
    if len(dataset) == 0:
        raise BadInputError(f"{split} has no rows.")
    if "prompt" not in dataset.column_names:
        raise BadInputError(
            f"{split} has no column 'prompt'; its columns are {dataset.column_names}."
            f"{did_you_mean('prompt', dataset.column_names)} mmr1_trl.data.prepare_dataset makes one from a question "
            "column."
        )
    first = dataset.select_columns(["prompt"])[0]["prompt"]
    if isinstance(first, str) and any(image_counts(dataset)):
        raise BadInputError(
            f"{split}: column {image_column(dataset)!r} holds images, so 'prompt' must be a list of messages, but row "
            f"0 has the string {first[:60]!r}. Write it as [{{'role': 'user', 'content': ...}}]."
        )


def mixes_pictures(dataset: Dataset) -> bool:
    """Whether some rows of a training set have pictures and others have none."""
    counts = image_counts(dataset)
    return any(counts) and not all(counts)


def usable_rows(train: Any, evaluation: Any, processor: Any, on_bad_row: str) -> tuple[Dataset, Any]:
    """
    Check the datasets of a training, and keep text from data text.

    Args:
        train ([`~datasets.Dataset`]), evaluation ([`~datasets.Dataset`] or `dict`, *optional*):
            As the trainer was given them. A stream to evaluate on ([`~datasets.IterableDataset`]) is read to its end.
        processor ([`~transformers.ProcessorMixin`]):
            Of the model.
        on_bad_row (`str`):
            `"error"`, or `"skip"` to leave out the rows whose texts hold control tokens of the model.

    Returns:
        `tuple[Dataset, Dataset | dict | None]`: Both, without such rows.

    Raises:
        [`BadInputError`]: See [`check_rows`] and those of [`~mmr1_trl.data.checks.row_checks`].
    """

    def usable(dataset: Any, split: str) -> Any:
        check_rows(dataset, split)
        dataset = readable_by(processor, dataset, split)
        return without_control_tokens(dataset, processor, on_bad_row, split)

    train, evaluation = usable(train, "train_dataset"), _at_hand(evaluation)
    if isinstance(evaluation, dict):
        return train, {name: usable(part, f"eval_dataset {name}") for name, part in evaluation.items()}
    return train, None if evaluation is None else usable(evaluation, "eval_dataset")


def _at_hand(evaluation: Any) -> Any:
    """Read streams to their end, which every evaluation does; then their rows can be checked before the training."""
    if isinstance(evaluation, dict):
        return {name: _at_hand(part) for name, part in evaluation.items()}
    if not isinstance(evaluation, IterableDataset):
        return evaluation
    return Dataset.from_list(list(evaluation.decode(False)), features=evaluation.features)
