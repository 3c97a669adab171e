# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 sft`: the cold start, by TRL's own `SFTTrainer`."""

from typing import Any

from mmr1_trl.cli.commands.train import finish, prefer_cpu_where_needed, run_resumable
from mmr1_trl.cli.first_look import look_at_folder, look_first
from mmr1_trl.cli.names import look_up, require_model, revision
from mmr1_trl.cli.output import hold_folder, refuse_to_overwrite, write_settings
from mmr1_trl.cli.parsing import Settings, parse
from mmr1_trl.cli.parts import adapters, find_model, model_init_kwargs, refusals, require_extras, use_hub
from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder import SETTINGS_FILE


ABOUT = "Supervised fine-tuning by TRL's SFTTrainer: on figures, the cold start that reinforcement learning builds on."


# What `--figures_traces cold_start` takes; the two last are set on machines without an accelerator.
COLD_START_OPTIONS = {
    "figures_traces", "model_name_or_path", "dataset_name", "output_dir", "seed", "disable_tqdm", "use_cpu", "bf16",
}  # fmt: skip


def run(argv: list[str]) -> int:
    """Train with the words after `mmr1 sft` as options; return the exit code."""
    look_first(argv)
    look_at_folder("sft", argv)
    settings = parse_sft(argv)
    if settings.values.get("figures_traces") == "cold_start":
        with hold_folder(settings):
            refuse_to_overwrite(settings)
            return _cold_start(settings)
    return run_resumable(settings, argv, _train)


def parse_sft(argv: list[str]) -> Settings:
    """Read the options of `mmr1 sft`; the settings build `(SFTArguments, SFTConfig, ModelConfig)`."""

    def load_classes() -> tuple[type, ...]:
        from trl import ModelConfig, SFTConfig

        from mmr1_trl.cli.arguments import SFTArguments

        return SFTArguments, SFTConfig, ModelConfig

    settings = parse("sft", argv, load_classes, ABOUT)
    prefer_cpu_where_needed(settings)
    return settings


def _train(settings: Settings) -> int:
    data_args, config, model_args = settings.build()
    require_extras(config, model_args, settings.launch_args)

    from mmr1_trl.models import load_processor
    from mmr1_trl.trainers.checks import check_training
    from mmr1_trl.trainers.sft import SupervisedTrainer

    check_training(config)
    name, options = require_model(model_args), adapters(model_args)
    first = config.process_index == 0
    with config.main_process_first(desc="loading the dataset"):
        train_rows = _rows(data_args, data_args.dataset_train_split, data_args.num_train_rows, first)
        eval_rows = None
        if config.eval_strategy != "no":
            eval_rows = _rows(data_args, data_args.dataset_test_split, data_args.num_eval_rows, first)
    _require_texts(train_rows.column_names, config.dataset_text_field, data_args.dataset_name)
    _require_messages(train_rows, data_args.dataset_name)
    use_hub(config, "sft")
    model = find_model(config, model_args)
    processor = load_processor(model, trust_remote_code=config.trust_remote_code, **revision(model_args))
    config.model_init_kwargs = model_init_kwargs(model_args) | (config.model_init_kwargs or {})

    with refusals(name):
        trainer = SupervisedTrainer(
            model=model,
            args=config,
            train_dataset=train_rows,
            eval_dataset=eval_rows,
            processing_class=processor,
            **options,
        )
    finish(trainer, settings, data_args.dataset_name)
    return 0


def _cold_start(settings: Settings) -> int:
    """Train what the name `figures/cold_start` stands for, into a folder of the user's own."""
    from mmr1_trl.models.cold_start import ColdStartConfig, build_cold_start

    _, config, _ = settings.build()
    if settings.launch_args or config.world_size > 1:
        flag = settings.launch_args[0] if settings.launch_args else f"a launch of {config.world_size} processes"
        raise BadInputError(f"figures_traces cold_start is trained in one process; {flag} has no meaning with it.")

    fixed = {name: settings.origin(name) for name in sorted(settings.values) if name not in COLD_START_OPTIONS}
    if fixed:
        name, origin = next(iter(fixed.items()))
        raise BadInputError(
            f"figures_traces cold_start has stages of its own and does not take {name} (given by {origin}). It takes "
            f"{', '.join(sorted(COLD_START_OPTIONS))}; `--figures_traces clean` takes all options."
        )
    write_settings(settings, config.output_dir)
    build_cold_start(config.output_dir, ColdStartConfig(seed=config.seed), progress=not config.disable_tqdm)
    print(f"\nTrained.\n  model     {config.output_dir}\n  settings  {config.output_dir}/{SETTINGS_FILE}")
    return 0


def _require_texts(columns: list[str], text_column: str, name: str) -> None:
    """Refuse rows that hold nothing to imitate, such as the questions and answers of reinforcement learning."""
    if not {"messages", "conversations", "input_ids", text_column} & set(columns) and not (
        {"prompt", "completion"} <= set(columns)
    ):
        raise BadInputError(
            f"{name}: supervised training needs `messages`, or `prompt` and `completion`, or `{text_column}`; "
            f"there are {columns}."
        )


def _require_messages(rows: Any, name: str) -> None:
    """Refuse a column `messages` of texts, which TRL would fail on once the model is loaded."""
    from datasets import List, Value

    kind = rows.features.get("messages")
    if isinstance(kind.feature if isinstance(kind, List) else kind, Value):
        raise BadInputError(
            f"{name}: the column 'messages' holds {str(rows[0]['messages'])[:60]!r}, and no list of messages with "
            "`role` and `content`. Rename it, or drop it."
        )


def _rows(data_args: Any, split: str, num_rows: int | None, look_at_pictures: bool) -> Any:
    """Return rows in one of TRL's shapes for supervised training, with pictures that decode on reading."""
    if data_args.dataset_name != "figures":
        from mmr1_trl.data.supervised import load_supervised

        look_up(data_args.dataset_name, "dataset", data_args.dataset_revision)
        return load_supervised(
            data_args.dataset_name,
            split,
            config=data_args.dataset_config,
            revision=data_args.dataset_revision,
            num_rows=num_rows,
            prompt_column=data_args.prompt_column,
            image_column=data_args.image_column,
            image_root=data_args.image_root,
            look_at_pictures=look_at_pictures,
        )
    from mmr1_trl.data.figures import TraceMixture, figures_traces

    if split != data_args.dataset_train_split:
        raise BadInputError("figures has written-out answers for training only; leave eval_strategy at 'no'.")
    return figures_traces(
        seed=data_args.figures_seed,
        mixture=TraceMixture(direct=0.0, shortcut=0.0, slip=0.0) if data_args.figures_traces == "clean" else None,
        families=data_args.figures_families,
        levels=data_args.figures_levels,
        **({} if num_rows is None else {"num_rows": num_rows}),
    )
