# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What `mmr1 check` says of the rows that are trained on: answers, pictures, prompts, places."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from mmr1_trl.cli.checking.check_report import Report


_LISTED = 10


def check_data(report: Report, dataset: Any, processor: Any, config: Any, data_args: Any, progress: bool) -> list[int]:
    """
    Look at every row, and write down what there is and what is wrong with it.

    Args:
        report ([`Report`]):
            Takes it.
        dataset ([`~datasets.Dataset`]), processor ([`~transformers.ProcessorMixin`]):
            The training rows and what makes tokens of them.
        config ([`~mmr1_trl.trainers.config.RLVRConfig`]), data_args ([`~mmr1_trl.cli.arguments.RLArguments`]):
            The run's options.
        progress (`bool`):
            Whether to show a progress bar.

    Returns:
        `list[int]`: The rows that the model can be tried on.
    """
    from mmr1_trl.data.checks.inspection import inspect_rows, summarize_images, text_histogram, unnamed_choices
    from mmr1_trl.data.checks.suspicions import suspicions
    from mmr1_trl.data.mixture import SOURCE_ROW, row_names

    name = row_names(dataset)
    rows = inspect_rows(dataset, processor, config.min_pixels, config.max_pixels, progress)
    report.sections["rows"] = {
        "dataset": data_args.dataset_name,
        "rows": rows.num_rows,
        "columns": rows.columns,
        "answer_types": rows.answer_types,
        "images_per_row": rows.images_per_row,
        "sources": dict(Counter(dataset["source"])) if SOURCE_ROW in rows.columns else {},
        "bad_golds": rows.bad_golds,
        "bad_images": rows.bad_images,
    }
    if rows.bad_golds:
        report.findings.append(
            f"{len(rows.bad_golds)} gold answers cannot be scored against: {_listed(rows.bad_golds, name)}"
        )
    if unnamed := unnamed_choices(dataset):
        report.findings.append(
            f"{len(unnamed)} answers name none of the choices beside them, which are not asked about then: "
            f"{_listed(unnamed, name)}. Are they indices (--answer_index), or in another column (--answer_column)?"
        )
    for suspicion in suspicions(dataset):
        rows_of = f"{len(suspicion.rows)} of {rows.num_rows} rows"
        listed = f" ({_listed(suspicion.rows, name)})" if suspicion.rows else ""
        report.findings.append(suspicion.what.replace("{rows}", rows_of) + listed)
    if rows.blank_images:
        report.findings.append(
            f"{len(rows.blank_images)} rows have a picture of a single color: {_listed(rows.blank_images, name)}"
        )
    if rows.bad_images:
        text = f"{len(rows.bad_images)} rows have a bad image: {_listed(rows.bad_images, name)}"
        # Under `skip` the trainer replaces such rows, which is what was asked for.
        (report.notes if config.on_bad_row == "skip" else report.findings).append(text)
    if rows.repeated_ids:
        report.notes.append(
            f"{len(rows.repeated_ids)} rows repeat the prompt_id of an earlier row and count as the same prompt."
        )
    styles = set(dataset["prompt_style"]) if "prompt_style" in rows.columns else set()
    if "format_reward" in data_args.reward_funcs and styles == {"plain"}:
        report.findings.append(
            "format_reward gives every completion 1.0 under prompt style 'plain'. Set --prompt_style, or drop it."
        )
    total = rows.lengths.total
    report.sections["prompts"] = {
        "tokens": {
            "shortest": int(total.min()),
            "mean": round(float(total.mean()), 1),
            "longest": int(total.max()),
            "longest_row": int(total.argmax()),
            "mean_text": round(float(rows.lengths.text.mean()), 1),
            "mean_image": round(float(rows.lengths.image.mean()), 1),
        },
        "histogram": text_histogram(total),
    }
    if rows.lengths.sizes:
        images = summarize_images(rows.lengths, processor, config.min_pixels, config.max_pixels)
        report.sections["images"] = images
    _check_places(report, dataset)
    return rows.usable_rows()


def _check_places(report: Report, dataset: Any) -> None:
    """Show a gold box in every frame, and suspect golds that were read in the wrong one."""
    from mmr1_trl.engines.frames import in_all_frames
    from mmr1_trl.rewards.grounding.locations import read_gold

    if "coordinates" not in dataset.column_names:
        return
    columns = dataset.select_columns(["solution", "answer_type", "image_size", "seen_size", "coordinates"])
    asked = [(row, cells) for row, cells in enumerate(columns) if cells["coordinates"]]
    shown = next(((row, cells) for row, cells in asked if in_all_frames(cells)), None)
    if shown is None:
        return
    row, cells = shown
    report.sections["places"] = {
        "coordinates": cells["coordinates"],
        "row": row,
        "image_size": cells["image_size"],
        "seen_size": cells["seen_size"],
        "gold": in_all_frames(cells),
    }
    resized = sum(cells["seen_size"] != cells["image_size"] for _, cells in asked if cells["seen_size"])
    if resized and cells["coordinates"] == "pixels":
        report.notes.append(
            f"{resized} of {len(asked)} pictures are resized before the model sees them, and its points and boxes are "
            "read as pixels of the stored pictures, whose size the prompt has to say."
        )
    ends = [max(read_gold(cells["solution"]) or (0,)) for _, cells in asked if cells["answer_type"] != "detections"]
    sides = [min(cells["image_size"]) for _, cells in asked]
    if len(ends) >= 20 and max(ends) <= 1000 < min(sides):
        report.findings.append(
            f"No gold box goes beyond 1000 pixels, and every picture has sides of {min(sides)} or more: are the golds "
            "in thousandths? Then pass --gold_coordinates thousandths."
        )


def _listed(rows: dict[int, str], name: Callable[[int], str]) -> str:
    shown = "; ".join(
        reason.replace(f"row {row}", name(row), 1) if reason.startswith(f"row {row},") else f"{name(row)}: {reason}"
        for row, reason in list(rows.items())[:_LISTED]
    )
    return shown + (f"; and {len(rows) - _LISTED} more (all with --json)" if len(rows) > _LISTED else "")
