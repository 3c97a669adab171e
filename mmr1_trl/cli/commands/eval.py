# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 eval`: accuracy of a model on rows with checkable answers."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmr1_trl.cli.arguments import EvalArguments
from mmr1_trl.cli.commands.train import prefer_cpu_where_needed
from mmr1_trl.cli.first_look import look_first
from mmr1_trl.cli.launch import LAUNCHED, run_or_launch
from mmr1_trl.cli.names import coordinates, look_up
from mmr1_trl.cli.output import require_writable
from mmr1_trl.cli.parsing import Settings, parse
from mmr1_trl.cli.parts import load_weights, spare_threads
from mmr1_trl.cli.rows import ROW_OPTIONS, entries_of, load_mixture
from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder import REPORT_PAGE, UNFINISHED, journals_of_ranks


_ABOUT = (
    "Score a model by the training rewards' own rules, greedily and from samples, with 95 % intervals. These "
    "rule-based numbers are not those of leaderboards on which a judge model scores."
)
_RULE_BASED = "Rule-based scores with 95 % intervals; leaderboards on which a judge model scores are another measure."


@dataclass
class _Task:
    """One set of rows to evaluate on."""

    title: str
    rows: Any
    prompt_style: str | None
    by: list[str] | None
    max_new_tokens: int
    folder: Path | None
    note: str = ""
    all_right: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)  # what it is called elsewhere, by export format


def parse_eval(argv: list[str]) -> Settings:
    """Read the words after `mmr1 eval`."""
    return parse("eval", argv, lambda: (EvalArguments,), _ABOUT)


def run(argv: list[str]) -> int:
    """Evaluate with the words after `mmr1 eval` as options, print the numbers, return the exit code."""
    look_first(argv, whole_model=False)
    settings = parse_eval(argv)
    prefer_cpu_where_needed(settings)
    args: EvalArguments = settings.build()[0]
    if args.use_vllm and settings.launch_args:
        raise BadInputError(
            f"--use_vllm runs in one process, and {settings.launch_args[0]} has no meaning with it. Several devices: "
            "--vllm_tensor_parallel_size N."
        )
    try:
        if args.use_vllm:
            return _evaluate(args)
        return run_or_launch("eval", argv, settings.launch_args, lambda: _evaluate(args))
    except KeyboardInterrupt:
        if LAUNCHED not in os.environ:
            goes_on = "goes on from there" if _unfinished(args) else "begins again"
            hint = "" if args.output_dir else " With --output_dir it would go on."
            print(f"\nmmr1: interrupted. The same command {goes_on}.{hint}", file=sys.stderr)
        return 130


def _unfinished(args: EvalArguments) -> list[Path]:
    """The files that hold what an interrupted evaluation has generated so far."""
    if args.output_dir is None:
        return []
    folders = [Path(args.output_dir, name) for name in args.benchmarks] if args.benchmarks else [Path(args.output_dir)]
    return [file for folder in folders for file in journals_of_ranks(folder / UNFINISHED)]


def _evaluate(args: EvalArguments) -> int:
    from accelerate import PartialState
    from transformers.utils import logging

    from mmr1_trl.evaluation.runner import category_columns, evaluate_model
    from mmr1_trl.models import resolve_model

    spare_threads(args.model)
    state = PartialState(cpu=args.use_cpu)
    if not state.is_main_process:
        logging.disable_progress_bar()
    with state.main_process_first():  # the others find what it downloads or builds
        tasks = _tasks(args)
        for task in tasks:
            category_columns(task.rows, task.by)  # every complaint about the input comes before the model is loaded
        look_up(args.model, "model", args.model_revision)
        _add_frames(args, tasks, args.model)
        resolve_model(args.model)
    model, processor = _load(args, state.device)
    results = {}
    for task in tasks:
        result = evaluate_model(
            model,
            processor,
            task.rows,
            num_samples=args.num_samples,
            temperature=args.temperature,
            max_new_tokens=task.max_new_tokens,
            batch_size=args.batch_size,
            seed=args.seed,
            prompt_style=task.prompt_style,
            by=task.by,
            all_right=task.all_right,
            min_pixels=args.min_pixels,
            max_pixels=args.max_pixels,
            coordinates=args.coordinates,
            log_file=None if task.folder is None else task.folder / UNFINISHED,
            keep_log=True,  # until all tasks are done, so that a finished one is not generated again
            state=state,
        )
        results[task.title] = result.summary()
        if state.is_main_process:
            _show(args, task, result)
    if state.is_main_process:
        if len(results) > 1:
            from mmr1_trl.reporting.tables import overview_table

            print("\n" + overview_table(results).text())
        print(f"\n{_RULE_BASED}")
        for file in _unfinished(args):
            file.unlink()
    if args.use_vllm:
        model.shut_down()
    state.destroy_process_group()
    return 0


def _tasks(args: EvalArguments) -> list[_Task]:
    """Load the rows of everything that is to be evaluated."""
    from mmr1_trl.data.load import load_data
    from mmr1_trl.data.prompt_style import get_prompt_style
    from mmr1_trl.evaluation.benchmarks import get_benchmark, load_benchmark

    if args.prompt_style is not None:
        get_prompt_style(args.prompt_style)
    output = None if args.output_dir is None else require_writable(args.output_dir)

    def max_new_tokens(default: int) -> int:
        return default if args.max_new_tokens is None else args.max_new_tokens

    def figures(folder: Path | None, **options: Any) -> _Task:
        rows = load_data(
            "figures",
            split=args.dataset_split,
            num_rows=600 if args.num_rows is None else args.num_rows,
            seed=args.figures_seed,
            families=args.figures_families,
            levels=args.figures_levels,
            **options,
        )
        return _Task(f"figures ({args.dataset_split})", rows, "figures", args.by, max_new_tokens(32), folder)

    if args.benchmarks:
        known = {name: get_benchmark(name) for name in args.benchmarks if name != "figures"}
        tasks = []
        for name in args.benchmarks:
            folder = None if output is None else output / name
            if name == "figures":
                tasks.append(figures(folder))
                continue
            benchmark = known[name]
            style = args.prompt_style or benchmark.prompt_style
            elsewhere = {"lmms_eval": benchmark.lmms_eval, "vlmevalkit": benchmark.vlmevalkit}
            tasks.append(
                _Task(
                    title=name,
                    rows=load_benchmark(benchmark, args.num_rows, style, args.benchmarks_folder, _frame_of(args)),
                    prompt_style=style if style != "plain" else None,
                    by=args.by or list(benchmark.by),
                    max_new_tokens=max_new_tokens(2048),
                    folder=folder,
                    note=benchmark.note,
                    all_right=benchmark.all_right,
                    names={kind: known for kind, known in elsewhere.items() if known is not None},
                )
            )
        return tasks
    columns = ("prompt_column", "image_column", "answer_column", "options_column")
    options: dict[str, Any] = {"config": args.dataset_config, "revision": args.dataset_revision}
    names = ("prompt_style", "image_root", "answer_index", "answer_lists", "box_format", "gold_coordinates", *columns)
    options |= {name: getattr(args, name) for name in names}
    if args.dataset_name == "figures":
        return [figures(output, **options)]
    drawn: dict[str, Any] = {"seed": args.figures_seed, "families": args.figures_families}
    drawn |= {"levels": args.figures_levels, "coordinates": _frame_of(args), "num_rows": args.num_rows}

    def load(entry: dict[str, Any], split: str, more: dict[str, Any]) -> Any:
        look_up(entry["name"], "dataset", entry["revision"])
        said = {name: entry[name] for name in ("config", "revision", *ROW_OPTIONS) if name in entry}
        return load_data(entry["name"], split, **drawn | said | more)

    if args.datasets:
        rows = load_mixture(entries_of(args), ("test_split", args.dataset_split), load)
    else:
        rows = load(entries_of(args)[0], args.dataset_split, {})
    title = f"{args.dataset_name} ({args.dataset_split})"
    return [_Task(title, rows, args.prompt_style, args.by, max_new_tokens(2048), output)]


def _frame_of(args: EvalArguments) -> str | None:
    """The frame that prompts ask for points and boxes in."""
    named = {} if args.model_revision == "main" else {"revision": args.model_revision}
    return coordinates(args.coordinates, args.model, args.trust_remote_code, **named)


def _add_frames(args: EvalArguments, tasks: list[_Task], model: str) -> None:
    """Before the weights are loaded: refuse pictures for a text-only model, and give rows for places their frames."""
    from mmr1_trl.data.checks.row_checks import readable_by
    from mmr1_trl.engines.frames import add_frames, asks_anywhere
    from mmr1_trl.models import load_config, load_processor

    named = {} if args.model_revision == "main" else {"revision": args.model_revision}
    processor = load_processor(model, trust_remote_code=args.trust_remote_code, **named)
    for task in tasks:
        task.rows = readable_by(processor, task.rows, task.title)
        if not asks_anywhere(task.rows):
            continue
        task.rows = add_frames(
            task.rows,
            processor,
            args.coordinates,
            lambda: load_config(model, args.trust_remote_code, **named).model_type,
            args.min_pixels,
            args.max_pixels,
            name=task.title,
        )


def _write(args: EvalArguments, task: _Task, result: Any) -> list[str]:
    """Write an evaluation down where that was asked for; return what to tell about it."""
    if task.folder is None:
        return []
    from mmr1_trl.data.pictures.images import without_images
    from mmr1_trl.evaluation.export import export_lmms_eval, export_vlmevalkit, file_name
    from mmr1_trl.evaluation.record import write_record
    from mmr1_trl.reporting.build import evaluation_report
    from mmr1_trl.reporting.samples import load_evaluation

    result.save(task.folder, task.rows)
    named = task.title in (args.benchmarks or ())
    write_record(task.folder, args.model, *((task.title, None) if named else (args.dataset_name, args.dataset_split)))
    evaluation = {args.model: load_evaluation(task.folder)}
    page = evaluation_report(evaluation, task.title).write(task.folder / REPORT_PAGE)
    lines = [f"\nWritten to {task.folder}; to look at it: {page}"]
    for kind in args.export or []:
        name = task.names.get(kind, file_name(task.title))
        where = (task.folder / kind, args.model, name)
        if kind == "lmms_eval":
            path = export_lmms_eval(result.predictions, *where, args.num_rows, without_images(task.rows))
        else:
            tables = task.rows["vlmevalkit"][:] if "vlmevalkit" in task.rows.column_names else None
            path = export_vlmevalkit(result.predictions, *where, tables)
        lines.append(f"For {kind}: {path}")
    return lines


def _show(args: EvalArguments, task: _Task, result: Any) -> None:
    """Write the evaluation down and print its numbers."""
    from mmr1_trl.reporting.tables import category_table, evaluation_table

    written = _write(args, task, result)
    summary = result.summary()
    print(f"\n{args.model} on {task.title}, {result.seconds:.0f} s\n")
    print(evaluation_table(summary).text())
    for category in (name for name, values in result.by.items() if len(values) > 1):
        print("\n" + category_table(summary, category).text())
    if task.note:
        print(f"\n{task.title}: {task.note}")
    if result.skipped:
        print(f"\nRows left out because they cannot be used: {len(result.skipped)}")
        for entry in result.skipped[:5]:
            print(f"  {entry['reason']}")
    print(*written, sep="\n")


def _load(args: EvalArguments, device: Any) -> tuple[Any, Any]:
    """The model, or the vLLM engine that holds it, and its processor."""
    if not args.use_vllm:
        return load_model(args.model, args.dtype, args.trust_remote_code, device, args.model_revision)
    from mmr1_trl.evaluation.vllm_generation import VLLMGenerator
    from mmr1_trl.models import load_processor, resolve_model

    path = resolve_model(args.model)
    if args.model_revision != "main" and not Path(path).exists():
        from huggingface_hub import snapshot_download

        path = snapshot_download(path, revision=args.model_revision)
    processor = load_processor(path, trust_remote_code=args.trust_remote_code)
    engine = VLLMGenerator(
        path,
        processor,
        dtype=args.dtype or default_dtype(device),
        trust_remote_code=args.trust_remote_code,
        gpu_memory_utilization=args.vllm_gpu_memory_utilization,
        tensor_parallel_size=args.vllm_tensor_parallel_size,
        max_model_length=args.vllm_max_model_length,
    )
    return engine, processor


def default_dtype(device: Any) -> str:
    """Return the type to compute in on a device."""
    return "float32" if device.type == "cpu" else "bfloat16"


def load_model(
    name: str,
    dtype: str | None = None,
    trust_remote_code: bool = False,
    device: Any = None,
    revision: str = "main",
) -> tuple[Any, Any]:
    """
    Load a vision-language model and its processor for generation, on the accelerator if there is one.

    Args:
        name (`str`):
            Hub id, folder (of a model or of an adapter) or built-in name.
        dtype (`str`, *optional*):
            Name of a torch type. By default bfloat16 on an accelerator and float32 on a CPU.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether to run code that the repository brings along.
        device (`torch.device`, *optional*):
            Where to put the model; on the accelerator, or the CPU without one, by default.
        revision (`str`, *optional*, defaults to `"main"`):
            Branch, tag or commit of a repository on the Hub.

    Returns:
        `tuple`: Model and processor.

    Raises:
        `BadInputError`: If there is no such model, or it is no vision-language model.
    """
    import torch

    from mmr1_trl.models import load_processor, resolve_model

    path = resolve_model(name)
    device = device or torch.accelerator.current_accelerator() or torch.device("cpu")
    dtype = dtype or default_dtype(device)
    at: dict[str, Any] = {} if revision == "main" else {"revision": revision}
    processor = load_processor(path, trust_remote_code=trust_remote_code, padding_side="left", **at)
    model = load_weights(path, name, dtype=dtype, trust_remote_code=trust_remote_code, **at)
    return model.to(device), processor
