# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 eval`: accuracy of a model on rows with checkable answers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmr1_trl.cli.output import require_writable
from mmr1_trl.cli.parsing import parse
from mmr1_trl.errors import BadInputError


_ABOUT = (
    "Score a model by the training rewards' own rules, greedily and from samples, with 95 % intervals. These "
    "rule-based numbers are not those of leaderboards on which a judge model scores."
)


@dataclass
class EvalArguments:
    """
    Options of `mmr1 eval`. A column that is not named is recognized by its usual names.

    Args:
        model (`str`):
            Hub id, folder, `"figures/cold_start"` or `"figures/tiny"`.
        dataset_name (`str`, *optional*, defaults to `"figures"`):
            `"figures"` (drawn here), a local file or folder, or a dataset id on the Hub.
        benchmarks (`list[str]`, *optional*):
            Names of benchmarks, instead of a dataset. Each is written to a folder of its name in `output_dir`.
        dataset_config (`str`, *optional*), dataset_split (`str`, *optional*, defaults to `"test"`):
            Configuration and split of the dataset.
        num_rows (`int`, *optional*):
            Use only the first so many rows; for `figures`, how many are drawn (600 by default).
        figures_families (`list[str]`, *optional*), figures_levels (`list[int]`, *optional*):
            Kinds and levels of questions that `figures` draws.
        figures_seed (`int`, *optional*, defaults to `0`):
            Seed of the drawn pictures.
        prompt_column, image_column, answer_column, options_column (`str`, *optional*):
            Names of the columns.
        prompt_style (`str`, *optional*):
            How the question is put and which format counts as right.
        num_samples (`int`, *optional*, defaults to `0`):
            Completions to sample per prompt, beside the greedy one.
        temperature (`float`, *optional*, defaults to `1.0`):
            Temperature of the samples.
        max_new_tokens (`int`, *optional*):
            Longest completion in tokens; 32 for `figures` and 2048 for any other dataset by default.
        batch_size (`int`, *optional*, defaults to `64`):
            Most completions generated at once.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the samples.
        by (`list[str]`, *optional*):
            Columns to break the accuracy down by.
        min_pixels, max_pixels (`int`, *optional*):
            Limits of a picture's size, as in training.
        dtype (`str`, *optional*):
            `"float32"`, `"bfloat16"` or `"float16"`; by default bfloat16 on an accelerator and float32 on a CPU.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether to run code that a model's repository brings along.
        output_dir (`str`, *optional*):
            Where to write `summary.json`, `predictions.parquet`, some pictures and `report.html`. An interrupted
            evaluation goes on from there when it is called again.
    """

    model: str = field(default="", metadata={"help": "Hub id, folder, figures/cold_start or figures/tiny."})
    dataset_name: str = field(
        default="figures", metadata={"help": "figures (drawn here), a file, a folder or a Hub id."}
    )
    benchmarks: list[str] | None = field(
        default=None,
        metadata={
            "help": "Instead of a dataset: mathvista mathverse mathvision logicvista chartqa mmk12 hallusionbench "
            "screenspot pets37 figures, one or several."
        },
    )
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration name of a Hub dataset."})
    dataset_split: str = field(default="test", metadata={"help": "Split to evaluate on."})
    num_rows: int | None = field(default=None, metadata={"help": "Only the first so many rows; 600 for figures."})
    figures_families: list[str] | None = field(default=None, metadata={"help": "Kinds of questions of figures."})
    figures_levels: list[int] | None = field(default=None, metadata={"help": "Difficulty levels of figures."})
    figures_seed: int = field(default=0, metadata={"help": "Seed of the drawn pictures."})
    prompt_column: str | None = field(default=None, metadata={"help": "Column of the question, if not recognized."})
    image_column: str | None = field(default=None, metadata={"help": "Column of the pictures, if not recognized."})
    answer_column: str | None = field(default=None, metadata={"help": "Column of the answer, if not recognized."})
    options_column: str | None = field(default=None, metadata={"help": "Column of the choices of each question."})
    prompt_style: str | None = field(
        default=None, metadata={"help": "figures, mssr, mmr1, ui_r1, visual_rft or plain: wording and answer form."}
    )
    num_samples: int = field(default=0, metadata={"help": "Completions to sample per prompt, beside the greedy one."})
    temperature: float = field(default=1.0, metadata={"help": "Temperature of the samples."})
    max_new_tokens: int | None = field(
        default=None, metadata={"help": "Longest completion; 32 for figures and 2048 otherwise by default."}
    )
    batch_size: int = field(default=64, metadata={"help": "Most completions generated at once."})
    seed: int = field(default=0, metadata={"help": "Seed of the samples."})
    by: list[str] | None = field(default=None, metadata={"help": "Columns to break the accuracy down by."})
    min_pixels: int | None = field(default=None, metadata={"help": "Enlarge smaller pictures to so many pixels."})
    max_pixels: int | None = field(default=None, metadata={"help": "Shrink larger pictures to so many pixels."})
    dtype: str | None = field(default=None, metadata={"help": "float32, bfloat16 or float16; chosen by device."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code of the model's repository."})
    output_dir: str | None = field(
        default=None, metadata={"help": "Where to write the summary, the predictions and a report."}
    )

    def __post_init__(self) -> None:
        if not self.model:
            raise BadInputError("--model is missing: a Hub id, a folder, or figures/cold_start (small, made here).")
        if self.num_samples < 0 or self.batch_size < 1 or (self.num_rows is not None and self.num_rows < 1):
            raise BadInputError("--num_samples must be at least 0, --batch_size and --num_rows at least 1.")
        if self.temperature <= 0:
            raise BadInputError(
                f"--temperature must be above 0, got {self.temperature}; greedy decoding is always run."
            )
        if self.dtype not in (None, "float32", "bfloat16", "float16"):
            raise BadInputError(f"--dtype must be float32, bfloat16 or float16, got {self.dtype!r}.")


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


def parse_eval(argv: list[str]) -> EvalArguments:
    """Read the words after `mmr1 eval`."""
    settings = parse("eval", argv, lambda: (EvalArguments,), _ABOUT)
    if settings.launch_args:
        raise BadInputError(f"`mmr1 eval` runs in one process; {settings.launch_args[0]} has no meaning here.")
    return settings.build()[0]


def run(argv: list[str]) -> int:
    """Evaluate with the words after `mmr1 eval` as options, print the numbers, return the exit code."""
    args = parse_eval(argv)

    from mmr1_trl.evaluation.runner import category_columns, evaluate_model

    tasks = _tasks(args)
    for task in tasks:
        category_columns(task.rows, task.by)  # every complaint about the input comes before the model is loaded
    model, processor = load_model(args.model, dtype=args.dtype, trust_remote_code=args.trust_remote_code)
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
            min_pixels=args.min_pixels,
            max_pixels=args.max_pixels,
            log_file=None if task.folder is None else task.folder / "unfinished.jsonl",
        )
        results[task.title] = result.summary()
        _show(args.model, task, result)
    if len(results) > 1:
        from mmr1_trl.reporting.tables import overview_table

        print("\n" + overview_table(results).text())
    print("\nRule-based scores with 95 % intervals; leaderboards on which a judge model scores are another measure.")
    return 0


def _tasks(args: EvalArguments) -> list[_Task]:
    """Load the rows of everything that is to be evaluated."""
    from mmr1_trl.data.load import load_data
    from mmr1_trl.data.prompt_style import get_prompt_style
    from mmr1_trl.evaluation.benchmarks import get_benchmark, load_benchmark

    if args.prompt_style is not None:
        get_prompt_style(args.prompt_style)
    output = None if args.output_dir is None else require_writable(args.output_dir)

    def figures(folder: Path | None) -> _Task:
        rows = load_data(
            "figures",
            split=args.dataset_split,
            num_rows=args.num_rows or 600,
            seed=args.figures_seed,
            families=args.figures_families,
            levels=args.figures_levels,
        )
        style = args.prompt_style or "figures"
        return _Task(f"figures ({args.dataset_split})", rows, style, args.by, args.max_new_tokens or 32, folder)

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
            rows = load_benchmark(benchmark, args.num_rows, style)
            by = args.by or list(benchmark.by)
            length = args.max_new_tokens or 2048
            tasks.append(_Task(name, rows, style if style != "plain" else None, by, length, folder, benchmark.note))
        return tasks
    if args.dataset_name == "figures":
        return [figures(output)]
    columns = ("prompt_column", "image_column", "answer_column", "options_column")
    rows = load_data(
        args.dataset_name,
        split=args.dataset_split,
        config=args.dataset_config,
        num_rows=args.num_rows,
        prompt_style=args.prompt_style,
        **{name: getattr(args, name) for name in columns},
    )
    title = f"{args.dataset_name} ({args.dataset_split})"
    return [_Task(title, rows, args.prompt_style, args.by, args.max_new_tokens or 2048, output)]


def _show(model: str, task: _Task, result: Any) -> None:
    """Print the numbers of one evaluation, and write them down where that was asked for."""
    from mmr1_trl.reporting.tables import category_table, evaluation_table

    summary = result.summary()
    print(f"\n{model} on {task.title}, {result.seconds:.0f} s\n")
    print(evaluation_table(summary).text())
    for category in (name for name, values in result.by.items() if len(values) > 1):
        print("\n" + category_table(summary, category).text())
    if task.note:
        print(f"\n{task.title}: {task.note}")
    if result.skipped:
        print(f"\nRows left out because of broken pictures: {len(result.skipped)}")
        for entry in result.skipped[:5]:
            print(f"  {entry['reason']}")
    if task.folder is not None:
        from mmr1_trl.reporting.build import evaluation_report
        from mmr1_trl.reporting.samples import load_evaluation

        result.save(task.folder, task.rows)
        page = evaluation_report({model: load_evaluation(task.folder)}, task.title).write(task.folder / "report.html")
        print(f"\nWritten to {task.folder}; to look at it: {page}")


def load_model(name: str, dtype: str | None = None, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """
    Load a vision-language model and its processor for generation, on the accelerator if there is one.

    Args:
        name (`str`):
            Hub id, folder (of a model or of an adapter) or built-in name.
        dtype (`str`, *optional*):
            Name of a torch type. By default bfloat16 on an accelerator and float32 on a CPU.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether to run code that the repository brings along.

    Returns:
        `tuple`: Model and processor.

    Raises:
        `BadInputError`: If there is no such model, or it is no vision-language model.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText

    from mmr1_trl.models import load_processor, resolve_model

    path = resolve_model(name)
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    dtype = dtype or ("float32" if device.type == "cpu" else "bfloat16")
    processor = load_processor(path, trust_remote_code=trust_remote_code, padding_side="left")
    try:
        model: Any = AutoModelForImageTextToText.from_pretrained(
            path, dtype=dtype, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, SafetensorError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise BadInputError(f"The model {name!r} cannot be loaded: {first_line}") from error
    return model.to(device), processor
