# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""From the data options to prepared rows: of one dataset, or of several together."""

import sys
from collections.abc import Callable
from typing import Any

from mmr1_trl.cli.names import coordinates, look_up, require_model, revision
from mmr1_trl.errors import BadInputError


# columns that `load_data` adds to those of the dataset
PREPARED = {"prompt", "solution", "answer_type", "options", "prompt_id", "prompt_style", "image_size", "tolerance"}
PREPARED |= {"coordinates", "accepted_answers", "source", "source_row"}
# What an entry of `datasets` may say of its rows, in place of the option of the same name for all of them.
ROW_OPTIONS = (
    "prompt_column", "image_column", "answer_column", "options_column", "question", "answer_type", "answer_index",
    "answer_lists", "box_format", "gold_coordinates", "tolerance", "prompt_style", "image_root",
)  # fmt: skip
_HEADERS, _DECODED = 1000, 64  # rows whose pictures are looked at before a model is


def load_splits(data_args: Any, config: Any, model_args: Any, processor: Any) -> tuple[Any, Any]:
    """Return the prepared rows to train on, and those to evaluate on if there is an evaluation (see [`load_rows`])."""
    if config.process_index == 0:
        look_up_datasets(data_args)
    frame = coordinates(
        config.coordinates, require_model(model_args), config.trust_remote_code, **revision(model_args)
    )
    with config.main_process_first(desc="loading the dataset"):
        train = (data_args.dataset_train_split, data_args.num_train_rows)
        train_rows, eval_rows = load_rows(data_args, config, *train, processor, frame), None
        if config.eval_strategy != "no":
            test = (data_args.dataset_test_split, data_args.num_eval_rows)
            eval_rows = load_rows(data_args, config, *test, processor, frame, evaluation=True)
    return train_rows, eval_rows


def load_rows(
    data_args: Any,
    config: Any,
    split: str,
    num_rows: int | None,
    processor: Any,
    coordinates: str | None = None,
    evaluation: bool = False,
) -> Any:
    """
    Return the prepared rows of one split, as the data options and `on_bad_row` of the trainer's config say, without
    those whose texts hold control tokens of the model. Prompts for points and boxes ask for them in the frame
    `coordinates`. Of several datasets the entries say their splits themselves, for an `evaluation` by `test_split`.

    Raises:
        [`BadInputError`]: The rows cannot be prepared, or have no pictures and nobody said that they should not.
    """
    from transformers import ProcessorMixin

    from mmr1_trl.data.checks.row_checks import readable_by, without_control_tokens

    def usable(rows: Any, entry: dict[str, Any], name: str) -> Any:
        rows = without_control_tokens(readable_by(processor, rows, name), processor, config.on_bad_row, name)
        reads_pictures = isinstance(processor, ProcessorMixin)
        if reads_pictures and entry["image_column"] != "none" and "images" not in rows.column_names:
            raise BadInputError(
                f"{name}: no column looks like pictures; besides prompt and answer there are "
                f"{sorted(set(rows.column_names) - PREPARED)}. Name it with --image_column, or train on text alone "
                "with --image_column none (in an entry of `datasets`: `image_column: none`)."
            )
        return rows

    prepare = {"coordinates": coordinates, "on_bad_row": config.on_bad_row}
    return read_rows(data_args, split, num_rows, usable, evaluation=evaluation, **prepare)


def look_up_datasets(data_args: Any) -> None:
    """Ask the Hub once for each dataset of the data options, see [`~mmr1_trl.cli.names.look_up`]."""
    for entry in entries_of(data_args):
        look_up(entry["name"], "dataset", entry["revision"])


def entries_of(data_args: Any) -> list[dict[str, Any]]:
    """
    Return what is to be loaded: the entries of `datasets`, or the one dataset of the other options.

    Args:
        data_args ([`~mmr1_trl.cli.arguments.QuestionArguments`]):
            The data options.

    Returns:
        `list[dict[str, Any]]`: By entry `name`, `config` and `revision`, the row options, and what else it says.

    Raises:
        [`BadInputError`]: An entry is none.
    """
    from mmr1_trl.data.mixture import read_entries

    shared = {name: value for name, value in vars(data_args).items() if name in ROW_OPTIONS}
    shared |= {"config": data_args.dataset_config, "revision": data_args.dataset_revision}
    if data_args.datasets is None:
        return [shared | {"name": data_args.dataset_name}]
    return [shared | entry for entry in read_entries(data_args.datasets, ("config", "revision", *ROW_OPTIONS))]


def read_rows(
    data_args: Any,
    split: str,
    num_rows: int | None,
    usable: Callable[[Any, dict[str, Any], str], Any] = lambda rows, entry, name: rows,
    *,
    evaluation: bool,
    **prepare: Any,
) -> Any:
    """
    Load the dataset of the data options, or all of a mixture, and put their rows together.

    Args:
        data_args ([`~mmr1_trl.cli.arguments.QuestionArguments`]):
            The data options.
        split (`str`), num_rows (`int`, *optional*):
            The split, and how many of its rows; where an entry says them itself, that is taken.
        usable (`Callable`, *optional*):
            From the rows of one dataset, its entry and its name in a message to the rows that are kept.
        evaluation (`bool`):
            Whether an entry names its split by `test_split` (`none`: it is left out), every weight being 1 then.
        **prepare:
            Further options of [`~mmr1_trl.data.load.load_data`].

    Returns:
        [`~datasets.Dataset`]: Of several datasets see [`~mmr1_trl.data.mixture.mix_rows`].

    Raises:
        [`BadInputError`]: There is nothing to load, or a dataset cannot be loaded.
    """
    from mmr1_trl.data import load_data
    from mmr1_trl.data.mixture import mix_rows

    figures = {"seed": data_args.figures_seed, "families": data_args.figures_families}
    shared = {"num_rows": num_rows, "levels": data_args.figures_levels, **figures, **prepare}

    def load(entry: dict[str, Any], part: str, **own: Any) -> Any:
        said = {name: value for name, value in entry.items() if name in ("config", "revision", *ROW_OPTIONS)}
        return usable(load_data(entry["name"], part, **shared | said | own), entry, f"{entry['name']} ({part})")

    entries = entries_of(data_args)
    if data_args.datasets is None:
        return load(entries[0], split)
    parts, weights = {}, {}
    for entry in entries:
        part = entry.get("test_split" if evaluation else "split", split)
        if part in (None, "none"):
            continue
        own = {name: entry[name] for name in ("source", "num_rows") if name in entry}
        parts[entry["source"]] = load(entry, part, **own)
        weights[entry["source"]] = 1.0 if evaluation else entry.get("weight", 1.0)
    if not parts:
        raise BadInputError("datasets: every entry says `test_split: none`; set eval_strategy to 'no'.")
    return mix_rows(parts, weights)


def look_at_pictures(rows: Any | None, on_bad_row: str, name: str) -> None:
    """
    Look at some pictures before a model is built or loaded: the headers of a thousand rows from all over the dataset,
    and the first ones as a whole.

    Raises:
        [`BadInputError`]: One of them cannot be read; where such rows are passed over, none of them can.
    """
    from mmr1_trl.data.pictures.images import BadImageError, image_size, open_image, stored_images

    if rows is None:
        return
    numbers = range(0, len(rows), -(-len(rows) // _HEADERS) or 1)
    bad = []
    for place, (row, images) in enumerate(zip(numbers, stored_images(rows.select(numbers)))):
        try:
            for i, image in enumerate(images):
                look = open_image if place < _DECODED else image_size
                look(image, f"row {row}, image {i}")
        except BadImageError as error:
            bad.append(str(error))
            if on_bad_row == "error":
                hint = "Pass --on_bad_row skip to pass over such rows; `mmr1 check` lists them."
                raise BadInputError(f"{name}: {error} {hint}") from error
    if bad and len(bad) == len(numbers):
        raise BadInputError(f"{name}: no row has pictures that can be read. {bad[0]}")


def without_long_prompts(rows: Any, data_args: Any, config: Any, processor: Any) -> Any:
    """Return training rows without those whose prompts are longer than `max_prompt_tokens`."""
    if data_args.max_prompt_tokens is None:
        return rows
    from mmr1_trl.data.token_counts import drop_long_prompts, prompt_lengths

    lengths = prompt_lengths(rows, processor, config.min_pixels, config.max_pixels)
    return drop_long_prompts(rows, lengths, data_args.max_prompt_tokens)


def name_unreadable_golds(rows: Any) -> None:
    """
    Say before training which answers `accuracy_reward` cannot read: their completions get no reward at all.

    Raises:
        [`BadInputError`]: None of them can be read.
    """
    from mmr1_trl.data.checks.inspection import unreadable_golds

    bad = unreadable_golds(rows)
    if not bad:
        return
    first = "; ".join(f"row {row}: {reason}" for row, reason in list(bad.items())[:5])
    if len(bad) == len(rows):
        raise BadInputError(f"accuracy_reward can read none of the answers ({first}). See --answer_type.")
    print(
        f"mmr1: warning: {len(bad)} of {len(rows)} answers cannot be read, and what is sampled for them is not "
        f"trained on ({first}). `mmr1 check` lists them all.",
        file=sys.stderr,
    )
