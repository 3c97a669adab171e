# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""From the data options to prepared rows: of one dataset, or of several together."""

import sys
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


def load_splits(data_args: Any, config: Any, model_args: Any, processor: Any) -> tuple[Any, Any]:
    """Return the prepared rows to train on, and those to evaluate on if there is an evaluation (see [`load_rows`])."""
    if config.process_index == 0:
        for entry in entries_of(data_args):
            look_up(entry["name"], "dataset", entry["revision"])
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


def entries_of(data_args: Any) -> list[dict[str, Any]]:
    """
    Return what is to be loaded: the entries of `datasets`, or the one dataset of the other options.

    Args:
        data_args ([`~mmr1_trl.cli.arguments.RLArguments`] or [`~mmr1_trl.cli.arguments.EvalArguments`]):
            The data options.

    Returns:
        `list[dict[str, Any]]`: By entry `name`, `config` and `revision`, the row options, and what else it says.

    Raises:
        [`BadInputError`]: An entry is none.
    """
    from mmr1_trl.data.mixture import read_entries

    shared = {name: getattr(data_args, name) for name in ROW_OPTIONS if hasattr(data_args, name)}
    shared |= {"config": data_args.dataset_config, "revision": data_args.dataset_revision}
    if data_args.datasets is None:
        return [shared | {"name": data_args.dataset_name}]
    return [shared | entry for entry in read_entries(data_args.datasets, ("config", "revision", *ROW_OPTIONS))]


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
    figures = {"seed": data_args.figures_seed, "families": data_args.figures_families}
    figures["levels"] = data_args.figures_levels
    drawn = {"coordinates": coordinates, "on_bad_row": config.on_bad_row, "num_rows": num_rows, **figures}
    if data_args.datasets is None:
        return _load(entries_of(data_args)[0], split, processor, config.on_bad_row, drawn)
    return load_mixture(
        entries_of(data_args),
        ("test_split" if evaluation else "split", split),
        lambda entry, part, options: _load(entry, part, processor, config.on_bad_row, drawn | options),
    )


def load_mixture(entries: list[dict[str, Any]], split: tuple[str, str], load: Any) -> Any:
    """
    Load the datasets of a mixture and put their rows together.

    Args:
        entries (`list[dict[str, Any]]`):
            From [`entries_of`].
        split (`tuple[str, str]`):
            Under what key an entry names its split, and the one that it takes if it names none. An entry with
            `test_split: none` is left out of evaluations.
        load (`Callable`):
            From an entry, a split and further options of [`~mmr1_trl.data.load.load_data`] to prepared rows.

    Returns:
        [`~datasets.Dataset`]: See [`~mmr1_trl.data.mixture.mix_rows`].

    Raises:
        [`BadInputError`]: There is nothing to load, or a dataset cannot be loaded.
    """
    from mmr1_trl.data.mixture import mix_rows

    key, default = split
    parts, weights = {}, {}
    for entry in entries:
        part = entry.get(key, default)
        if part in (None, "none"):
            continue
        options = {"source": entry["source"]} | ({"num_rows": entry["num_rows"]} if "num_rows" in entry else {})
        parts[entry["source"]] = load(entry, part, options)
        weights[entry["source"]] = 1.0 if key == "test_split" else entry.get("weight", 1.0)
    if not parts:
        raise BadInputError("datasets: every entry says `test_split: none`; set eval_strategy to 'no'.")
    return mix_rows(parts, weights)


def _load(entry: dict[str, Any], split: str, processor: Any, on_bad_row: str, options: dict[str, Any]) -> Any:
    from transformers import ProcessorMixin

    from mmr1_trl.data import load_data
    from mmr1_trl.data.checks.row_checks import readable_by, without_control_tokens

    said = {name: entry[name] for name in ("config", "revision", *ROW_OPTIONS)}
    rows = load_data(entry["name"], split=split, **options | said)
    name = f"{entry['name']} ({split})"
    rows = without_control_tokens(readable_by(processor, rows, name), processor, on_bad_row, name)
    reads_pictures = isinstance(processor, ProcessorMixin)
    if reads_pictures and entry["image_column"] != "none" and "images" not in rows.column_names:
        raise BadInputError(
            f"{name}: no column looks like pictures; besides prompt and answer there are "
            f"{sorted(set(rows.column_names) - PREPARED)}. Name it with --image_column, or train on text alone with "
            "--image_column none (in an entry of `datasets`: `image_column: none`)."
        )
    return rows


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
