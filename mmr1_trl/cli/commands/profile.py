# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 profile`: where the time and the memory of a training step go, as a table and a picture."""

from pathlib import Path

from mmr1_trl.cli.commands.train import build_trainer, leave, parse_training
from mmr1_trl.cli.config_file import take_method
from mmr1_trl.cli.first_look import look_first
from mmr1_trl.cli.launch import run_or_launch
from mmr1_trl.cli.output import require_writable
from mmr1_trl.cli.parser import Parser
from mmr1_trl.cli.parsing import Settings
from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder import PROFILE, PROFILE_PICTURE, write_json


_USAGE = """usage: mmr1 profile [METHOD] [--steps N] [--config NAME_OR_PATH] [options of `mmr1 METHOD`]

Train a few steps and show where their time and memory go. METHOD is grpo, mssr, vas or two-stage; a shipped config,
and the mmr1_config.yaml of a run, say it themselves. Nothing is saved but profile.json and profile.png in --output_dir
(by default runs/profile).

  mmr1 profile --config figures/mssr
  mmr1 profile mssr --config my.yaml --steps 32 --output_dir runs/where

options:
  --steps N     optimizer steps to measure, after one generation batch of warm-up; rounded up to whole generation
                batches (default: 8)"""


def parse_profile(argv: list[str]) -> tuple[int, Settings]:
    """Read the words after `mmr1 profile`: the number of steps, and the training's settings."""
    own = Parser(prog="mmr1 profile", add_help=False)
    own.add_argument("--steps", type=int, default=8)
    arguments, words = own.parse_known_args(argv)
    if arguments.steps < 1:
        raise BadInputError(f"--steps must be at least 1, not {arguments.steps}.")
    return arguments.steps, parse_training(*take_method(words, "profile", "method"))


def run(argv: list[str]) -> int:
    """Profile with the words after `mmr1 profile`; return the exit code."""
    if not argv or {"-h", "--help"} & set(argv):
        print(_USAGE)
        return 0
    look_first(argv)
    steps, settings = parse_profile(argv)
    if settings.origin("output_dir") != "command line":
        settings.values["output_dir"] = "runs/profile"
    folder = require_writable(settings.values["output_dir"])
    # A profile is no run: it neither resumes nor saves nor reports.
    settings.values |= {"save_strategy": "no", "eval_strategy": "no", "eval_on_start": False, "report_to": "none"}
    settings.values |= {"push_to_hub": False, "resume_from_checkpoint": None, "disable_tqdm": True, "logging_steps": 1}
    settings.values.pop("load_best_model_at_end", None)
    return run_or_launch("profile", argv, settings.launch_args, lambda: _profile(settings, steps, folder))


def _profile(settings: Settings, steps: int, folder: Path) -> int:
    from rich.console import Console

    from mmr1_trl.reporting.profile import draw_profile, profile_table
    from mmr1_trl.trainers.profiling import PARTS

    trainer, _ = build_trainer(settings)
    updates = -(-trainer.args.window // trainer.args.gradient_accumulation_steps)  # of one generation batch
    steps = -(-steps // updates) * updates
    trainer.args.max_steps = updates + steps
    profile = trainer.step_profile(warm_up=updates)
    with profile.measuring():
        trainer.train()
    if trainer.is_world_process_zero():
        summary = profile.summary()
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / PROFILE, summary)
        name = settings.config_path.stem if settings.config_path else settings.command
        draw_profile(summary, folder / PROFILE_PICTURE, f"mmr1 {settings.command} ({name})")
        Console(width=120).print(profile_table(summary, PARTS))
        if (tokens := summary["tokens"])["asked"]:
            asked, computed = tokens["asked"], tokens["computed"]
            saved = 1 - computed / asked
            print(f"  tokens   {computed:,.0f} computed of {asked:,.0f} asked for in a step ({saved:.0%} saved)")
        print(f"  picture  {folder / PROFILE_PICTURE}\n  numbers  {folder / PROFILE}")
    leave(trainer.engine, trainer.accelerator)
    return 0
