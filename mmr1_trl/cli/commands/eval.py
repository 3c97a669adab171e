# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 eval`: accuracy of a model on rows with checkable answers."""

import os
import sys
from pathlib import Path
from typing import Any

from mmr1_trl.cli.arguments import EvalArguments
from mmr1_trl.cli.commands.eval_tasks import Task, load_tasks
from mmr1_trl.cli.commands.train import prefer_cpu_where_needed
from mmr1_trl.cli.first_look import look_first
from mmr1_trl.cli.launch import LAUNCHED, run_or_launch
from mmr1_trl.cli.names import look_up, revision
from mmr1_trl.cli.parsing import Settings, parse
from mmr1_trl.cli.parts import default_dtype, load_model, spare_threads
from mmr1_trl.cli.rows import look_at_pictures
from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder import REPORT_PAGE, UNFINISHED, journals_of_ranks


_ABOUT = (
    "Score a model by the training rewards' own rules, greedily and from samples, with 95 % intervals. These "
    "rule-based numbers are not those of leaderboards on which a judge model scores."
)
_RULE_BASED = "Rule-based scores with 95 % intervals; leaderboards on which a judge model scores are another measure."


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

    from mmr1_trl.engines.packages import require_vllm
    from mmr1_trl.evaluation.runner import category_columns, evaluate_model
    from mmr1_trl.models import resolve_model

    if args.use_vllm:
        require_vllm()
    spare_threads(args.model)
    state = PartialState(cpu=args.use_cpu)
    if not state.is_main_process:
        logging.disable_progress_bar()
    with state.main_process_first():  # the others find what it downloads or builds
        tasks = load_tasks(args)
        look_up(args.model, "model", args.model_revision)
        _add_frames(args, tasks)
        for task in tasks:  # every complaint about the input comes before the model is loaded
            category_columns(task.rows, task.by)
            look_at_pictures(task.rows, "skip", task.title)
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


def _add_frames(args: EvalArguments, tasks: list[Task]) -> None:
    """Before the weights are loaded: refuse pictures for a text-only model, and give rows for places their frames."""
    from mmr1_trl.data.checks.row_checks import readable_by
    from mmr1_trl.engines.frames import add_frames, asks_anywhere
    from mmr1_trl.models import load_config, load_processor

    named = revision(args)
    processor = load_processor(args.model, trust_remote_code=args.trust_remote_code, **named)
    for task in tasks:
        task.rows = readable_by(processor, task.rows, task.title)
        if not asks_anywhere(task.rows):
            continue
        task.rows = add_frames(
            task.rows,
            processor,
            args.coordinates,
            lambda: load_config(args.model, args.trust_remote_code, **named).model_type,
            args.min_pixels,
            args.max_pixels,
            name=task.title,
        )


def _write(args: EvalArguments, task: Task, result: Any) -> list[str]:
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


def _show(args: EvalArguments, task: Task, result: Any) -> None:
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
