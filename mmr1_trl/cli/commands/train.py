# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What `mmr1 grpo`, `mmr1 mssr` and their siblings do: read the options, load the parts, train, save."""

import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmr1_trl
from mmr1_trl.cli.first_look import look_at_folder, look_first
from mmr1_trl.cli.launch import PREEMPTED, run_or_launch, settle
from mmr1_trl.cli.output import (
    hold_folder,
    refuse_to_overwrite,
    report_interrupt,
    resume_argument,
    write_settings,
)
from mmr1_trl.cli.parsing import NO_ACCELERATOR, Settings, parse
from mmr1_trl.cli.parts import load_parts
from mmr1_trl.errors import BadInputError, Preempted
from mmr1_trl.run_folder import SETTINGS_FILE, TRAIN_RESULTS, TRAINER_STATE
from mmr1_trl.trainers.method_table import METHODS


def parse_training(command: str, argv: list[str]) -> Settings:
    """
    Read the options of a training command.

    Args:
        command (`str`):
            One of `METHODS`.
        argv (`list[str]`):
            The words after the command.

    Returns:
        [`Settings`]: Builds `(RLArguments, <the method's config>, ModelConfig)`.
    """

    def load_classes() -> tuple[type, ...]:
        from trl import ModelConfig

        from mmr1_trl.cli.arguments import RLArguments

        return RLArguments, getattr(mmr1_trl, METHODS[command].config), ModelConfig

    settings = parse(command, argv, load_classes, METHODS[command].about)
    prefer_cpu_where_needed(settings)
    return settings


def prefer_cpu_where_needed(settings: Settings) -> None:
    """Without an accelerator (or with `--cpu`) choose the CPU and 32 bits, unless the user chose something."""
    import torch

    if "--cpu" in settings.launch_args or not torch.accelerator.is_available():
        settings.fill("use_cpu", True, NO_ACCELERATOR)
        if not settings.values.get("fp16"):
            settings.fill("bf16", False, NO_ACCELERATOR)


def train(command: str, argv: list[str]) -> int:
    """Run the training command `command`; the body of `mmr1 grpo`, `mmr1 mssr`, ..."""
    look_first(argv)
    look_at_folder(command, argv)
    return run_resumable(parse_training(command, argv), argv, _train)


def run_resumable(settings: Settings, argv: list[str], run: Callable[[Settings], int]) -> int:
    """
    Train here or in several processes; say after an interruption how to go on.

    Args:
        settings ([`Settings`]), argv (`list[str]`):
            What the user asked for, and the words that said so.
        run (`Callable[[Settings], int]`):
            The training in one process.

    Returns:
        `int`: The exit code.
    """
    with hold_folder(settings):  # let go before processes are launched, whose first one takes it
        refuse_to_overwrite(settings)

    def alone() -> int:
        with hold_folder(settings):
            return run(settings)

    try:
        code = run_or_launch(settings.command, argv, settings.launch_args, alone)
    except KeyboardInterrupt:
        code = 130
    except Preempted as preempted:
        code = 128 + preempted.signal
    if code in (130, *PREEMPTED):
        report_interrupt(argv, settings)
    return code


def _train(settings: Settings) -> int:
    trainer, dataset_name = build_trainer(settings)
    finish(trainer, settings, dataset_name)
    return 0


def build_trainer(settings: Settings) -> tuple[Any, str]:
    """Return the trainer of a training command, and what the user calls the dataset."""
    parts = load_parts(settings)
    return parts.make(getattr(mmr1_trl, METHODS[settings.command].trainer)), parts.dataset_name


def finish(trainer: Any, settings: Settings, dataset_name: str) -> None:
    """Train with a built trainer, then save the model, its card, the metrics and the settings, and say where."""
    from mmr1_trl.reporting.terminal import duration, gain
    from mmr1_trl.trainers.guards.exhaustion import saving
    from mmr1_trl.trainers.guards.preemption import handled_by

    config = trainer.args
    trainer.base_model_name, trainer.dataset_name = settings.values.get("model_name_or_path"), dataset_name
    if trainer.is_world_process_zero():
        write_settings(settings, config.output_dir)
    try:
        result = trainer.train(resume_from_checkpoint=resume_argument(config))
    except Preempted:
        leave(trainer.engine, trainer.accelerator)
        raise
    folder = Path(config.output_dir)
    config.push_to_hub, push = False, config.push_to_hub  # once, when everything is there
    with handled_by(signal.SIG_IGN), saving("The trained model", folder, folder):
        trainer.save_model(config.output_dir)
        config.push_to_hub = push
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()
        trainer.create_model_card()
    page = _push(trainer.push_to_hub, config, trainer.hub_target) if push else None
    trainer.accelerator.print(
        f"\nTrained to step {trainer.state.global_step} in {duration(result.metrics['train_runtime'])}"
        + (f": {change}" if (change := gain(trainer.state.log_history)) else "")
        + f".\n  model     {config.output_dir}\n"
        f"  settings  {config.output_dir}/{SETTINGS_FILE}\n"
        f"  metrics   {config.output_dir}/{TRAIN_RESULTS}, {TRAINER_STATE}\n"
        f"  report    mmr1 report {shlex.quote(str(config.output_dir))}" + (f"\n  uploaded  {page}" if page else "")
    )
    leave(trainer.engine, trainer.accelerator)


def leave(engine: Any, accelerator: Any) -> None:
    """End what a training or a scoring has started, so that the process can end."""
    if engine is not None:
        engine.shut_down()
    accelerator.end_training()
    if accelerator.num_processes > 1:
        settle()


def _push(push: Callable[[], Any], config: Any, target: Any) -> str | None:
    """Upload the result; return its page, or say how to upload it later: the training has succeeded either way."""
    from mmr1_trl.hub.upload import later_command

    try:
        push()
    except BadInputError as error:
        print(
            f"\nmmr1: the training is finished and saved, but was not uploaded: {error}\nmmr1: to upload it later: "
            f"{later_command(config, target)}",
            file=sys.stderr,
        )
        return None
    return None if target is None else target.url
