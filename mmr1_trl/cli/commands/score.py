# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 score`: pass rates and variance promotion scores of a dataset, once and for all."""

from pathlib import Path

from mmr1_trl.cli.commands.train import leave, prefer_cpu_where_needed
from mmr1_trl.cli.first_look import look_first
from mmr1_trl.cli.launch import run_or_launch
from mmr1_trl.cli.output import hold_folder, output_folder, require_writable
from mmr1_trl.cli.parsing import Settings, parse
from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder import KEPT_ROWS, SCORES


_ABOUT = (
    "Sample every prompt of a dataset a few times (--vas_rollouts) and write how often it is answered right, how "
    "varied the answers are, and its variance promotion score, to scores.parquet in --output_dir. The table serves as "
    "--prompt_scores of `mmr1 vas` and `mmr1 mssr`; --min_pass_rate and --max_pass_rate write the rows in between to "
    "kept.parquet. The YAML of a training run fits. A killed run goes on when the command is given again."
)


def parse_score(argv: list[str]) -> Settings:
    """Read the words after `mmr1 score`."""

    def load_classes() -> tuple[type, ...]:
        from trl import ModelConfig

        from mmr1_trl.cli.arguments import RLArguments
        from mmr1_trl.trainers.scorer import ScoreConfig

        return RLArguments, ScoreConfig, ModelConfig

    settings = parse("score", argv, load_classes, _ABOUT)
    prefer_cpu_where_needed(settings)
    return settings


def run(argv: list[str]) -> int:
    """Score with the words after `mmr1 score` as options; return the exit code."""
    look_first(argv)
    settings = parse_score(argv)
    require_writable(output_folder(settings))

    def alone() -> int:
        with hold_folder(settings):
            return _score(settings)

    try:
        return run_or_launch("score", argv, settings.launch_args, alone)
    except KeyboardInterrupt:
        print("\nInterrupted. Give the same command again to go on with the unfinished prompts.")
        return 130


def _score(settings: Settings) -> int:
    from mmr1_trl.cli.parts import load_parts
    from mmr1_trl.trainers.scorer import Scorer, summarize

    data_args, config, model_args = settings.build()
    if config.resume_from_checkpoint:
        raise BadInputError("`mmr1 score` goes on by itself: leave out resume_from_checkpoint.")
    parts = load_parts(settings, enough_rows=Scorer._check_enough_rows)
    config, scorer = parts.config, parts.make(Scorer)
    dataset_name = f"{data_args.dataset_name} ({data_args.dataset_train_split})"
    metadata = scorer.describe(dataset_name, model_args.model_name_or_path, model_args.model_revision)
    prompts = scorer.prompts.count
    scorer.accelerator.print(
        f"Scoring {prompts:,} prompts x {config.vas_rollouts} rollouts = {prompts * config.vas_rollouts:,} rollouts."
    )
    columns = scorer.score(metadata)
    folder = Path(config.output_dir)
    lines = [f"\n{summarize(columns, metadata)}\n", f"  table        {folder / SCORES}"]
    if config.min_pass_rate is not None or config.max_pass_rate is not None:
        lines.append(f"  kept rows    {folder / KEPT_ROWS}  (--dataset_name {folder / KEPT_ROWS})")
    scorer.accelerator.print("\n".join(lines))
    leave(scorer.engine, scorer.accelerator)
    return 0
