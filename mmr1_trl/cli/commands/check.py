# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 check`: everything that can be known about a run before it starts, without training."""

import argparse
import dataclasses
import json
from typing import Any

from mmr1_trl.cli.checking.check_checkpoint import check_checkpoint
from mmr1_trl.cli.checking.check_report import Report, report_lines
from mmr1_trl.cli.checking.check_rows import check_data
from mmr1_trl.cli.commands.train import parse_training
from mmr1_trl.cli.config_file import take_method
from mmr1_trl.cli.first_look import look_first
from mmr1_trl.cli.launch import asked_processes
from mmr1_trl.cli.names import require_model, revision
from mmr1_trl.cli.parser import Parser
from mmr1_trl.cli.parsing import Settings
from mmr1_trl.cli.parts import (
    adapters,
    choose_device,
    find_model,
    load_processor_of,
    load_weights,
    model_init_kwargs,
    refusals,
)
from mmr1_trl.cli.rows import load_splits, without_long_prompts
from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.method_table import METHODS


_USAGE = f"mmr1 check [{' | '.join(METHODS)}] --config NAME_OR_PATH [--option value ...]"


def run(argv: list[str]) -> int:
    """
    Check the run that the words after `mmr1 check` describe.

    Args:
        argv (`list[str]`):
            A training command (`mssr`, ...; taken from the config file when left out) and its options, and the
            check's own: `--samples`, `--sample_tokens`, `--json`; or `--checkpoint FOLDER` and nothing else.

    Returns:
        `int`: 0 when nothing was found, 1 with findings.

    Raises:
        [`BadInputError`]: The run could not even start, or the checkpoint is not whole.
    """
    options, words = _own_options(argv)
    if options.checkpoint is not None:
        print(check_checkpoint(options.checkpoint, words))
        return 0
    look_first(words)
    options, settings = parse_check(argv)
    report = check(settings, options.samples, options.sample_tokens, progress=not options.json)
    if options.json:
        print(json.dumps(dataclasses.asdict(report), indent=2, default=str))
    else:
        print("\n".join(report_lines(report)))
    return 1 if report.findings else 0


def parse_check(argv: list[str]) -> tuple[argparse.Namespace, Settings]:
    """Read the words after `mmr1 check`: the check's own options, and the training's settings."""
    options, words = _own_options(argv)
    if options.samples < 0 or options.sample_tokens < 1:
        raise BadInputError("--samples must be at least 0 and --sample_tokens at least 1.")
    return options, parse_training(*take_method(words, "check"))


def _own_options(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split the words after `mmr1 check` into the check's own options and those of the training."""
    parser = Parser(
        prog="mmr1 check",
        usage=_USAGE,
        description="Look for everything that would stop a run, without training. Exit code 0: nothing found, 1: "
        "findings, 2: the run could not start.",
        epilog="All other options are those of the training command, see `mmr1 mssr --help`.",
    )
    parser.add_argument("--samples", type=int, default=4, help="completions to draw from the model (0: none)")
    parser.add_argument("--sample_tokens", type=int, default=512, help="cut those completions at so many tokens")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--checkpoint", metavar="FOLDER", help="look at a checkpoint, or a run's newest, and stop")
    return parser.parse_known_args(argv)


def check(settings: Settings, num_samples: int = 4, sample_tokens: int = 512, progress: bool = True) -> Report:
    """
    Check a run.

    Args:
        settings ([`~mmr1_trl.cli.parsing.Settings`]):
            The options of a training command.
        num_samples (`int`, *optional*, defaults to `4`):
            Completions to draw from the model. 0 does not load its weights.
        sample_tokens (`int`, *optional*, defaults to `512`):
            Longest completion to draw, in tokens.
        progress (`bool`, *optional*, defaults to `True`):
            Whether to show progress bars.

    Returns:
        [`Report`]
    """
    report = Report(settings.command)
    processes = _num_processes(settings)
    data_args, config, model_args = _as_one_process(settings, processes).build()

    from transformers import AutoConfig

    from mmr1_trl.data.prompts import Prompts
    from mmr1_trl.data.token_counts import check_vllm_length
    from mmr1_trl.engines.frames import add_training_frames
    from mmr1_trl.engines.refusals import check_engine
    from mmr1_trl.evaluation.preflight import missing_extras
    from mmr1_trl.rewards.resolve import resolve_rewards
    from mmr1_trl.trainers.budget import plan_run
    from mmr1_trl.trainers.checks import check_run
    from mmr1_trl.trainers.packing.installation import expected_tokens

    report.sections["config"] = _resolved(settings, (data_args, config, model_args), processes)
    missing = missing_extras(config, model_args, settings.launch_args, use_vllm=config.use_vllm)
    report.findings += missing
    adapters(model_args)
    rewards = resolve_rewards(data_args.reward_funcs)
    processor = load_processor_of(require_model(model_args), config, model_args)
    dataset, eval_rows = load_splits(data_args, config, model_args, processor)
    dataset = without_long_prompts(dataset, data_args, config, processor)
    with report.refusal_is_a_finding():
        config.model_init_kwargs = revision(model_args)
        named = (require_model(model_args), processor, config, rewards)
        dataset, eval_rows = add_training_frames(dataset, eval_rows, *named)
    splits = {"train_dataset": dataset, "eval_dataset": eval_rows}
    with report.refusal_is_a_finding():
        check_run(config, rewards, **splits)
    model_path = find_model(config, model_args)
    if config.use_vllm and not missing:
        with report.refusal_is_a_finding():
            check_engine(config, model_path, wait=False)
    for split, rows in splits.items():
        with report.refusal_is_a_finding():
            check_vllm_length(config, processor, **{split: rows})
    usable = check_data(report, dataset, processor, config, data_args, progress)

    plan = plan_run(config, len(dataset), num_prompts=Prompts.of(dataset).count)
    longest = report.sections["prompts"]["tokens"]["longest"]
    rows = config.per_device_train_batch_size // processes
    with refusals(model_path):
        model_config = AutoConfig.from_pretrained(
            model_path, trust_remote_code=config.trust_remote_code, **revision(model_args)
        )
    asked, computed = expected_tokens(
        model_config, longest, config.max_completion_length, rows, config.num_generations
    )
    report.sections["batches"] = {
        "processes": processes, **dataclasses.asdict(plan), "tokens_of_the_longest_micro_batch": asked,
        "computed_with_shared_prompts": computed if config.share_prompts != "off" else asked,
    }  # fmt: skip
    report.sections["memory_gib"] = _memory(model_path, config, model_args, longest, processes)
    _check_room(report, model_config, config, longest)
    if num_samples and usable:
        _check_samples(
            report, dataset, usable, processor, model_path, config, model_args, rewards, num_samples, sample_tokens
        )
    return report


def _num_processes(settings: Settings) -> int:
    """Return how many processes the run would have."""
    import torch

    return asked_processes(settings.launch_args) or max(1, torch.accelerator.device_count())


def _as_one_process(settings: Settings, processes: int) -> Settings:
    """For the arithmetic of batches, `n` processes are one with `n` times as many rows at once."""
    names = ("per_device_train_batch_size", "per_device_eval_batch_size")
    scaled = {name: processes * settings.value(name) for name in names}
    return dataclasses.replace(settings, values=settings.values | scaled)


def _resolved(settings: Settings, built: tuple[Any, ...], processes: int) -> dict[str, dict[str, Any]]:
    """Return every option with its value and where that comes from."""
    resolved: dict[str, dict[str, Any]] = {}
    for instance in built:
        for option in dataclasses.fields(instance):
            value = settings.values.get(option.name, getattr(instance, option.name))
            if settings.origin(option.name) == "default" and option.name.startswith("per_device"):
                value //= processes
            if option.name not in ("hub_token", "push_to_hub_token"):
                resolved[option.name] = {"value": value, "source": settings.origin(option.name)}
    return resolved


def _memory(model: str, config: Any, model_args: Any, longest: int, processes: int) -> dict[str, float]:
    """Numbers of parameters, and GiB of one process as `mmr1 plan` has them, before sharding and without vLLM."""
    from mmr1_trl.planning.memory import GIB, estimate, trained_parameters
    from mmr1_trl.planning.options import read_options
    from mmr1_trl.planning.shapes import read_shapes

    shapes = read_shapes(model, config.trust_remote_code, **revision(model_args))
    options = read_options(config, model_args, 1, 0.0, "none", 1, half=bool(config.bf16 or config.fp16))
    pictures = min(shapes.picture_tokens(config.max_pixels), longest - 1)
    options = dataclasses.replace(
        options,
        micro=max(1, config.per_device_train_batch_size // processes),
        text_tokens=longest - pictures,
        max_pixels=pictures * (shapes.patch * shapes.merge) ** 2,
    )
    memory = estimate(shapes, options)
    parts = memory.parts | {"updating": memory.update, "sampling": memory.sampling}
    parts["total"] = max(memory.update, memory.sampling)
    counts = {"parameters": shapes.total, "trainable": int(trained_parameters(shapes, options)[0])}
    return counts | {name: round(value / GIB, 3) for name, value in parts.items()}


def _check_room(report: Report, model_config: Any, config: Any, longest: int) -> None:
    """Compare the longest prompt with the context window, and the estimated memory with that of the device."""
    import torch

    from mmr1_trl.planning.memory import GIB

    row = report.sections["prompts"]["tokens"]["longest_row"]
    limit = model_config.get_text_config().max_position_embeddings
    if limit is not None and longest + config.max_completion_length > limit:
        report.findings.append(
            f"The longest prompt (row {row}, {longest} tokens) and max_completion_length="
            f"{config.max_completion_length} do not fit into the model's context window of {limit} tokens. Lower "
            "max_pixels or max_completion_length."
        )
    if torch.cuda.is_available():
        room = torch.cuda.get_device_properties(0).total_memory / GIB
        total = report.sections["memory_gib"]["total"]
        if total > room:
            report.findings.append(
                f"One process needs an estimated {total:.0f} GiB before sharding, and the device has {room:.0f} GiB. "
                "Use --accelerate_config zero2 or zero3, --use_peft, or a smaller batch."
            )


def _check_samples(
    report: Report,
    dataset: Any,
    usable: list[int],
    processor: Any,
    model_path: str,
    config: Any,
    model_args: Any,
    rewards: list[Any],
    num_samples: int,
    sample_tokens: int,
) -> None:
    """Let the model answer a few rows from all over the dataset, and show what the rewards make of it."""
    from mmr1_trl.evaluation.preflight import draw_samples

    limit = min(config.max_completion_length, sample_tokens)
    device = choose_device(config.use_cpu)
    kwargs = model_init_kwargs(model_args)
    if device.type != "cpu" and config.bf16:
        kwargs["dtype"] = "bfloat16"  # as under the trainer's autocast, in half the memory
    model = load_weights(model_path, model_path, trust_remote_code=config.trust_remote_code, **kwargs)
    step = max(1, len(usable) // num_samples)
    samples, problems = draw_samples(
        model.to(device),
        processor,
        dataset,
        usable[::step][:num_samples],
        rewards,
        max_new_tokens=limit,
        temperature=config.temperature,
        min_pixels=config.min_pixels,
        max_pixels=config.max_pixels,
        seed=config.seed,
    )
    report.sections["samples"] = [dataclasses.asdict(sample) for sample in samples]
    report.findings += problems
    answered = [sample for sample in samples if sample.extracted is not None]
    cut = sum(sample.truncated for sample in samples)
    if not answered:
        report.findings.append(
            f"None of {len(samples)} completions contains an answer ({cut} cut at {limit} tokens): every reward for "
            "accuracy would be 0."
        )
    for name in {name for sample in samples for name in sample.rewards}:
        if all(sample.rewards[name] is None for sample in samples):
            report.findings.append(f"reward {name} gives no value (None) for any of {len(samples)} completions.")
    if config.use_vllm:
        report.notes.append("The samples were generated by transformers; the run would use vLLM.")
