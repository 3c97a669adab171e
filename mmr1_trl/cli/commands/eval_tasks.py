# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What `mmr1 eval` evaluates on: one set of rows, or one for each benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmr1_trl.cli.arguments import EvalArguments
from mmr1_trl.cli.names import coordinates, revision
from mmr1_trl.cli.output import require_writable
from mmr1_trl.cli.rows import ROW_OPTIONS, look_up_datasets, read_rows


@dataclass
class Task:
    """
    One set of rows to evaluate on.

    Args:
        title (`str`):
            What to call it.
        rows ([`~datasets.Dataset`]):
            The rows.
        prompt_style (`str`, *optional*):
            The style whose format the completions should follow.
        by (`list[str]`, *optional*):
            Columns to break the accuracy down by.
        max_new_tokens (`int`):
            Longest completion.
        folder (`Path`, *optional*):
            Where to write what was found.
        note (`str`, *optional*):
            How the published numbers are scored differently.
        all_right (`Mapping[str, Sequence[str]]`, *optional*):
            Scores that count groups of rows, see [`~mmr1_trl.evaluation.runner.evaluate_model`].
        names (`Mapping[str, str]`, *optional*):
            What it is called elsewhere, by export format.
    """

    title: str
    rows: Any
    prompt_style: str | None
    by: list[str] | None
    max_new_tokens: int
    folder: Path | None
    note: str = ""
    all_right: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


def load_tasks(args: EvalArguments) -> list[Task]:
    """
    Load the rows of everything that is to be evaluated.

    Raises:
        [`BadInputError`]: Something of it cannot be loaded, or the output folder cannot be written.
    """
    from mmr1_trl.data.prompt_style import get_prompt_style
    from mmr1_trl.evaluation.benchmarks import get_benchmark

    if args.prompt_style is not None:
        get_prompt_style(args.prompt_style)
    output = None if args.output_dir is None else require_writable(args.output_dir)
    if not args.benchmarks:
        return [_dataset(args, output)]
    known = {name: get_benchmark(name) for name in args.benchmarks if name != "figures"}
    tasks = []
    for name in args.benchmarks:
        folder = None if output is None else output / name
        tasks.append(_benchmark(args, known[name], folder) if name in known else _figures(args, folder))
    return tasks


def _dataset(args: EvalArguments, folder: Path | None) -> Task:
    look_up_datasets(args)
    if args.dataset_name == "figures":
        said = {name: value for name, value in vars(args).items() if name in ROW_OPTIONS}
        return _figures(args, folder, config=args.dataset_config, revision=args.dataset_revision, **said)
    return Task(
        title=f"{args.dataset_name} ({args.dataset_split})",
        rows=read_rows(args, args.dataset_split, args.num_rows, evaluation=True, coordinates=frame_of(args)),
        prompt_style=args.prompt_style,
        by=args.by,
        max_new_tokens=args.max_new_tokens or 2048,
        folder=folder,
    )


def _figures(args: EvalArguments, folder: Path | None, **prepare: Any) -> Task:
    from mmr1_trl.data.load import load_data

    rows = load_data(
        "figures",
        split=args.dataset_split,
        num_rows=args.num_rows or 600,
        seed=args.figures_seed,
        families=args.figures_families,
        levels=args.figures_levels,
        **prepare,
    )
    title = f"figures ({args.dataset_split})"
    return Task(title, rows, "figures", args.by, args.max_new_tokens or 32, folder)


def _benchmark(args: EvalArguments, benchmark: Any, folder: Path | None) -> Task:
    from mmr1_trl.evaluation.benchmarks import load_benchmark

    style = args.prompt_style or benchmark.prompt_style
    elsewhere = {"lmms_eval": benchmark.lmms_eval, "vlmevalkit": benchmark.vlmevalkit}
    return Task(
        title=benchmark.name,
        rows=load_benchmark(benchmark, args.num_rows, style, args.benchmarks_folder, frame_of(args)),
        prompt_style=style if style != "plain" else None,
        by=args.by or list(benchmark.by),
        max_new_tokens=args.max_new_tokens or 2048,
        folder=folder,
        note=benchmark.note,
        all_right=benchmark.all_right,
        names={kind: name for kind, name in elsewhere.items() if name is not None},
    )


def frame_of(args: EvalArguments) -> str | None:
    """Return the frame that prompts ask for points and boxes in."""
    return coordinates(args.coordinates, args.model, args.trust_remote_code, **revision(args))
